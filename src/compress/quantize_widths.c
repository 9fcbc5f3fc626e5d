#include "compress/quantize_weights.h"

#include <math.h>
#include <string.h>

#include "compress/wiring.h"
#include "core/memory.h"

enum { LEAST_BITS = 2, WIDTHS = 17 };

/* A layer's kernel: its size, and |w - w'|^2 / |w|^2 at each width. */
typedef struct {
    double count, error[WIDTHS];
} candidate;

static pq_status measure(const pq_quantize_params *p, const pq_weight *kernel,
                         candidate *c, pq_err *err)
{
    pq_weight copy = {.name = kernel->name};
    pq_status st   = PQ_OK;

    c->count = (double)kernel->value->count;
    for (int bits = LEAST_BITS; bits <= (int)p->bits; bits++) {
        pq_quantize_params at      = *p;
        double             sums[2] = {0.0, 0.0};
        at.bits                    = bits;
        PQ_TRY(pq_tensor_clone(kernel->value, &copy.value, err));
        PQ_TRY(pq_quantize_weight(&at, &copy, NULL, sums, err));
        c->error[bits] = sums[0] > 0.0 ? sums[1] / sums[0] : 0.0;
        pq_tensor_free(&copy.value);
        pq_quant_free(&copy.quant);
    }
cleanup:
    pq_tensor_free(&copy.value);
    pq_quant_free(&copy.quant);
    return st;
}

/* Layer whose next bit costs least error for each bit that it saves, or n. */
static size_t cheapest(const candidate *c, const int64_t *widths, size_t n)
{
    double least = HUGE_VAL;
    size_t at    = n;

    for (size_t k = 0; k < n; k++) {
        if (widths[k] > LEAST_BITS) {
            const double cost =
                (c[k].error[widths[k] - 1] - c[k].error[widths[k]]) / c[k].count;
            if (cost < least) {
                least = cost;
                at    = k;
            }
        }
    }
    return at;
}

pq_status pq_quantize_choose_widths(const pq_quantize_params *p, const pq_graph *graph,
                                    const char *const *nodes, size_t n, int64_t *widths,
                                    pq_err *err)
{
    candidate *c     = NULL;
    double     total = 0.0, bits = 0.0;
    pq_status  st;

    PQ_NEW(c, n);
    for (size_t k = 0; k < n; k++) {
        const pq_node *node = &graph->nodes[pq_graph_find(graph, nodes[k])];
        widths[k]           = p->bits;
        if (!isnan(p->average_bits)) {
            PQ_TRY(measure(p, pq_node_kernel(node), &c[k], err));
            total += c[k].count;
        }
    }
    bits = total * (double)p->bits;
    while (total > 0.0 && bits > p->average_bits * total) {
        const size_t k = cheapest(c, widths, n);
        if (k == n) {
            break;
        }
        widths[k]--;
        bits -= c[k].count;
    }
cleanup:
    pq_free(c);
    return st;
}
