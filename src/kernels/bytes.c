#include "kernels/bytes.h"

#include <math.h>

void pq_bytes_plain(const pq_bytes_panel *p)
{
    const pq_words_scale *s     = &p->scale;
    const size_t          quads = (p->length + 3) / 4;

    for (size_t r = 0; r < p->lines * p->rows; r++) {
        const size_t from = r / p->rows * p->in_line + r % p->rows * p->in_pitch;
        for (size_t c = 0; c < s->n; c++) {
            int32_t sum = p->bias[c];
            for (size_t k = 0; k < p->taps * p->length; k++) {
                const size_t t = k / p->length, i = k % p->length;
                sum += p->in[from + p->tap[t] + i] *
                       p->weight[((t * quads + i / 4) * p->width + c) * 4 + i % 4];
            }
            const double product = (double)sum * s->multiplier[c];
            if (p->code != NULL) {
                const double code = rint(product / s->scale) + s->zero;
                p->code[r * s->pitch + c] =
                    (uint8_t)(code > s->lo ? (code < s->hi ? code : s->hi) : s->lo);
            } else {
                p->real[r * s->pitch + c] =
                    (float)(p->relu && product < 0.0 ? 0.0 : product);
            }
        }
    }
}

const pq_bytes_kernel *pq_bytes_find(void)
{
#if defined(__x86_64__)
    if (pq_cpu_isa() >= PQ_ISA_AVX512 && __builtin_cpu_supports("avx512vnni")) {
        const pq_bytes_kernel *amx = pq_bytes_amx();
        return amx != NULL ? amx : &pq_bytes_vnni;
    }
#endif
    return NULL;
}
