#include "models.h"

#include "exec/codes.h"
#include "exec/words.h"
#include "layers/kinds.h"

/* A convolution, or a dense layer on rows, of random geometry and widths. */
static pq_graph *make_net(pq_rng *rng, size_t trial)
{
    const size_t channels = 1 + pq_rng_below(rng, 9);
    const bool   conv     = trial % 4 != 3;
    const size_t groups   = trial % 5 == 4 ? channels : 1;
    const size_t k        = 1 + pq_rng_below(rng, 3);
    const size_t outputs  = groups * (1 + pq_rng_below(rng, groups > 1 ? 2 : 40));
    pq_layer    *layer    = make_layer(conv ? "conv2d" : "dense");
    pq_graph    *g        = NULL;
    pq_quant    *q        = NULL;
    char         shape[32];

    (void)snprintf(shape, sizeof shape, "[7, 6, %zu]", channels);
    OK(pq_graph_create(&g, &err));
    add_input(g, "in", shape);
    g->nodes[0].quant =
        range_grid(2 + (int)pq_rng_below(rng, 10), trial % 2 == 0, -1.5, 2.0);
    if (conv) {
        set_size(layer, "stride_h", 1 + pq_rng_below(rng, 2));
        set_size(layer, "stride_w", 1 + pq_rng_below(rng, 2));
        set_size(layer, "dilation_w", 1 + pq_rng_below(rng, 2));
        set_size(layer, "groups", groups);
        OK(pq_layer_set(layer, "padding", trial % 3 == 0 ? "valid" : "same", &err));
        affine(rng, layer, PQ_SHAPE(outputs, k, k, channels / groups), true);
    } else {
        affine(rng, layer, PQ_SHAPE(outputs, channels), true);
    }
    OK(pq_quant_create(PQ_QUANT_INTEGER, 2 + (int)pq_rng_below(rng, 9), true, false, -1,
                       1, &q, &err));
    pq_quant_set_range(q, 0, -1.0, 1.0, true);
    pq_layer_weight(layer, "kernel")->quant = q;
    OK(pq_quant_apply(q, pq_layer_weight(layer, "kernel")->value, &err));
    add_layer(g, "layer", layer, "in");
    g->nodes[1].quant = range_grid(2 + (int)pq_rng_below(rng, 7), true, -1.0, 1.5);
    OK(pq_graph_check(g, &err));
    return g;
}

enum { SAMPLES = 4 };

/* The layer's own forward in double on whole numbers: exact, and knows no words. */
static double *plain_sums(const pq_graph *g, const pq_step *step, const int32_t *codes)
{
    const size_t in = pq_node_count(g, 0), out = pq_node_count(g, 1);
    double      *x         = pq_calloc(SAMPLES * in, sizeof *x);
    double      *y         = pq_calloc(SAMPLES * out, sizeof *y);
    const void  *inputs[1] = {x};
    pq_op       *op        = NULL;
    void        *scratch;

    pq_codes_to_real(g->nodes[0].quant, SAMPLES * in, codes, x);
    OK(pq_forward_prepare(step, SAMPLES, sizeof(double), &op, &err));
    scratch = pq_calloc(op->scratch_bytes + 1, 1);
    op->run(op, SAMPLES, inputs, y, scratch); /* sums times multipliers */
    op->release(op);
    pq_free(scratch);
    pq_free(x);
    return y;
}

static void check(const pq_graph *g, const pq_step *step, const pq_units *units,
                  pq_isa isa, pq_words_form form, const int32_t *codes, const double *y)
{
    const pq_quant *from = g->nodes[0].quant, *to = g->nodes[1].quant;
    const size_t in = SAMPLES * pq_node_count(g, 0), out = SAMPLES * pq_node_count(g, 1);
    uint8_t     *bytes     = pq_calloc(in, 1);
    int32_t     *result    = pq_calloc(out, sizeof *result);
    const bool   is_byte   = form == PQ_WORDS_BYTES;
    const void  *inputs[1] = {is_byte ? (const void *)bytes : (const void *)codes};
    pq_op       *op        = NULL;
    void        *scratch;

    for (size_t i = 0; i < in; i++) {
        bytes[i] = (uint8_t)(codes[i] - pq_quant_least(from, 0));
    }
    OK(pq_words_prepare(step, units, pq_kernels_find(isa), form, from, to, &op, &err));
    scratch = pq_calloc(op->scratch_bytes, 1);
    op->run(op, SAMPLES, inputs, result, scratch);
    for (size_t i = 0; i < out; i++) {
        const int32_t due = pq_quant_code_real(to, 0, y[i]);
        const int32_t is =
            is_byte ? ((uint8_t *)result)[i] + pq_quant_least(to, 0) : result[i];
        cr_assert_eq(is, due, "%s, item %zu: %d, not %d", op->kernel, i, is, due);
    }
    op->release(op);
    pq_free(scratch);
    pq_free(bytes);
    pq_free(result);
}

