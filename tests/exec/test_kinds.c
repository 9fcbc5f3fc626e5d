/* Every kind of layer, in every engine of this build, as floats and on grids. */
#include "case_layer.h"
#include "exec/engine.h"
#include "layers/toy.h"

/* Largest difference to `reference`, of values of the size of 1; on grids, in steps. */
static const double most_difference = 2e-5, most_steps = 1.001, step = 0.0625;

static pq_graph *graph_of(const layer_case *c, pq_rng *rng)
{
    static const char *const names[RUN_MAX] = {"a", "b", "c", "d"};
    pq_layer                *layer          = case_layer(c, rng);
    pq_graph                *g              = NULL;

    OK(pq_graph_create(&g, &err));
    for (size_t k = 0; k < c->n_in; k++) {
        char text[128];
        add_input(g, names[k], pq_shape_text(&c->in[k], text, sizeof text));
    }
    OK(pq_graph_add(g, "layer", layer, c->n_in, names, &err));
    OK(pq_graph_check(g, &err));
    return g;
}

static pq_quant *grid(void)
{
    pq_quant *q = NULL;

    OK(pq_quant_create(PQ_QUANT_INTEGER, 8, true, false, PQ_QUANT_PER_TENSOR, 1, &q,
                       &err));
    q->scale[0] = (float)step;
    return q;
}

/* Eight bits on all inputs, the output, and a kernel where there is one. */
static void put_on_grids(pq_graph *g)
{
    pq_weight *kernel = pq_layer_weight(g->nodes[g->output].layer, "kernel");

    for (size_t i = 0; i < g->n_nodes; i++) {
        g->nodes[i].quant = grid();
    }
    if (kernel != NULL) {
        kernel->quant = grid();
        OK(pq_quant_apply(kernel->quant, kernel->value, &err));
    }
}

/* n samples; with an observer that sees every node when `whole`. */
/* Whether an engine is walked here: generated C has tests of its own for every kind,
 * since each case is compiled, and refuses what it has no form of (tests/codegen). */
static bool walks(const char *engine)
{
    return engine_runs(engine) && strcmp(engine, "generated") != 0;
}

static void see(void *context, size_t node, size_t n, const float *values)
{
    (void)node;
    (void)values;
    *(size_t *)context += n;
}

static float *run_engine(const pq_graph *g, const char *engine, bool whole, size_t n,
                         const float *const *in, size_t width)
{
    const pq_plan_options options = {engine, n};
    pq_plan              *plan    = NULL;
    pq_text               kernels = {0};
    float                *out     = pq_calloc(n * width, sizeof *out);
    size_t                seen    = 0;

    OK(pq_plan_create(g, &options, &plan, &err));
    if (whole) {
        pq_plan_observe(plan, see, &seen);
    }
    OK(pq_plan_run(plan, n, in, out, &err));
    pq_plan_kernels(plan, &kernels);
    cr_assert(!whole || seen == n * g->n_nodes);
    cr_assert(g->nodes[g->output].quant == NULL || kernels.text != NULL,
              "%s does not say what computes", engine);
    pq_text_free(&kernels);
    pq_plan_free(&plan);
    return out;
}

/* Every engine beside the reference, on numbers that are bfloat16 already where
 * `rounded`; bf16 on none others, but for grids of few bits. */
