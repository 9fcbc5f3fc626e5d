#include "kernels/bf16.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <immintrin.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TARGET                                                                           \
    __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx512bf16,amx-tile,"      \
                          "amx-bf16,avx2,fma")))
#define INLINE static inline __attribute__((always_inline)) TARGET

enum {
    ROWS  = 16, /* of a tile */
    DEEP  = 32, /* items of a row that one product takes */
    LANES = PQ_BF16_LANES
};

/* Tiles: sums of four vectors of channels; rows and weights, whole and at the end. */
#define SUMS0      0
#define SUMS1      1
#define SUMS2      2
#define SUMS3      3
#define ROW        4
#define ROW_END    5
#define WEIGHT     6
#define WEIGHT_END 7
enum { TILES = 8 };

/* What ldtilecfg reads. */
typedef struct {
    uint8_t  palette, start, reserved[14];
    uint16_t row_bytes[16];
    uint8_t  rows[16];
} tile_shapes;

INLINE void set_shapes(size_t rows, size_t pairs_at_end)
{
    tile_shapes s = {.palette = 1};

    for (size_t i = 0; i < TILES; i++) {
        s.rows[i]      = (uint8_t)(i < WEIGHT ? rows : DEEP / 2);
        s.row_bytes[i] = 64;
    }
    s.row_bytes[ROW_END] = (uint16_t)(pairs_at_end > 0 ? pairs_at_end * 4 : 64);
    s.rows[WEIGHT_END]   = (uint8_t)(pairs_at_end > 0 ? pairs_at_end : DEEP / 2);
    _tile_loadconfig(&s);
}

#include "kernels/bf16_give.inc"

/* All products of a block of rows, from biases to sums; `vectors` is constant. */
#define PRODUCTS(row_tile, weight_tile, from, weight)                                    \
    _tile_loadd(row_tile, from, pitch);                                                  \
    _tile_loadd(weight_tile, weight, line);                                              \
    _tile_dpbf16ps(SUMS0, row_tile, weight_tile);                                        \
    if (vectors > 1) {                                                                   \
        _tile_loadd(weight_tile, (weight) + 2 * LANES, line);                            \
        _tile_dpbf16ps(SUMS1, row_tile, weight_tile);                                    \
    }                                                                                    \
    if (vectors > 2) {                                                                   \
        _tile_loadd(weight_tile, (weight) + 4 * LANES, line);                            \
        _tile_dpbf16ps(SUMS2, row_tile, weight_tile);                                    \
    }                                                                                    \
    if (vectors > 3) {                                                                   \
        _tile_loadd(weight_tile, (weight) + 6 * LANES, line);                            \
        _tile_dpbf16ps(SUMS3, row_tile, weight_tile);                                    \
    }

INLINE void block(const pq_bf16_panel *p, size_t row, size_t rows, const size_t vectors)
{
    const size_t    pitch = p->in_pitch * 2, line = vectors * LANES * 4;
    const size_t    end = p->length % DEEP, step = vectors * LANES * 2;
    const uint16_t *weight = p->weight;
    float           sums[4][ROWS][LANES];

    _tile_loadd(SUMS0, p->bias, 0);
    if (vectors > 1) {
        _tile_loadd(SUMS1, p->bias + LANES, 0);
    }
    if (vectors > 2) {
        _tile_loadd(SUMS2, p->bias + 2 * LANES, 0);
    }
    if (vectors > 3) {
        _tile_loadd(SUMS3, p->bias + 3 * LANES, 0);
    }
    for (size_t t = 0; t < p->taps; t++) {
        const uint16_t *in = p->in + row * p->in_pitch + p->tap[t];
        for (size_t i = 0; i + DEEP <= p->length; i += DEEP) {
            PRODUCTS(ROW, WEIGHT, in + i, weight)
            weight += DEEP / 2 * step;
        }
        if (end > 0) {
            PRODUCTS(ROW_END, WEIGHT_END, in + p->length - end, weight)
            weight += end / 2 * step;
        }
    }
    _tile_stored(SUMS0, sums[0], 64);
    if (vectors > 1) {
        _tile_stored(SUMS1, sums[1], 64);
    }
    if (vectors > 2) {
        _tile_stored(SUMS2, sums[2], 64);
    }
    if (vectors > 3) {
        _tile_stored(SUMS3, sums[3], 64);
    }
    for (size_t r = 0; r < rows; r++) {
        for (size_t v = 0; v < vectors; v++) {
            give(p, row + r, v * LANES, _mm512_loadu_ps(sums[v][r]));
        }
    }
}

INLINE void all_rows(const pq_bf16_panel *p, const size_t vectors)
{
    const size_t whole = p->rows / ROWS * ROWS, pairs = p->length % DEEP / 2;

    if (whole > 0) {
        set_shapes(ROWS, pairs);
    }
    for (size_t row = 0; row < whole; row += ROWS) {
        block(p, row, ROWS, vectors);
    }
    if (whole < p->rows) {
        set_shapes(p->rows - whole, pairs);
        block(p, whole, p->rows - whole, vectors);
    }
    _tile_release();
}

static TARGET void panel(const pq_bf16_panel *p)
{
    if (p->length % 2 == 1) { /* the item after a row may be no number */
        pq_bf16_avx512.panel(p);
        return;
    }
    switch (p->width / LANES) {
    case 1:
        all_rows(p, 1);
        break;
    case 2:
        all_rows(p, 2);
        break;
    case 3:
        all_rows(p, 3);
        break;
    default:
        all_rows(p, 4);
        break;
    }
}

static void round_floats(size_t n, const float *x, uint16_t *y)
{
    pq_bf16_avx512.round(n, x, y);
}

static const pq_bf16_kernels kernels = {"bf16:amx", panel, round_floats};

/* The system gives a process the tiles' registers when it asks for them. */
const pq_bf16_kernels *pq_bf16_amx(void)
{
    enum {
        ARCH_REQ_XCOMP_PERM = 0x1023,
        XTILEDATA           = 18,
        AMX_BF16            = 1 << 22,
        AMX_TILE            = 1 << 24
    };
    unsigned a = 0, b = 0, c = 0, d = 0;

    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & AMX_BF16) == 0 ||
        (d & AMX_TILE) == 0 ||
        syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) != 0) {
        return NULL;
    }
    return &kernels;
}
#elif defined(__x86_64__)
const pq_bf16_kernels *pq_bf16_amx(void)
{
    return NULL;
}
#endif
