/* Model files: any bytes give a graph or an error, and leave nothing behind. */
#include <stdlib.h>

#include "core/memory.h"
#include "formats/model.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    pq_graph *graph = NULL;

    (void)pq_model_load(pq_fuzz_put("a.h5", bytes, n), NULL, &graph, NULL);
    pq_graph_free(&graph);
    return pq_memory_live() == 0 ? 0 : (abort(), 0);
}
