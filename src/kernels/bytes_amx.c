#include "kernels/bytes.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "kernels/amx.h"

#define TARGET                                                                           \
    __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx512vnni,amx-tile,"      \
                          "amx-int8,avx2,fma")))
#define INLINE static inline __attribute__((always_inline)) TARGET
#define PANEL  pq_bytes_panel
#define ITEM   sizeof(uint8_t)
#define DOT    _tile_dpbusd

enum {
    LANES      = PQ_BYTES_LANES,
    LEAST_ROWS = 8, /* of one line: for fewer, setting up tiles takes longer */
};

#include "kernels/bytes_give.inc"

/* What is the same for all rows of some channels: of each of four vectors, a row's one
 * after the other. */
typedef struct {
    rounding k;
    size_t   at, n;
    __m512i  bias[VECTORS];
    __m512   near[VECTORS];
} giver;

INLINE giver giver_of(const pq_bytes_panel *p, size_t at, const size_t vectors)
{
    giver to = {.k = rounding_of(p), .at = at, .n = channels_from(p, at, vectors)};

    foreach (v, VECTORS) {
        const size_t from = at + v % vectors * LANES;
        to.bias[v]        = _mm512_loadu_si512(p->bias + from);
        to.near[v]        = _mm512_loadu_ps(p->scale.near + from);
    }
    return to;
}

/* Four vectors of sums from row r of a tile on; beyond its last, any. */
INLINE void take_four(const giver *to, size_t r, const size_t vectors,
                      const int32_t (*sums)[16][LANES], __m512i *four)
{
    foreach (v, VECTORS) {
        const int32_t *sum = sums[v % vectors][(r + v / vectors) % 16];
        four[v]            = _mm512_add_epi32(to->bias[v], _mm512_load_si512(sum));
    }
}

/* Again, those that are in doubt. */
static TARGET __attribute__((noinline)) void
certain_tile(const pq_bytes_panel *p, const giver *to, size_t row, size_t vectors,
             size_t rows, const int32_t (*sums)[16][LANES])
{
    for (size_t r = 0; r < rows; r++) {
        for (size_t v = 0; v < vectors; v++) {
            const __m512i sum =
                _mm512_add_epi32(to->bias[v], _mm512_load_si512(sums[v][r]));
            const __m512 x = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), to->near[v]);
            if (to->n > v * LANES &&
                is_in_doubt(&to->k, _mm512_abs_ps(_mm512_reduce_ps(x, 0)))) {
                give_certain(p, row + r, to->at + v * LANES, &sum, 1, 1);
            }
        }
    }
}

INLINE void give_tile(const pq_bytes_panel *p, const giver *to, size_t row,
                      const size_t vectors, size_t rows, const int32_t (*sums)[16][LANES])
{
    const size_t group = VECTORS / vectors;
    __m512       most  = _mm512_setzero_ps();
    __m512i      four[VECTORS];

    for (size_t r = 0; r < rows; r += group) {
        const size_t n = rows - r < group ? rows - r : group;
        take_four(to, r, vectors, sums, four);
        if (p->code == NULL) {
            foreach (v, VECTORS) {
                if (v / vectors < n) {
                    give_reals(p, row + r + v / vectors, to->at + v % vectors * LANES,
                               four[v]);
                }
            }
            continue;
        }
        const __m512i codes = codes_of(&to->k, VECTORS, four, to->near, &most);
        store_rows(p, p->code + (row + r) * p->scale.pitch + to->at, codes, vectors, n,
                   to->n);
    }
    if (is_in_doubt(&to->k, most)) {
        certain_tile(p, to, row, vectors, rows, sums);
    }
}

#include "kernels/amx.inc"

static TARGET void panel(const pq_bytes_panel *p)
{
    if ((p->rows >= LEAST_ROWS || p->lines > 1) && pq_amx_fits(p->length)) {
        tile_panel(p);
    } else {
        pq_bytes_vnni.panel(p);
    }
}

static const pq_bytes_kernel kernel = {"bytes:amx, native", panel};

const pq_bytes_kernel *pq_bytes_amx(void)
{
    return pq_amx_may(PQ_AMX_INT8) ? &kernel : NULL;
}
#endif
