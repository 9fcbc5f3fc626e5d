/* What is timed: a crew, or the compiled function itself. */
#include "helpers.h"

#include "lab/caller.h"

#define OK(call) cr_assert_eq(call, PQ_OK, "%s", err.message)

enum { BATCH = 3, WIDTH = 4 };

/* One dense layer. */
static pq_graph *small_net(void)
{
    pq_rng     rng = pq_rng_stream(3, "caller");
    pq_graph  *g   = NULL;
    pq_layer  *layer;
    pq_tensor *w   = NULL;
    pq_err     err = {0};

    OK(pq_graph_create(&g, &err));
    OK(pq_layer_create("input", &layer, &err));
    OK(pq_layer_set(layer, "shape", "4", &err));
    OK(pq_graph_add(g, "in", layer, 0, NULL, &err));
    OK(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(WIDTH, WIDTH), &w, &err));
    for (size_t i = 0; i < w->count; i++) {
        pq_f32(w)[i] = (float)pq_rng_normal(&rng);
    }
    OK(pq_layer_create("dense", &layer, &err));
    OK(pq_layer_add_weight(layer, "kernel", w, &err));
    OK(pq_graph_add(g, "fc", layer, 1, (const char *[]){"in"}, &err));
    OK(pq_graph_check(g, &err));
    return g;
}

static void call_once(const pq_graph *g, pq_caller_options how, const float *in,
                      float out[BATCH * WIDTH], size_t *code)
{
    pq_caller  c   = {0};
    pq_err     err = {0};
    pq_variant v;

    OK(pq_caller_open(g, &how, &c, &err));
    cr_assert_eq(c.item, WIDTH);
    c.in = in;
    OK(pq_caller_try(&c, &err));
    v = pq_caller_variant(&c);
    (void)v.run(v.context, 7, 0);
    memcpy(out, c.out, BATCH * WIDTH * sizeof *out);
    cr_expect_eq(v.flush != NULL, c.code.run != NULL);
    *code = pq_caller_code_bytes(&c);
    cr_expect_leq(*code, c.code.object_bytes);
    pq_caller_close(&c);
}

Test(caller, the_compiled_function_gives_what_the_engine_gives)
{
    pq_graph *g = small_net();
    float     in[BATCH * WIDTH], mine[BATCH * WIDTH], due[BATCH * WIDTH];
    size_t    code;

    for (size_t i = 0; i < BATCH * WIDTH; i++) {
        in[i] = 0.3F * (float)i - 1.0F;
    }
    call_once(g, (pq_caller_options){.engine = "float32", .batch = BATCH, .threads = 1},
              in, due, &code);
    cr_expect_eq(code, 0);
    for (size_t threads = 1; threads <= 2; threads++) {
        call_once(g, (pq_caller_options){pq_generated, BATCH, threads, false}, in, mine,
                  &code);
        for (size_t i = 0; i < BATCH * WIDTH; i++) {
            cr_expect_float_eq(mine[i], due[i], 1e-5);
        }
        cr_expect(threads == 1 ? code > WIDTH * WIDTH * sizeof(float) : code == 0,
                  "%zu bytes of code", code);
    }
    pq_graph_free(&g);
}

Test(caller, without_a_compiler_the_crew_runs_and_raw_is_refused)
{
    pq_graph               *g         = small_net();
    const float             in[WIDTH] = {1.0F};
    const pq_caller_options plain     = {pq_generated, 1, 1, false},
                            raw       = {pq_generated, 1, 1, true};
    pq_caller c                       = {0};
    pq_err    err                     = {0};

    cr_assert_eq(setenv("CC", "/nowhere/cc", 1), 0);
    OK(pq_caller_open(g, &plain, &c, &err));
    c.in = in;
    OK(pq_caller_try(&c, &err));
    cr_expect_null(pq_caller_variant(&c).flush);
    pq_caller_close(&c);
    cr_expect_eq(pq_caller_open(g, &raw, &c, &err), PQ_ERR_UNSUPPORTED);
    cr_expect_not_null(strstr(err.message, "'/nowhere/cc' cannot be started"), "%s",
                       err.message);
    pq_caller_close(&c);
    pq_graph_free(&g);
}
