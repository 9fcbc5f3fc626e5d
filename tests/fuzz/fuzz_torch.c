/* PyTorch checkpoints: any bytes give weights or an error, and leave nothing behind. */
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "formats/torch_storage.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    uint8_t      *copy = pq_calloc(n, 1);
    pq_torch_file f    = {0};
    pq_tensor    *t    = NULL;

    memcpy(copy, bytes, n);
    if (pq_torch_parse(copy, n, &f, NULL) == PQ_OK) {
        for (size_t i = 0; i < f.pickle.n; i++) {
            if (f.pickle.values[i].type == PQ_PICKLE_TENSOR) {
                (void)pq_torch_tensor(&f, &f.pickle.values[i], &t, NULL);
                pq_tensor_free(&t);
            }
        }
    }
    pq_torch_free(&f);
    return pq_memory_live() == 0 ? 0 : (abort(), 0);
}
