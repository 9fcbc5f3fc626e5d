#include <string.h>

#include "kernels/kernels.h"

enum { PACKED = 64 /* rows of a panel written together */ };

size_t pq_panel_floats(size_t k, size_t n, size_t panel)
{
    return k * ((n + panel - 1) / panel * panel) + PQ_KERNELS_SLACK;
}

typedef float four __attribute__((vector_size(16)));

/* to[p * panel + c] = from[c * stride + p] for 4 x 4 values. */
static inline void transpose(const float *from, size_t stride, size_t panel, float *to)
{
    four r[4], t[4];

    for (size_t c = 0; c < 4; c++) {
        memcpy(&r[c], from + c * stride, sizeof r[c]);
    }
    t[0] = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5);
    t[1] = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5);
    t[2] = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7);
    t[3] = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
    r[0] = __builtin_shufflevector(t[0], t[1], 0, 1, 4, 5);
    r[1] = __builtin_shufflevector(t[0], t[1], 2, 3, 6, 7);
    r[2] = __builtin_shufflevector(t[2], t[3], 0, 1, 4, 5);
    r[3] = __builtin_shufflevector(t[2], t[3], 2, 3, 6, 7);
    for (size_t p = 0; p < 4; p++) {
        memcpy(to + p * panel, &r[p], sizeof r[p]);
    }
}

/* One panel of an operand whose columns lie apart and whose rows lie side by side; so
   many rows at a time that they stay in the first cache while their columns come one by
   one. */
static void pack_transposed(size_t k, size_t columns, const float *src, size_t stride,
                            size_t panel, float *dst)
{
    for (size_t first = 0; first < k; first += PACKED) {
        const size_t end = k - first < PACKED ? k : first + PACKED;
        for (size_t c = 0; c < columns; c += 4) {
            const size_t wide = columns - c < 4 ? columns - c : 4;
            size_t       p    = first;
            for (; wide == 4 && p + 4 <= end; p += 4) {
                transpose(src + c * stride + p, stride, panel, dst + p * panel + c);
            }
            for (; p < end; p++) {
                for (size_t i = 0; i < wide; i++) {
                    dst[p * panel + c + i] = src[(c + i) * stride + p];
                }
            }
        }
    }
}

void pq_pack_panels(size_t k, size_t n, const float *src, size_t k_stride,
                    size_t n_stride, size_t panel, float *dst)
{
    for (size_t j = 0; j < n; j += panel, dst += k * panel) {
        const size_t columns = n - j < panel ? n - j : panel;
        if (k_stride == 1) {
            pack_transposed(k, columns, src + j * n_stride, n_stride, panel, dst);
            continue;
        }
        for (size_t p = 0; p < k; p++) {
            memcpy(dst + p * panel, src + p * k_stride + j, columns * sizeof *dst);
        }
    }
}
