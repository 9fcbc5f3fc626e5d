#include "kernels/bf16.h"

#include <math.h>
#include <string.h>

static float value_of(uint16_t x)
{
    const uint32_t bits = (uint32_t)x << 16;
    float          value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

static void panel_plain(const pq_bf16_panel *p)
{
    for (size_t r = 0; r < p->lines * p->rows; r++) {
        const size_t from = r / p->rows * p->in_line + r % p->rows * p->in_pitch;
        for (size_t c = 0; c < p->n; c++) {
            const size_t    at     = r * p->out_pitch + c;
            const uint16_t *weight = p->weight + 2 * c;
            float           sum    = p->bias[c];
            for (size_t t = 0; t < p->taps; t++) {
                const uint16_t *in = p->in + from + p->tap[t];
                for (size_t i = 0; i < p->length; i++) {
                    sum +=
                        value_of(in[i]) * value_of(weight[i / 2 * p->width * 2 + i % 2]);
                }
                weight += (p->length + 1) / 2 * p->width * 2;
            }
            sum += p->residual != NULL ? p->residual[at] : 0.0F;
            sum        = sum < p->clip.lo ? p->clip.lo : sum;
            p->out[at] = sum > p->clip.hi ? p->clip.hi : sum;
        }
    }
}

static void round_plain(size_t n, const float *x, uint16_t *y)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        if (isnan(x[i])) {
            y[i] = (uint16_t)(bits >> 16 | 0x40U);
        } else if (!(fabsf(x[i]) >= 0x1p-126F)) {
            y[i] = (uint16_t)(bits >> 16 & 0x8000U);
        } else {
            y[i] = (uint16_t)((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16);
        }
    }
}

const pq_bf16_kernels pq_bf16_plain = {"bf16:plain", panel_plain, round_plain};

const pq_bf16_kernels *pq_bf16_find(void)
{
#if defined(__x86_64__)
    if (pq_cpu_isa() >= PQ_ISA_AVX512 && __builtin_cpu_supports("avx512bf16")) {
        const pq_bf16_kernels *amx = pq_bf16_amx();
        return amx != NULL ? amx : &pq_bf16_avx512;
    }
#endif
    return NULL;
}
