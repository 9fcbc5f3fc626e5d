/* Tables in text: the first byte chooses CSV or ARFF; any bytes give events or an error.
 */
#include <stdlib.h>

#include "core/memory.h"
#include "data/dataset.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const pq_dataset_options options = {.layout =
                                            n > 0 && bytes[0] == '@' ? "arff" : "csv",
                                        .nonfinite = PQ_NONFINITE_ZERO};
    pq_dataset              *d       = NULL;
    char                     hash[65];

    if (pq_dataset_open(pq_fuzz_file(bytes, n, ".txt"), &options, &d, NULL) == PQ_OK) {
        (void)pq_dataset_hash(d, 0, hash, NULL);
    }
    pq_dataset_close(&d);
    return pq_memory_live() == 0 ? 0 : (abort(), 0);
}