static void compare_engines(const layer_case *c, const pq_graph *g, size_t n, pq_rng *rng,
                            double allowed, bool rounded)
{
    const bool grids = g->nodes[g->output].quant != NULL;

    float       *in[RUN_MAX] = {NULL};
    const size_t width       = run_items(&g->nodes[g->output].shape);

    for (size_t k = 0; k < c->n_in; k++) {
        const size_t items = n * run_items(&c->in[k]);
        in[k]              = pq_calloc(items, sizeof(float));
        fill_normal(rng, 1.0, items, in[k]);
        for (size_t i = 0; rounded && i < items; i++) {
            in[k][i] = nearest_bf16(in[k][i]);
        }
    }
    float *due = run_engine(g, "reference", false, n, (const float *const *)in, width);
    for (size_t e = 0; pq_engine_names[e] != NULL; e++) {
        const bool bf16 = strcmp(pq_engine_names[e], "bf16") == 0;
        if (!walks(pq_engine_names[e]) || (bf16 && !rounded && !grids)) {
            continue;
        }
        for (int whole = 0; whole < 2; whole++) {
            float       *out = run_engine(g, pq_engine_names[e], whole == 1, n,
                                          (const float *const *)in, width);
            const double off = largest_difference(out, due, n * width);
            cr_expect(off <= allowed, "%s (%s) in %s, %zu samples: off by %g", c->kind,
                      c->attributes, pq_engine_names[e], n, off);
            pq_free(out);
        }
    }
    pq_free(due);
    for (size_t k = 0; k < c->n_in; k++) {
        pq_free(in[k]);
    }
}

static void walk(bool on_grids, bool rounded)
{
    static const size_t samples[] = {1, 3, 64, 65};
    pq_rng              rng       = pq_rng_stream(12, "kinds");

    for (size_t i = 0; i < N_LAYER_CASES; i++) {
        pq_graph *g = graph_of(&layer_cases[i], &rng);
        if (on_grids) {
            put_on_grids(g);
        }
        pq_weight *kernel = pq_layer_weight(g->nodes[g->output].layer, "kernel");
        for (size_t k = 0; rounded && kernel != NULL && k < kernel->value->count; k++) {
            pq_f32(kernel->value)[k] = nearest_bf16(pq_f32(kernel->value)[k]);
        }
        for (size_t s = 0; s < sizeof samples / sizeof *samples; s++) {
            compare_engines(&layer_cases[i], g, samples[s], &rng,
                            on_grids ? most_steps * step : most_difference, rounded);
        }
        pq_graph_free(&g);
    }
}

Test(kinds, every_kind_runs_in_every_engine_and_gives_what_the_reference_gives)
{
    walk(false, false);
}

Test(kinds, every_kind_on_grids_runs_in_every_engine)
{
    walk(true, false);
}

/* Alike values have no variance, and far from 0 a small one: what their mean is off by
 * is divided by the root of epsilon. */
Test(kinds, layer_norm_of_many_alike_values_does_not_miss_their_mean)
{
    static const layer_case c   = {"layer_norm", "epsilon=1e-5", 1, {S(387)}, {{0}}};
    pq_rng                  rng = pq_rng_stream(15, "kinds");
    pq_graph               *g   = graph_of(&c, &rng);
    float                   x[2 * 387], *due;
    const float *const      in[] = {x};

    for (size_t i = 0; i < 387; i++) {
        x[i]       = 2.7f;
        x[387 + i] = 1000.0f + (float)(i % 5);
    }
    due = run_engine(g, "reference", false, 2, in, 387);
    for (size_t e = 0; pq_engine_names[e] != NULL; e++) {
        if (walks(pq_engine_names[e])) {
            float       *out = run_engine(g, pq_engine_names[e], false, 2, in, 387);
            const double off = largest_difference(out, due, sizeof x / sizeof *x);
            cr_expect_leq(off, 1e-4, "%s is off by %g", pq_engine_names[e], off);
            pq_free(out);
        }
    }
    pq_free(due);
    pq_graph_free(&g);
}

/* The squares of the second row and of the third are beyond float32, and its deviations
 * are, too. */
