#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/rng.h"
#include "kernels/bytes.h"

static void *room(size_t n, size_t size)
{
    void *block = pq_calloc(n, size);

    cr_assert_not_null(block);
    return block;
}

/* A layer of random numbers, and what both kernels make of it. */
typedef struct {
    pq_bytes_panel call;
    uint8_t       *in;
    size_t         tap[3];
    int8_t        *weight;
    int32_t       *bias;
    double        *multiplier, *factor;
    float         *near;
} layer;

/* Some lines of `rows`, with 1 to 3 taps, each a line below the last. */
static layer make(pq_rng *rng, size_t rows, size_t length, size_t n, bool power_of_two)
{
    const size_t width = (n + PQ_BYTES_LANES - 1) / PQ_BYTES_LANES * PQ_BYTES_LANES;
    const double scale = power_of_two ? 0.25 : 0.05 + 0.1 * pq_rng_uniform(rng);
    const size_t lines = 1 + rows % 4, taps = 1 + rows % 3, quads = (length + 3) / 4;
    const size_t pitch = length + rows % 2 * 3, line = rows * pitch;
    const size_t size = (lines + taps - 2) * line + (rows - 1) * pitch + length;
    layer        l;

    l.in         = room(size, 1); /* no byte beyond: a sanitizer would see */
    l.weight     = room(taps * quads * width * 4, 1);
    l.bias       = room(width, sizeof *l.bias);
    l.multiplier = room(width, sizeof *l.multiplier);
    l.factor     = room(width, sizeof *l.factor);
    l.near       = room(width, sizeof *l.near);
    for (size_t t = 0; t < 3; t++) {
        l.tap[t] = t * line;
    }
    for (size_t i = 0; i < size; i++) {
        l.in[i] = (uint8_t)pq_rng_below(rng, 256);
    }
    for (size_t c = 0; c < n; c++) {
        for (size_t k = 0; k < taps * length; k++) {
            const size_t t = k / length, i = k % length;
            l.weight[((t * quads + i / 4) * width + c) * 4 + i % 4] =
                (int8_t)((int)pq_rng_below(rng, 256) - 128);
        }
        l.bias[c]       = (int32_t)pq_rng_below(rng, 20001) - 10000;
        l.multiplier[c] = scale * (power_of_two ? ldexp(1.0, -(int)pq_rng_below(rng, 12))
                                                : pq_rng_uniform(rng) * 0.01);
        l.factor[c]     = l.multiplier[c] / scale;
        l.near[c]       = (float)l.factor[c];
    }
    l.call = (pq_bytes_panel){.lines    = lines,
                              .rows     = rows,
                              .taps     = taps,
                              .length   = length,
                              .in       = l.in,
                              .in_line  = line,
                              .in_pitch = pitch,
                              .weight   = l.weight,
                              .bias     = l.bias,
                              .width    = width,
                              .scale    = {.n          = n,
                                           .pitch      = n,
                                           .multiplier = l.multiplier,
                                           .factor     = l.factor,
                                           .near       = l.near,
                                           .scale      = scale,
                                           .zero       = (double)pq_rng_below(rng, 256),
                                           .hi         = 255.0,
                                           .doubt      = pq_words_doubt(scale)}};
    return l;
}

/* What this processor has. */
static size_t find_all(const pq_bytes_kernel *all[2])
{
    size_t n = 0;

#if defined(__x86_64__)
    if (pq_bytes_find() != NULL) {
        all[n++] = &pq_bytes_vnni;
        if (pq_bytes_amx() != NULL) {
            all[n++] = pq_bytes_amx();
        }
    }
#else
    (void)all;
#endif
    return n;
}

static void free_layer(layer *l)
{
    pq_free(l->in);
    pq_free(l->weight);
    pq_free(l->bias);
    pq_free(l->multiplier);
    pq_free(l->factor);
    pq_free(l->near);
}

