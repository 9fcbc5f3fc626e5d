#include "metrics/blocks.h"

#include <string.h>

#include "core/memory.h"

enum { BLOCK = 16384 /* events */ };

typedef struct {
    const pq_evaluation *e;
    pq_block_add         add;
    const void          *context;
    size_t               n_sums;
    double              *sums; /* [blocks, n_sums] */
} job;

static pq_status run_block(void *context, size_t piece, size_t thread, pq_err *err)
{
    const job   *j     = context;
    const size_t first = piece * BLOCK;
    const size_t end   = j->e->n - first < BLOCK ? j->e->n : first + BLOCK;

    (void)thread;
    (void)err;
    j->add(j->e, j->context, first, end, j->sums + piece * j->n_sums);
    return PQ_OK;
}

pq_status pq_blocks_sum(const pq_evaluation *e, pq_block_add add, const void *context,
                        size_t n_sums, double *sums, pq_err *err)
{
    const size_t blocks = (e->n + BLOCK - 1) / BLOCK;
    job          j      = {e, add, context, n_sums, NULL};
    pq_status    st;

    PQ_NEW(j.sums, blocks * n_sums);
    PQ_TRY(pq_threads_run(pq_evaluation_threads(e), blocks, run_block, &j, err));
    memset(sums, 0, n_sums * sizeof *sums);
    for (size_t b = 0; b < blocks; b++) {
        for (size_t i = 0; i < n_sums; i++) {
            sums[i] += j.sums[b * n_sums + i];
        }
    }
cleanup:
    pq_free(j.sums);
    return st;
}
