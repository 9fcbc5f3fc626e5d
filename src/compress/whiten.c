/* What whitened Tucker and CP share: a kernel beside the moments of its input. */
#include "compress/lowrank.h"

void pq_whiten_free(pq_whiten *w)
{
    pq_tensor_free(&w->wide);
    pq_tensor_free(&w->moments);
    *w = (pq_whiten){0};
}

pq_status pq_whiten_open(const pq_compress_task *task, const char *name,
                         const pq_tensor *kernel, bool centred, pq_whiten *out,
                         pq_err *err)
{
    const pq_calib_gram *gram =
        task->calib != NULL ? pq_calib_gram_of(task->calib, name) : NULL;
    pq_whiten w = {.gram = gram};
    pq_status st;

    PQ_CHECK(gram != NULL && gram->rows > 0 &&
                 gram->n * kernel->shape.dim[0] == kernel->count,
             PQ_ERR_CONFIG, "no calibration event reached it: whiten needs some");
    PQ_TRY(pq_tensor_convert(kernel, PQ_DTYPE_F64, &w.wide, err));
    PQ_TRY(pq_calib_moments(gram, centred, &w.moments, err));
    *out = w;
    w    = (pq_whiten){0};
cleanup:
    pq_whiten_free(&w);
    return st;
}
