/* The kernels, written once. The file that includes this defines for its instruction set:
   VEC, LANES, TARGET, ROWS (of a block), load, store, spread, multiply_add, at_least,
   at_most, number_at_least, load_bytes, store_bytes; of whole numbers INTS (LANES int32),
   load_ints, store_ints, spread_pair, add_pairs; of doubles REALS at a time load_reals,
   reals_of, spread_real, clamp_reals, in_doubt, store_codes, store_byte_codes; and
   KERNELS, the name of the table. No include guard: it is a template. */

#include <math.h>

/* A loop of few steps that must go into registers altogether. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define foreach(i, n) UNROLL for (size_t i = 0; i < (n); i++)

enum { DEPTHWISE_ROWS = 4 };

#define INLINE   static inline __attribute__((always_inline)) TARGET
#define FUNCTION static TARGET

/* Stores one vector of results, or its first lanes up to channel n. */
INLINE void finish(const pq_panel *p, size_t row, size_t channel, VEC sum)
{
    const size_t at   = row * p->out_pitch + channel;
    const size_t left = p->n - channel;

    if (left >= LANES) {
        if (p->residual != NULL) {
            sum = sum + load(p->residual + at);
        }
        store(p->out + at, at_most(p->hi, at_least(p->lo, sum)));
    } else {
        if (p->residual != NULL) {
            sum = sum + load_part(p->residual + at, left);
        }
        store_part(p->out + at, left, at_most(p->hi, at_least(p->lo, sum)));
    }
}

/* `rows` x `vectors` sums in registers; both are constants where this is inlined. */
INLINE void block(const pq_panel *p, size_t row, const size_t rows, const size_t vectors)
{
    const size_t pitch  = p->in_pitch;
    const size_t length = p->length;
    const float *weight = p->weight;
    VEC          sum[2][ROWS];

    foreach (r, rows) {
        foreach (v, vectors) {
            sum[v][r] = load(p->bias + v * LANES);
        }
    }
    for (size_t t = 0; t < p->taps; t++) {
        const float *in = p->in + row * pitch + p->tap[t];
        for (size_t i = 0; i < length; i++) {
            VEC w[2];
            foreach (v, vectors) {
                w[v] = load(weight + v * LANES);
            }
            foreach (r, rows) {
                const VEC x = spread(in[r * pitch + i]);
                foreach (v, vectors) {
                    sum[v][r] = multiply_add(x, w[v], sum[v][r]);
                }
            }
            weight += vectors * LANES;
        }
    }
    foreach (r, rows) {
        foreach (v, vectors) {
            finish(p, row + r, v * LANES, sum[v][r]);
        }
    }
}

/* The same of words: two products at once. */
INLINE void words_block(const pq_words_panel *p, size_t row, const size_t rows,
                        const size_t vectors)
{
    const size_t   pitch  = p->in_pitch;
    const int16_t *weight = p->weight;
    INTS           sum[2][ROWS];

    foreach (r, rows) {
        foreach (v, vectors) {
            sum[v][r] = load_ints(p->bias + v * LANES);
        }
    }
    for (size_t t = 0; t < p->taps; t++) {
        const int16_t *in = p->in + row * pitch + p->tap[t];
        for (size_t i = 0; i < p->length; i += 2) {
            INTS w[2];
            foreach (v, vectors) {
                w[v] = load_ints((const void *)(weight + v * LANES * 2));
            }
            foreach (r, rows) {
                const INTS x = spread_pair(in + r * pitch + i);
                foreach (v, vectors) {
                    sum[v][r] = add_pairs(sum[v][r], x, w[v]);
                }
            }
            weight += vectors * LANES * 2;
        }
    }
    foreach (r, rows) {
        foreach (v, vectors) {
            store_ints(p->sum + (row + r) * vectors * LANES + v * LANES, sum[v][r]);
        }
    }
}

#define BLOCK(n)                                                                         \
    case n:                                                                              \
        run_block(p, row, n, vectors);                                                   \
        break;

/* All rows, in blocks of nearly equal size. */
#define ALL_ROWS                                                                         \
    const size_t blocks = (p->rows + ROWS - 1) / ROWS;                                   \
    size_t       row    = 0;                                                             \
                                                                                         \
    for (size_t b = 0; b < blocks; b++) {                                                \
        const size_t rows = (p->rows - row + blocks - b - 1) / (blocks - b);             \
        switch (rows) {                                                                  \
            BLOCK(1)                                                                     \
            BLOCK(2)                                                                     \
            BLOCK(3)                                                                     \
            BLOCK(4)                                                                     \
            BLOCKS_BEYOND_4                                                              \
        default:                                                                         \
            break;                                                                       \
        }                                                                                \
        row += rows;                                                                     \
    }