/* Bit by bit, of every instruction set this processor has, in both forms of values. */
Test(words, are_the_plain_sums_on_every_instruction_set)
{
    pq_rng rng   = pq_rng_stream(3, "words");
    size_t tried = 0;

    for (size_t trial = 0; trial < 300; trial++) {
        pq_graph    *g     = make_net(&rng, trial);
        const size_t count = SAMPLES * pq_node_count(g, 0);
        int32_t     *codes = pq_calloc(count, sizeof *codes);
        pq_units    *units = NULL;
        pq_step      step  = {.graph      = g,
                              .node       = 1,
                              .norm       = PQ_NO_NODE,
                              .add        = PQ_NO_NODE,
                              .activation = PQ_NO_NODE,
                              .last       = 1,
                              .n_in       = 1};
        double      *y;

        for (size_t i = 0; i < count; i++) {
            codes[i] = pq_quant_code(g->nodes[0].quant, 0, (float)pq_rng_normal(&rng));
        }
        y = plain_sums(g, &step, codes);
        OK(pq_units_create(g, 1, &units, NULL, &err));
        cr_assert(units != NULL && pq_words_fit(units));
        for (pq_isa isa = PQ_ISA_PORTABLE; isa <= pq_cpu_isa(); isa++, tried++) {
            check(g, &step, units, isa, PQ_WORDS_CODES, codes, y);
            if (g->nodes[0].quant->bits <= 8) {
                check(g, &step, units, isa, PQ_WORDS_BYTES, codes, y);
            }
        }
        pq_units_free(&units);
        pq_free(codes);
        pq_free(y);
        pq_graph_free(&g);
    }
    cr_expect_geq(tried, 300);
}

/* The largest words there are, in sums that just fit. */
Test(words, extremes_of_words_and_sums)
{
    const int16_t        in[2] = {32767, 32767}, weight[64] = {32767, 32767};
    const size_t         tap[1]    = {0};
    const int32_t        bias[64]  = {INT32_MAX - 2 * 32767 * 32767};
    const double         factor[1] = {1.0};
    int32_t              sum[64], code;
    const pq_words_scale scale = {.rows       = 1,
                                  .n          = 1,
                                  .multiplier = factor,
                                  .factor     = factor,
                                  .scale      = 1.0,
                                  .zero       = 3.0,
                                  .lo         = -5.0,
                                  .hi         = 6.0,
                                  .doubt      = 1.0,
                                  .sum        = sum};

    for (pq_isa isa = PQ_ISA_PORTABLE; isa <= pq_cpu_isa(); isa++) {
        const pq_kernels    *k     = pq_kernels_find(isa);
        const pq_words_panel panel = {1, 1, 2, in, 2, tap, weight, bias, k->lanes, sum};
        k->words_narrow(&panel);
        cr_expect_eq(sum[0], INT32_MAX, "%s", pq_isa_name(isa));
        k->codes(&scale, &code);
        cr_expect_eq(code, 6);
        sum[0] = INT32_MIN;
        k->codes(&scale, &code);
        cr_expect_eq(code, -5);
    }
}

enum { CODE_ROWS = 3, CODE_N = 37, CODE_WIDTH = 40, CODE_PITCH = 41 };

/* Sums of every instruction set to words and bytes, against the grid's own definition. */
static void check_codes(pq_words_scale s, const pq_quant *q)
{
    int32_t code[CODE_ROWS * CODE_PITCH];
    uint8_t byte[CODE_ROWS * CODE_PITCH];

    for (pq_isa isa = PQ_ISA_PORTABLE; isa <= pq_cpu_isa(); isa++) {
        const int32_t  least = pq_quant_least(q, 0);
        pq_words_scale b     = s;
        b.zero -= s.lo;
        b.hi -= s.lo;
        b.lo = 0.0;
        pq_kernels_find(isa)->codes(&s, code);
        pq_kernels_find(isa)->byte_codes(&b, byte);
        for (size_t r = 0; r < CODE_ROWS; r++) {
            for (size_t c = 0; c < CODE_N; c++) {
                const double  v   = (double)s.sum[r * CODE_WIDTH + c] * s.multiplier[c];
                const int32_t due = pq_quant_code_real(q, 0, v);
                cr_assert_eq(code[r * CODE_PITCH + c], due, "%s", pq_isa_name(isa));
                cr_assert_eq(byte[r * CODE_PITCH + c] + least, due, "%s",
                             pq_isa_name(isa));
            }
        }
    }
}

static pq_words_scale scale_of(const pq_quant *q, const double *multiplier,
                               double *factor, float *near, const int32_t *sum)
{
    for (size_t c = 0; c < CODE_N; c++) {
        factor[c] = multiplier[c] / (double)q->scale[0];
        near[c]   = (float)factor[c];
    }
    return (pq_words_scale){.rows       = CODE_ROWS,
                            .n          = CODE_N,
                            .width      = CODE_WIDTH,
                            .pitch      = CODE_PITCH,
                            .multiplier = multiplier,
                            .factor     = factor,
                            .near       = near,
                            .scale      = (double)q->scale[0],
                            .zero       = (double)q->zero_point[0],
                            .lo         = (double)pq_quant_least(q, 0),
                            .hi         = (double)pq_quant_most(q, 0),
                            .doubt      = pq_words_doubt((double)q->scale[0]),
                            .sum        = sum};
}

