#include "quantized.h"

typedef struct {
    pq_calib       *calib;
    const pq_graph *graph;
} grams;

static void add_grams(void *context, size_t node, size_t n, const float *values)
{
    const grams *w = context;

    for (size_t i = 0; i < w->graph->n_nodes; i++) {
        if (pq_layer_weight(w->graph->nodes[i].layer, "kernel") != NULL &&
            w->graph->nodes[i].inputs[0] == node) {
            OK(pq_calib_add_gram(w->calib, w->graph, i, n, values, &err));
        }
    }
}

/* Gram matrices of all kernels on n random samples. */
static pq_calib *calibrate_grams(const pq_graph *g, size_t n)
{
    pq_rng   rng     = pq_rng_stream(98, "events");
    grams    context = {NULL, g};
    pq_plan *plan    = NULL;
    float    x[16 * 200], y[5 * 200];

    for (size_t i = 0; i < 16 * n; i++) {
        x[i] = (float)pq_rng_normal(&rng);
    }
    OK(pq_calib_create(g, &context.calib, &err));
    OK(pq_plan_create(g, &(pq_plan_options){"reference", n}, &plan, &err));
    pq_plan_observe(plan, add_grams, &context);
    OK(pq_plan_run(plan, n, (const float *[]){x}, y, &err));
    pq_plan_free(&plan);
    return context.calib;
}

/* (w' - w)^T G (w' - w) of a layer, by the statistics it was made with. */
static double output_error(const pq_graph *before, const pq_graph *after,
                           const char *name, const pq_calib *calib)
{
    const pq_calib_gram *gram = pq_calib_gram_of(calib, name);
    const float         *a    = pq_f32(kernel(before, name)->value);
    const float         *b    = pq_f32(kernel(after, name)->value);
    double               sum  = 0.0;

    for (size_t o = 0; o < kernel(before, name)->value->count; o += gram->n) {
        for (size_t i = 0; i < gram->n; i++) {
            for (size_t k = 0; k < gram->n; k++) {
                sum += ((double)b[o + i] - (double)a[o + i]) *
                       gram->gram[i * gram->n + k] *
                       ((double)b[o + k] - (double)a[o + k]);
            }
        }
    }
    return sum;
}

Test(quantize_adaptive, adaptive_choice_changes_the_output_less_and_stays_on_the_grid)
{
    pq_apply_options options = {0};
    pq_graph        *g       = net_mlp(23);
    pq_calib        *calib   = calibrate_grams(g, 200);
    pq_graph        *near, *adaptive;

    options.calib = calib;
    near          = net_apply("quantize:bits=4,activations=no", g, &options, NULL, NULL);
    adaptive = net_apply("quantize:bits=4,activations=no,choice=adaptive", g, &options,
                         NULL, NULL);
    const pq_weight *w = kernel(adaptive, "fc2"), *from = kernel(g, "fc2");

    cr_expect_lt(output_error(g, adaptive, "fc2", calib),
                 0.8 * output_error(g, near, "fc2", calib));
    for (size_t i = 0; i < w->value->count; i++) {
        const size_t s = pq_quant_index(w->quant, &w->value->shape, i);
        const float  y = pq_f32(w->value)[i], x = pq_f32(from->value)[i];
        cr_expect_eq(pq_quant_round(w->quant, s, y), y);
        cr_expect_leq(fabsf(y - x), 1.001f * w->quant->scale[s], "one of two neighbours");
    }
    pq_graph_free(&near);
    pq_graph_free(&adaptive);
    pq_calib_free(&calib);
    pq_graph_free(&g);
}