#if ROWS > 6
#define BLOCKS_BEYOND_4 BLOCK(5) BLOCK(6) BLOCK(7) BLOCK(8)
#elif ROWS > 4
#define BLOCKS_BEYOND_4 BLOCK(5) BLOCK(6)
#else
#define BLOCKS_BEYOND_4
#endif

#define run_block block
INLINE void panel(const pq_panel *p, const size_t vectors){ALL_ROWS}
#undef run_block

#define run_block words_block
INLINE void words_panel(const pq_words_panel *p, const size_t vectors){ALL_ROWS}
#undef run_block

FUNCTION void narrow(const pq_panel *p)
{
    panel(p, 1);
}

FUNCTION void wide(const pq_panel *p)
{
    panel(p, 2);
}

FUNCTION void words_narrow(const pq_words_panel *p)
{
    words_panel(p, 1);
}

FUNCTION void words_wide(const pq_words_panel *p)
{
    words_panel(p, 2);
}

FUNCTION void words_depthwise(const pq_words_panel *p)
{
    for (size_t r = 0; r < p->rows; r++) {
        int32_t *restrict sum = p->sum + r * p->width;
        for (size_t c = 0; c < p->width; c++) {
            sum[c] = p->bias[c];
        }
        for (size_t t = 0; t < p->taps; t++) {
            const int16_t *in     = p->in + r * p->in_pitch + p->tap[t];
            const int16_t *weight = p->weight + t * p->width;
            for (size_t c = 0; c < p->width; c++) {
                sum[c] += (int32_t)in[c] * (int32_t)weight[c];
            }
        }
    }
}

/* Adding and taking away 1.5 * 2^52 rounds half to even below 2^51; beyond, the value is
   clamped anyway. */
INLINE REALS_VEC whole_of(REALS_VEC x)
{
    const double magic = 6755399441055744.0;

    return (x + spread_real(magic)) - spread_real(magic);
}

INLINE REALS_VEC code_of(const pq_words_scale *s, size_t at, REALS_VEC sum)
{
    REALS_VEC x     = sum * load_reals(s->factor + at);
    REALS_VEC whole = whole_of(x);

    if (in_doubt(x, whole, s->doubt)) {
        x     = sum * load_reals(s->multiplier + at);
        whole = whole_of(x / spread_real(s->scale));
    }
    return clamp_reals(whole + spread_real(s->zero), s->lo, s->hi);
}

/* One code behind the last vector. */
INLINE double last_code_of(const pq_words_scale *s, size_t at, int32_t sum)
{
    const double x = rint((double)sum * s->multiplier[at] / s->scale) + s->zero;

    return x > s->lo ? (x < s->hi ? x : s->hi) : s->lo;
}

FUNCTION void codes(const pq_words_scale *scale, int32_t *code)
{
    const pq_words_scale s = *scale;

    for (size_t r = 0; r < s.rows; r++, code += s.pitch) {
        const int32_t *sum = s.sum + r * s.width;
        size_t         i   = 0;
        for (; i + REALS <= s.n; i += REALS) {
            store_codes(code + i, code_of(&s, i, reals_of(sum + i)));
        }
        for (; i < s.n; i++) {
            code[i] = (int32_t)last_code_of(&s, i, sum[i]);
        }
    }
}

/* Bounds that are whole can be applied before rounding; a NaN becomes lo. */
INLINE VEC within(VEC x, float lo, float hi)
{
    return at_most(hi, number_at_least(lo, x));
}

/* Half to even, below 2^22. */
INLINE VEC whole_of_floats(VEC x)
{
    const VEC magic = spread(12582912.0f);

    return (x + magic) - magic;
}

/* Float does for most: sum, factor and product are each rounded by 2^-24, and what is not
   clamped lies within 2^9. */
FUNCTION void byte_codes(const pq_words_scale *scale, uint8_t *code)
{
    const pq_words_scale s     = *scale; /* the bytes might be its own */
    const float          doubt = 0.5f - 0x1p-12f;
    const float          lo = (float)(s.lo - s.zero), hi = (float)(s.hi - s.zero);

    for (size_t r = 0; r < s.rows; r++, code += s.pitch) {
        const int32_t *sum = s.sum + r * s.width;
        size_t         i   = 0;
        for (; i + LANES <= s.n; i += LANES) {
            const VEC x     = within(floats_of(sum + i) * load(s.near + i), lo, hi);
            const VEC whole = whole_of_floats(x);
            if (floats_in_doubt(x, whole, doubt)) {
                foreach (k, LANES / REALS) {
                    const size_t at = i + k * REALS;
                    store_byte_codes(code + at, code_of(&s, at, reals_of(sum + at)));
                }
            } else {
                store_bytes(code + i, whole + spread((float)s.zero));
            }
        }
        for (; i < s.n; i++) {
            code[i] = (uint8_t)last_code_of(&s, i, sum[i]);
        }
    }
}