/* Halves to even, as pq_quant_code_real, for vectors and what is left of them. */
Test(words, codes_round_as_the_grid_does)
{
    int32_t   sum[CODE_ROWS * CODE_WIDTH];
    double    multiplier[CODE_N], factor[CODE_N];
    float     near[CODE_N];
    pq_quant *q = range_grid(8, true, -20.0, 12.7);

    for (size_t i = 0; i < CODE_ROWS * CODE_WIDTH; i++) {
        sum[i] = (int32_t)i * 5 - 290;
    }
    for (size_t c = 0; c < CODE_N; c++) {
        multiplier[c] = (double)q->scale[0] / 2.0;
    }
    check_codes(scale_of(q, multiplier, factor, near, sum), q);
    pq_quant_free(&q);
}

/* Products beside a half, where one rounding more or less gives the other code. */
Test(words, codes_in_doubt_are_those_of_the_quotient)
{
    pq_rng rng   = pq_rng_stream(5, "halves");
    size_t apart = 0;

    for (size_t trial = 0; trial < 200; trial++) {
        int32_t   sum[CODE_ROWS * CODE_WIDTH];
        double    multiplier[CODE_N], factor[CODE_N];
        float     near[CODE_N];
        pq_quant *q     = range_grid(8, true, -1.0 - pq_rng_uniform(&rng), 1.3);
        double    scale = (double)q->scale[0];

        for (size_t c = 0; c < CODE_N; c++) {
            const int32_t base = 1 + (int32_t)pq_rng_below(&rng, 100000);
            const double  half = (double)pq_rng_below(&rng, 100) + 0.5;
            multiplier[c]      = half * scale / (double)base;
            for (size_t r = 0; r < CODE_ROWS; r++) {
                sum[r * CODE_WIDTH + c] = base * ((int32_t)r - 1);
            }
        }
        const pq_words_scale s = scale_of(q, multiplier, factor, near, sum);
        for (size_t c = 0; c < CODE_N; c++) {
            const double x = (double)sum[2 * CODE_WIDTH + c];
            apart += rint(x * factor[c]) < rint(x * multiplier[c] / scale) ||
                     rint(x * factor[c]) > rint(x * multiplier[c] / scale);
        }
        check_codes(s, q);
        pq_quant_free(&q);
    }
    cr_expect_gt(apart, 100, "only %zu products decide otherwise than quotients", apart);
}

/* Sums of bytes and bytes of floats, of every length up to a few vectors. */
Test(words, bytes_are_those_of_the_plain_formulas)
{
    pq_rng             rng  = pq_rng_stream(6, "bytes");
    const pq_byte_sum  sum  = {0.37f, 1.5f, -20.25f, 7.0f, 250.0f};
    const pq_byte_code code = {0.125f, -100.0f, 155.0f};
    uint8_t            x1[80], x2[80], y[81];
    float              x[80];

    for (size_t i = 0; i < 80; i++) {
        x1[i] = (uint8_t)pq_rng_below(&rng, 256);
        x2[i] = (uint8_t)pq_rng_below(&rng, 256);
        x[i]  = i % 3 == 0 ? (float)(int32_t)i * 0.0625f - 2.0f /* halves */
                           : (float)pq_rng_normal(&rng) * 15.0f;
    }
    x[1] = NAN;
    x[2] = INFINITY;
    x[4] = -INFINITY;
    x[5] = 1e30f;
    for (pq_isa isa = PQ_ISA_PORTABLE; isa <= pq_cpu_isa(); isa++) {
        const pq_kernels *k = pq_kernels_find(isa);
        for (size_t n = 0; n <= 80; n++) {
            y[n] = 99;
            k->add_bytes(&sum, n, x1, x2, y);
            for (size_t i = 0; i < n; i++) {
                const float v   = ((float)x1[i] * sum.a + (float)x2[i] * sum.b) + sum.c;
                const float due = fminf(fmaxf(rintf(v), sum.lo), sum.hi);
                cr_assert_eq(y[i], (uint8_t)due, "%s, %zu of %zu", pq_isa_name(isa), i,
                             n);
            }
            const bool doubt = k->to_bytes(&code, n, x, y);
            bool       tie   = false;
            for (size_t i = 0; i < n; i++) {
                const float q = x[i] / code.scale, v = rintf(q);
                tie = tie || (fabsf(q - v) == 0.5f && q > code.lo && q < code.hi);
                const float due = v > code.lo ? fminf(v, code.hi) : code.lo;
                cr_assert_eq(y[i], (uint8_t)(due - code.lo), "%s, %zu of %zu",
                             pq_isa_name(isa), i, n);
            }
            cr_assert_eq(doubt, tie, "%s, %zu", pq_isa_name(isa), n);
            cr_assert_eq(y[n], 99, "written beyond the end");
        }
    }
}