Test(kinds, layer_norm_of_the_largest_floats_does_not_overflow)
{
    static const layer_case c = {
        "layer_norm", "", 1, {S(5)}, {{"gamma", S(5)}, {"beta", S(5)}}};
    static const float x[15] = {1e18f, -2e18f, 3e18f,   0.0f, 5e17f,
                                2e19f, -1e25f, 3e24f,   1.0f, -4e24f,
                                3e38f, -3e38f, 3.4e38f, 0.0f, 1e38f};
    const float *const in[]  = {x};
    pq_rng             rng   = pq_rng_stream(16, "kinds");
    pq_graph          *g     = graph_of(&c, &rng);
    float             *due   = run_engine(g, "reference", false, 3, in, 5);

    for (size_t e = 0; pq_engine_names[e] != NULL; e++) {
        if (walks(pq_engine_names[e])) {
            float       *out = run_engine(g, pq_engine_names[e], false, 3, in, 5);
            const double off = largest_difference(out, due, 15);
            cr_expect_leq(off, most_difference, "%s is off by %g", pq_engine_names[e],
                          off);
            pq_free(out);
        }
    }
    pq_free(due);
    pq_graph_free(&g);
}

/* Without epsilon, squares below float32 are all that there is to divide by. */
Test(kinds, layer_norm_without_epsilon_keeps_small_deviations)
{
    static const layer_case c = {
        "layer_norm", "epsilon=0", 1, {S(5)}, {{"gamma", S(5)}, {"beta", S(5)}}};
    static const float x[15] = {1e-25f, -2e-25f, 3e-25f, 0.0f, 5e-25f,
                                2e-16f, -1e-16f, 3e-16f, 0.0f, 4e-16f,
                                2.0f,   -1.0f,   3e20f,  0.0f, 4.0f};
    const float *const in[]  = {x};
    pq_rng             rng   = pq_rng_stream(17, "kinds");
    pq_graph          *g     = graph_of(&c, &rng);
    float             *due   = run_engine(g, "reference", false, 3, in, 5);

    for (size_t i = 0; i < 15; i++) {
        cr_assert(isfinite(due[i]));
    }
    for (size_t e = 0; pq_engine_names[e] != NULL; e++) {
        if (walks(pq_engine_names[e])) {
            float       *out = run_engine(g, pq_engine_names[e], false, 3, in, 5);
            const double off = largest_difference(out, due, 15);
            cr_expect_leq(off, most_difference, "%s is off by %g", pq_engine_names[e],
                          off);
            pq_free(out);
        }
    }
    pq_free(due);
    pq_graph_free(&g);
}

/* Products of bfloat16 are exact in float32: so nothing is lost but by rounding to it. */
Test(kinds, every_kind_on_bfloat16_runs_in_every_engine)
{
    walk(false, true);
}

/* On other numbers both factors of a product are off by 2^-9 at most. */
Test(kinds, bf16_is_off_by_the_rounding_of_its_factors)
{
    static const size_t samples[] = {1, 7, 8, 9, 64};
    pq_rng              rng       = pq_rng_stream(14, "kinds");

    for (size_t i = 0; engine_runs("bf16") && i < N_LAYER_CASES; i++) {
        const layer_case *c     = &layer_cases[i];
        pq_graph         *g     = graph_of(c, &rng);
        const pq_weight  *w     = pq_layer_weight(g->nodes[g->output].layer, "kernel");
        const size_t      width = run_items(&g->nodes[g->output].shape);
        double            sum   = 0.0; /* of an output's products, with inputs below 5 */

        for (size_t k = 0; w != NULL && k < w->value->count; k++) {
            sum +=
                5.0 * fabs((double)pq_f32(w->value)[k]) / (double)w->value->shape.dim[0];
        }
        for (size_t s = 0; s < sizeof samples / sizeof *samples; s++) {
            float *in[RUN_MAX] = {NULL}, *due, *out;
            for (size_t k = 0; k < c->n_in; k++) {
                const size_t items = samples[s] * run_items(&c->in[k]);
                in[k]              = pq_calloc(items, sizeof(float));
                fill_normal(&rng, 1.0, items, in[k]);
            }
            due = run_engine(g, "reference", false, samples[s], (const float *const *)in,
                             width);
            out =
                run_engine(g, "bf16", false, samples[s], (const float *const *)in, width);
            cr_expect_leq(largest_difference(out, due, samples[s] * width),
                          most_difference + 2.0 * 0x1p-8 * sum, "%s (%s), %zu samples",
                          c->kind, c->attributes, samples[s]);
            pq_free(due);
            pq_free(out);
            for (size_t k = 0; k < c->n_in; k++) {
                pq_free(in[k]);
            }
        }
        pq_graph_free(&g);
    }
}

