/* What the tests of quantize share. */
#ifndef TESTS_COMPRESS_QUANTIZED_H
#define TESTS_COMPRESS_QUANTIZED_H

#include "nets.h"

#define TOL_8 2e-2 /* of probabilities at 8 bits */

static inline const pq_weight *kernel(const pq_graph *g, const char *name)
{
    return pq_layer_weight(net_node(g, name)->layer, "kernel");
}

#endif
