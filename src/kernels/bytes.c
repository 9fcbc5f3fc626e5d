#include "kernels/bytes.h"

#include <math.h>

void pq_bytes_plain(const pq_bytes_panel *p)
{
    const pq_words_scale *s = &p->scale;

    for (size_t r = 0; r < p->rows; r++) {
        for (size_t c = 0; c < s->n; c++) {
            int32_t sum = p->bias[c];
            for (size_t i = 0; i < p->length; i++) {
                sum += p->in[r * p->in_pitch + i] *
                       p->weight[(i / 4 * p->width + c) * 4 + i % 4];
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

pq_bytes_kernel pq_bytes_find(void)
{
#if defined(__x86_64__)
    if (pq_cpu_isa() >= PQ_ISA_AVX512 && __builtin_cpu_supports("avx512vnni")) {
        return pq_bytes_vnni;
    }
#endif
    return NULL;
}