Test(kinds, bf16_is_refused_with_the_reason_where_the_processor_has_none)
{
    const pq_plan_options options = {"bf16", 1};
    pq_rng                rng     = pq_rng_stream(15, "kinds");
    pq_graph             *g       = graph_of(&layer_cases[0], &rng);
    pq_plan              *plan    = NULL;
    pq_err                err     = {0};

    if (engine_runs("bf16")) {
        OK(pq_plan_create(g, &options, &plan, &err));
    } else {
        cr_expect_eq(pq_plan_create(g, &options, &plan, &err), PQ_ERR_UNSUPPORTED);
        cr_expect_not_null(strstr(err.message, "engine 'bf16' needs AVX-512 BF16"), "%s",
                           err.message);
    }
    pq_plan_free(&plan);
    pq_graph_free(&g);
}

/* No step of a float engine that no grid asks for something else runs in double. */
Test(kinds, every_kind_has_float_code_in_the_float_engines)
{
    static const char *const engines[] = {"float32", "int8"};
    pq_rng                   rng       = pq_rng_stream(13, "kinds");

    for (size_t i = 0; i < N_LAYER_CASES; i++) {
        pq_graph *g = graph_of(&layer_cases[i], &rng);
        for (size_t e = 0; pq_engine_names[e] != NULL; e++) {
            if (!walks(pq_engine_names[e])) {
                continue;
            }
            const pq_plan_options options = {pq_engine_names[e], 4};
            pq_plan              *plan    = NULL;
            pq_text               kernels = {0};
            if (strcmp(options.engine, engines[0]) != 0 &&
                strcmp(options.engine, engines[1]) != 0) {
                continue;
            }
            OK(pq_plan_create(g, &options, &plan, &err));
            pq_plan_kernels(plan, &kernels);
            cr_expect(kernels.text == NULL || strstr(kernels.text, "double") == NULL,
                      "%s (%s) in %s: %s", layer_cases[i].kind, layer_cases[i].attributes,
                      options.engine, kernels.text);
            pq_text_free(&kernels);
            pq_plan_free(&plan);
        }
        pq_graph_free(&g);
    }
}

/* Predicted in every engine, as floats and on grids, without a line elsewhere. */
Test(kinds, a_new_kind_runs_in_every_engine)
{
    pq_rng rng = pq_rng_stream(14, "kinds");

    for (size_t i = 0; i < 2 * TOY_KINDS; i++) {
        const layer_case c     = {toy_kinds[i / 2].name, "", 1, {S(3, 5)}, {{0}}};
        const char      *from  = "a";
        pq_layer        *layer = NULL;
        pq_graph        *g     = NULL;
        OK(pq_graph_create(&g, &err));
        add_input(g, "a", "[3, 5]");
        OK(pq_layer_of_kind(&toy_kinds[i / 2], &layer, &err));
        OK(pq_graph_add(g, "layer", layer, 1, &from, &err));
        OK(pq_graph_check(g, &err));
        if (i % 2 == 1) {
            put_on_grids(g);
        }
        compare_engines(&c, g, 7, &rng, i % 2 == 1 ? most_steps * step : most_difference,
                        false);
        cr_expect_eq(strstr(pq_float_kernel(g->nodes[1].layer), "double") != NULL, i < 2);
        pq_graph_free(&g);
    }
}
