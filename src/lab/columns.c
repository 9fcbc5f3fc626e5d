#include "lab/columns.h"

#include "core/memory.h"

enum { BLOCK = 1 << 16 };

/* Every stride-th event, in blocks. */
static pq_status read_column(const void *context, const char *name, size_t n, double *out,
                             pq_err *err)
{
    const pq_columns_of *of     = context;
    const size_t         stride = of->stride > 1 ? of->stride : 1;
    const size_t         all    = pq_dataset_describe(of->dataset)->splits[of->split].n;
    double              *block  = NULL;
    size_t               done   = 0;
    pq_status            st;

    if (stride == 1) {
        return pq_dataset_read_aux(of->dataset, of->split, name, 0, n, out, err);
    }
    PQ_NEW_UNSET(block, BLOCK);
    for (size_t first = 0; first < all && done < n; first += BLOCK) {
        const size_t some = all - first < BLOCK ? all - first : BLOCK;
        PQ_TRY(
            pq_dataset_read_aux(of->dataset, of->split, name, first, some, block, err));
        for (; done < n && done * stride < first + some; done++) {
            out[done] = block[done * stride - first];
        }
    }
cleanup:
    pq_free(block);
    return st;
}

pq_columns pq_columns_make(const pq_columns_of *of)
{
    return (pq_columns){.read = read_column, .context = of};
}