/* Codes, with and without a bound at zero, and reals, with and without a relu. */
static void compare(const pq_bytes_kernel *kernel, layer *l)
{
    const size_t rows = l->call.rows, n = l->call.scale.n,
                 size  = l->call.lines * rows * n * sizeof(float);
    unsigned char *due = room(size + 64, 1), *got = room(size + 64, 1);

    l->call.tap = l->tap;
    for (int how = 0; how < 4; how++) {
        pq_bytes_panel a = l->call, b = l->call;

        memset(due, 0x5a, size + 64);
        memset(got, 0x5a, size + 64);
        a.scale.lo = b.scale.lo = how == 1 ? l->call.scale.zero : 0.0;
        a.relu = b.relu = how == 3;
        if (how < 2) {
            a.code = due;
            b.code = got;
        } else {
            a.real = (float *)(void *)due;
            b.real = (float *)(void *)got;
        }
        pq_bytes_plain(&a);
        kernel->panel(&b);
        cr_expect_eq(memcmp(due, got, size + 64), 0, "%zu rows, %zu to %zu, form %d",
                     rows, l->call.length, n, how);
    }
    pq_free(due);
    pq_free(got);
}

Test(bytes, kernel_gives_the_bits_of_the_plain_loops)
{
    static const size_t    lengths[] = {1, 3, 4, 5, 16, 31, 48, 64, 96, 130, 192};
    static const size_t    widths[]  = {1, 5, 15, 16, 17, 32, 33, 48, 64, 65, 100, 128};
    const pq_bytes_kernel *all[2]    = {NULL};
    const size_t           kernels   = find_all(all);
    pq_rng                 rng       = pq_rng_stream(1, "bytes");

    if (kernels == 0) {
        cr_skip_test("this processor has no products of bytes");
    }
    for (size_t a = 0; a < sizeof lengths / sizeof lengths[0]; a++) {
        for (size_t b = 0; b < sizeof widths / sizeof widths[0]; b++) {
            for (size_t rows = 1; rows < 34; rows += rows < 18 ? 1 : 5) {
                layer l = make(&rng, rows, lengths[a], widths[b], rows % 2 == 0);
                for (size_t k = 0; k < kernels; k++) {
                    compare(all[k], &l);
                }
                free_layer(&l);
            }
        }
    }
}

Test(bytes, halves_are_rounded_to_even_and_ends_are_kept)
{
    const pq_bytes_kernel *all[2]  = {NULL};
    const size_t           kernels = find_all(all);
    pq_rng                 rng     = pq_rng_stream(2, "bytes");
    layer                  l       = make(&rng, 40, 4, 16, true);
    uint8_t                due[640], got[640];

    if (kernels == 0) {
        cr_skip_test("this processor has no products of bytes");
    }
    for (size_t c = 0; c < 16; c++) { /* code = (sum + bias) / 2 + zero */
        l.multiplier[c] = l.call.scale.scale * 0.5;
        l.factor[c]     = 0.5;
        l.near[c]       = 0.5f;
        l.bias[c]       = (int32_t)c - 8 +
                    (c == 0    ? INT32_MIN / 2
                     : c == 15 ? INT32_MAX / 2
                               : 0);
        for (size_t i = 0; i < 4; i++) {
            l.weight[c * 4 + i] = (int8_t)(i == 0);
        }
    }
    l.call.taps = l.call.lines = 1;
    l.call.tap                 = l.tap;
    l.call.scale.zero          = 100.0;
    l.call.code                = due;
    pq_bytes_plain(&l.call);
    l.call.code = got;
    for (size_t k = 0; k < kernels; k++) {
        memset(got, 0, sizeof got);
        all[k]->panel(&l.call);
        cr_expect_eq(memcmp(due, got, sizeof due), 0);
    }
    for (size_t r = 0; r < 40; r++) {
        cr_expect_eq(got[r * 16], 0);
        cr_expect_eq(got[r * 16 + 15], 255);
        const int    sum  = l.in[r * 4] + 1;
        const double half = rint(sum / 2.0) + 100.0;
        cr_expect_eq(got[r * 16 + 9], half < 255.0 ? half : 255.0);
    }
    free_layer(&l);
}
