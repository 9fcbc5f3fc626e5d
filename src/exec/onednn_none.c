#include "exec/onednn.h"

pq_status pq_onednn_prepare(const pq_step *step, size_t tile, const pq_units *units,
                            pq_op **out, pq_err *err)
{
    (void)step;
    (void)tile;
    (void)units;
    (void)out;
    (void)err;
    return PQ_OK;
}

void pq_onednn_describe(pq_text *out)
{
    (void)out;
}

const char *pq_onednn_isa(void)
{
    return "";
}
