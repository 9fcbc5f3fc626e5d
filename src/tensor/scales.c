/* Scales that are codes themselves: double quantization. */
#include <math.h>

#include "core/memory.h"
#include "tensor/quant_inside.h"

enum { MOST = 127 };

size_t pq_quant_scale_blocks(const pq_quant *q)
{
    return (q->n + PQ_QUANT_SCALE_BLOCK - 1) / PQ_QUANT_SCALE_BLOCK;
}

/* Scale i of a code. */
static float scale_of(const pq_quant *q, size_t i, int code)
{
    return (float)((double)q->scale_mean +
                   (double)q->scale_step[i / PQ_QUANT_SCALE_BLOCK] * code);
}

pq_status pq_quant_expect_coded_scales(pq_quant *q, pq_err *err)
{
    pq_status st = PQ_OK;

    if (q->scale_code == NULL) {
        PQ_NEW(q->scale_code, q->n);
        PQ_NEW(q->scale_step, pq_quant_scale_blocks(q));
    }
cleanup:
    return st;
}

void pq_quant_decode_scales(pq_quant *q)
{
    for (size_t i = 0; i < q->n; i++) {
        q->scale[i] = scale_of(q, i, q->scale_code[i]);
    }
}

/* The nearest code whose scale is positive: that of code 127 is, being above the mean. */
static void code_scale(pq_quant *q, size_t i)
{
    const double step = (double)q->scale_step[i / PQ_QUANT_SCALE_BLOCK];
    const double off  = (double)q->scale[i] - (double)q->scale_mean;
    double       code = step > 0.0 ? rint(off / step) : 0.0;

    code = code > MOST ? MOST : code < -MOST ? -MOST : code;
    while (code < MOST && !(scale_of(q, i, (int)code) > 0.0f)) {
        code++;
    }
    q->scale_code[i] = (int8_t)code;
}

pq_status pq_quant_code_scales(pq_quant *q, pq_err *err)
{
    double    sum = 0.0;
    pq_status st;

    PQ_TRY(pq_quant_expect_coded_scales(q, err));
    for (size_t i = 0; i < q->n; i++) {
        sum += (double)q->scale[i];
    }
    q->scale_mean = (float)(sum / (double)q->n);
    for (size_t b = 0; b < pq_quant_scale_blocks(q); b++) {
        const size_t from = b * PQ_QUANT_SCALE_BLOCK;
        double       most = 0.0;
        for (size_t i = from; i < q->n && i < from + PQ_QUANT_SCALE_BLOCK; i++) {
            most = fmax(most, fabs((double)q->scale[i] - (double)q->scale_mean));
        }
        q->scale_step[b] = (float)(most / MOST);
    }
    for (size_t i = 0; i < q->n; i++) {
        code_scale(q, i);
    }
    pq_quant_decode_scales(q);
cleanup:
    return st;
}