FUNCTION void add_bytes(const pq_byte_sum *sum, size_t n, const uint8_t *x1,
                        const uint8_t *x2, uint8_t *y)
{
    const pq_byte_sum s = *sum;

    for (size_t i = 0; i < n; i += LANES) {
        uint8_t        part[3][LANES] = {{0}};
        const bool     whole          = n - i >= LANES;
        const uint8_t *p = x1 + i, *q = x2 + i;
        uint8_t       *to = whole ? y + i : part[2];
        if (!whole) {
            p = memcpy(part[0], p, n - i);
            q = memcpy(part[1], q, n - i);
        }
        const VEC a = load_bytes(p) * spread(s.a), b = load_bytes(q) * spread(s.b);
        store_bytes(to, whole_of_floats(within((a + b) + spread(s.c), s.lo, s.hi)));
        if (!whole) {
            memcpy(y + i, to, n - i);
        }
    }
}

FUNCTION void to_bytes(const pq_byte_code *code, size_t n, const float *x, uint8_t *y)
{
    const pq_byte_code c = *code;

    for (size_t i = 0; i < n; i += LANES) {
        uint8_t    part[LANES];
        const bool whole = n - i >= LANES;
        const VEC  v     = whole ? load(x + i) : load_part(x + i, n - i);
        store_bytes(whole ? y + i : part,
                    whole_of_floats(within(v / spread(c.scale), c.lo, c.hi)) -
                        spread(c.lo));
        if (!whole) {
            memcpy(y + i, part, n - i);
        }
    }
}

/* One vector of channels at `rows` positions: the weights are loaded once for all. */
INLINE void depthwise_block(const pq_panel *p, size_t row, size_t channel, size_t width,
                            const size_t rows)
{
    const float *in = p->in + row * p->in_pitch + channel;
    VEC          sum[DEPTHWISE_ROWS];

    foreach (r, rows) {
        sum[r] = load(p->bias + channel);
    }
    for (size_t t = 0; t < p->taps; t++) {
        const VEC w = load(p->weight + t * width + channel);
        foreach (r, rows) {
            sum[r] = multiply_add(load(in + p->tap[t] + r * p->in_pitch), w, sum[r]);
        }
    }
    foreach (r, rows) {
        finish(p, row + r, channel, sum[r]);
    }
}

FUNCTION void depthwise(const pq_panel *p)
{
    const size_t width = (p->n + LANES - 1) / LANES * LANES;

    for (size_t c = 0; c < width; c += LANES) {
        size_t r = 0;
        for (; r + DEPTHWISE_ROWS <= p->rows; r += DEPTHWISE_ROWS) {
            depthwise_block(p, r, c, width, DEPTHWISE_ROWS);
        }
        for (; r < p->rows; r++) {
            depthwise_block(p, r, c, width, 1);
        }
    }
}

/* exp(x) to 2 ulp: x = k ln 2 + r, a polynomial in r, times 2^k. Adding 1.5 * 2^23 rounds
   x / ln 2 to the integer k, which is then in the low bits. Source: expf of the Cephes
   library, Moshier 1992. */
INLINE VEC exponential(VEC x)
{
    const VEC magic = spread(12582912.0f);
    VEC       t, k, r, y;

    x = at_most(88.0f, at_least(-87.3f, x));
    t = multiply_add(x, spread(1.44269504f), magic);
    k = t - magic;
    r = multiply_add(k, spread(-0.693359375f), x);
    r = multiply_add(k, spread(2.12194440e-4f), r);
    y = multiply_add(spread(1.9875691500e-4f), r, spread(1.3981999507e-3f));
    y = multiply_add(y, r, spread(8.3334519073e-3f));
    y = multiply_add(y, r, spread(4.1665795894e-2f));
    y = multiply_add(y, r, spread(1.6666665459e-1f));
    y = multiply_add(y, r, spread(5.0000001201e-1f));
    y = multiply_add(y * r, r, r) + spread(1.0f);
    return y * power_of_two(t);
}

FUNCTION void exponentials(size_t n, float *x)
{
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        store(x + i, exponential(load(x + i)));
    }
    if (i < n) {
        store_part(x + i, n - i, exponential(load_part(x + i, n - i)));
    }
}

const pq_kernels KERNELS = {
    .isa             = ISA,
    .lanes           = LANES,
    .narrow          = narrow,
    .wide            = wide,
    .depthwise       = depthwise,
    .words_narrow    = words_narrow,
    .words_wide      = words_wide,
    .words_depthwise = words_depthwise,
    .codes           = codes,
    .byte_codes      = byte_codes,
    .add_bytes       = add_bytes,
    .to_bytes        = to_bytes,
    .exponentials    = exponentials,
};
