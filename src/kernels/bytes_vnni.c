#include "kernels/bytes.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <string.h>

#define TARGET                                                                           \
    __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx512vnni,avx2,fma")))
#define INLINE static inline __attribute__((always_inline)) TARGET

enum { ROWS = 16, SUMS = 16, LANES = PQ_BYTES_LANES };

/* As _mm512_dpbusd_epi32, which compilers put into registers of their own and back. */
INLINE void add_products(__m512i *sum, __m512i x, __m512i w)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(*sum) : "v"(x), "v"(w));
}

/* Four bytes of a row, or fewer at its end. */
INLINE __m512i spread_quad(const uint8_t *in, size_t left)
{
    int32_t quad = 0;

    memcpy(&quad, in, left);
    return _mm512_set1_epi32(quad);
}

#include "kernels/bytes_give.inc"

/* `rows` x `vectors` sums in registers; both are constants where this is inlined. */
INLINE void block(const pq_bytes_panel *p, const rounding *k, size_t row, size_t at,
                  const size_t rows, const size_t vectors)
{
    const size_t  whole = p->length / 4, rest = p->length % 4, pitch = p->in_pitch;
    const size_t  step = p->width * 4, group = VECTORS / vectors;
    const int8_t *weight = p->weight + at * 4;
    __m512i       sum[ROWS][VECTORS], w[VECTORS], four[VECTORS];
    __m512        near[VECTORS];

    foreach (r, rows) {
        foreach (v, vectors) {
            sum[r][v] = _mm512_loadu_si512(p->bias + at + v * LANES);
        }
    }
    for (size_t t = 0; t < p->taps; t++) {
        const uint8_t *in[ROWS / 4];
        foreach (q, (rows + 3) / 4) {
            in[q] = p->in + (row + 4 * q) * pitch + p->tap[t];
            /* four rows at a time from a pointer of their own: no more registers */
            __asm__("" : "+r"(in[q]));
        }
        for (size_t i = 0; i < whole; i++, weight += step) {
            foreach (v, vectors) {
                w[v] = _mm512_loadu_si512(weight + v * LANES * 4);
            }
            foreach (r, rows) {
                const __m512i x = spread_quad(in[r / 4] + r % 4 * pitch, 4);
                foreach (v, vectors) {
                    add_products(&sum[r][v], x, w[v]);
                }
            }
            foreach (q, (rows + 3) / 4) {
                in[q] += 4;
            }
        }
        if (rest > 0) {
            foreach (r, rows) {
                const __m512i x = spread_quad(in[r / 4] + r % 4 * pitch, rest);
                foreach (v, vectors) {
                    add_products(&sum[r][v], x,
                                 _mm512_loadu_si512(weight + v * LANES * 4));
                }
            }
            weight += step;
        }
    }
    if (p->code == NULL) {
        foreach (r, rows) {
            foreach (v, vectors) {
                give_reals(p, row + r, at + v * LANES, sum[r][v]);
            }
        }
        return;
    }
    foreach (v, VECTORS) {
        near[v] = _mm512_loadu_ps(p->scale.near + at + v % vectors * LANES);
    }
    foreach (g, (rows + group - 1) / group) {
        const size_t first = g * group, n = rows - first < group ? rows - first : group;
        __m512       most = _mm512_setzero_ps();
        foreach (v, VECTORS) {
            four[v] = v / vectors < n ? sum[first + v / vectors][v % vectors]
                                      : _mm512_setzero_si512();
        }
        const __m512i codes = codes_of(k, n * vectors, four, near, &most);
        store_rows(p, p->code + (row + first) * p->scale.pitch + at, codes, vectors, n,
                   channels_from(p, at, vectors));
        if (is_in_doubt(k, most)) {
            give_certain(p, row + first, at, four, vectors, n);
        }
    }
}

#define CASE(n)                                                                          \
    case n:                                                                              \
        block(p, &k, row, at, n <= SUMS / vectors ? n : 1, vectors);                     \
        break;

/* All rows of some vectors of channels, in blocks of nearly equal size. */
INLINE void column(const pq_bytes_panel *restrict p, size_t at, const size_t vectors)
{
    const rounding k      = rounding_of(p);
    const size_t   most   = SUMS / vectors < ROWS ? SUMS / vectors : ROWS;
    const size_t   blocks = (p->rows + most - 1) / most;
    size_t         row    = 0;

    for (size_t b = 0; b < blocks; b++) {
        const size_t rows = (p->rows - row + blocks - b - 1) / (blocks - b);
        switch (rows) {
            CASE(1)
            CASE(2)
            CASE(3)
            CASE(4)
            CASE(5)
            CASE(6)
            CASE(7)
            CASE(8)
            CASE(9)
            CASE(10)
            CASE(11)
            CASE(12)
            CASE(13)
            CASE(14)
            CASE(15)
            CASE(16)
        default:
            break;
        }
        row += rows;
    }
}

static TARGET void four(const pq_bytes_panel *restrict p, size_t at)
{
    column(p, at, 4);
}

static TARGET void two(const pq_bytes_panel *restrict p, size_t at)
{
    column(p, at, 2);
}

static TARGET void one(const pq_bytes_panel *restrict p, size_t at)
{
    column(p, at, 1);
}

static void one_line(const pq_bytes_panel *p)
{
    size_t at = 0;

    for (; at + 4 * LANES <= p->width; at += 4 * LANES) {
        four(p, at);
    }
    for (; at + 2 * LANES <= p->width; at += 2 * LANES) {
        two(p, at);
    }
    for (; at < p->width; at += LANES) {
        one(p, at);
    }
}

static void panel(const pq_bytes_panel *p)
{
    pq_bytes_panel line;

    one_line(p);
    if (p->lines == 1) {
        return;
    }
    line = *p;
    for (size_t l = 1; l < p->lines; l++) {
        line.in += p->in_line;
        line.code += p->code != NULL ? p->rows * p->scale.pitch : 0;
        line.real += p->code == NULL ? p->rows * p->scale.pitch : 0;
        one_line(&line);
    }
}

const pq_bytes_kernel pq_bytes_vnni = {"bytes:avx512 vnni, native", panel};
#endif
