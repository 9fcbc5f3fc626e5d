#include "lab/helpers.h"

#include <math.h>

#include "compress/quantize_weights.h"
#include "exec/plan.h"
#include "lab/compress.h"

enum { N = 70 };

/* Three features and a kernel on which few bits show. */
static pq_graph *model(bool softmax)
{
    static const size_t order[] = {0, 1, 2};
    pq_graph           *g       = make_model(order, softmax);
    float              *w = pq_f32(pq_layer_weight(g->nodes[1].layer, "kernel")->value);

    for (size_t i = 0; i < CLASSES * FEATURES; i++) {
        w[i] = w[i] * 0.25F + 0.07F * (float)i;
    }
    cr_assert_eq(pq_graph_check(g, NULL), PQ_OK);
    return g;
}

static void probabilities(const float *w, const float *x, double *p)
{
    double sum = 0.0;

    for (size_t k = 0; k < CLASSES; k++) {
        p[k] = 0.0;
        for (size_t f = 0; f < FEATURES; f++) {
            p[k] += (double)w[k * FEATURES + f] * (double)x[f];
        }
        p[k] = exp(p[k]);
        sum += p[k];
    }
    for (size_t k = 0; k < CLASSES; k++) {
        p[k] /= sum;
    }
}

static size_t largest(const double *p)
{
    return p[1] > p[0] ? (p[2] > p[1] ? 2 : 1) : (p[2] > p[0] ? 2 : 0);
}

/* Events [n, FEATURES] of a bench. */
typedef struct {
    size_t       n;
    const float *x;
} events;

static pq_status show(void *context, const pq_graph *graph, size_t node,
                      pq_bench_seen seen, void *sink, pq_err *err)
{
    const events *e    = context;
    pq_plan      *plan = NULL;
    float         y[N * CLASSES];
    pq_status     st;

    cr_assert_eq(node, graph->output);
    PQ_TRY(pq_plan_create(graph, &(pq_plan_options){"float32", N}, &plan, err));
    PQ_TRY(pq_plan_run(plan, e->n, (const float *[]){e->x}, y, err));
    PQ_TRY(seen(sink, e->n, y, err));
cleanup:
    pq_plan_free(&plan);
    return st;
}

/* The losses of the only layer that a stage has, measured on events. */
static pq_status measure(const pq_stage *stage, pq_graph *g, events *e,
                         pq_quantize_loss *loss)
{
    const pq_bench         bench = {.events = e->n, .run = show, .context = e};
    const pq_compress_task task  = {.graph   = g,
                                    .n_nodes = 1,
                                    .nodes   = (const char *[]){"fc"},
                                    .params  = stage->params,
                                    .bench   = &bench};

    return pq_quantize_measure_losses(&task, loss, NULL);
}

/* The table against the formula, with the kernel that the method itself makes. */
Test(losses, are_those_of_the_layer_quantized_alone)
{
    pq_rng rng = pq_rng_stream(3, "events");
    float  x[N * FEATURES];

    for (size_t i = 0; i < N * FEATURES; i++) {
        x[i] = (float)pq_rng_normal(&rng);
    }
    for (size_t softmax = 0; softmax < 2; softmax++) {
        pq_graph *g     = model(softmax == 1);
        pq_stage  stage = {0};
        cr_assert_eq(
            pq_stage_parse("quantize:bits=6,width_rule=loss,max_loss=0.1", &stage, NULL),
            PQ_OK);
        pq_quantize_loss loss;
        cr_assert_eq(measure(&stage, g, &(events){N, x}, &loss), PQ_OK);
        for (int bits = 2; bits <= 6; bits++) {
            char             text[64];
            pq_stage         plain   = {0};
            pq_graph        *out     = NULL;
            pq_layer_change *changes = NULL;
            size_t           n;
            double           divergence = 0.0, changed = 0.0, p[CLASSES], q[CLASSES];
            snprintf(text, sizeof text, "quantize:activations=no,bits=%d", bits);
            cr_assert_eq(pq_stage_parse(text, &plain, NULL), PQ_OK);
            cr_assert_eq(pq_stage_apply(&plain, g, &(pq_apply_options){0}, &out, &changes,
                                        &n, NULL),
                         PQ_OK);
            for (size_t i = 0; i < N; i++) {
                probabilities(pq_f32(g->nodes[1].layer->weights[0].value),
                              x + i * FEATURES, p);
                probabilities(pq_f32(out->nodes[1].layer->weights[0].value),
                              x + i * FEATURES, q);
                for (size_t k = 0; k < CLASSES; k++) {
                    divergence += p[k] * log(p[k] / q[k]) / N;
                }
                changed += largest(p) != largest(q) ? 1.0 / N : 0.0;
            }
            cr_expect_float_eq(loss.divergence[bits], divergence,
                               1e-5 * divergence + 1e-6);
            cr_expect_float_eq(loss.changed[bits], changed, 1e-9);
            pq_free(changes);
            pq_graph_free(&out);
            pq_stage_free(&plain);
        }
        cr_expect_gt(loss.divergence[2], loss.divergence[6]);
        pq_stage_free(&stage);
        pq_graph_free(&g);
    }
}

Test(losses, a_stage_by_loss_measures_and_keeps_to_its_budget)
{
    static const char *const methods[] = {"quantize:width_rule=loss,max_loss=0.02"};
    char                    *path      = write_events(scratch_folder());
    pq_graph                *g = model(true), *small = NULL;
    pq_compress_options      how = {.seed = 1};

    cr_assert_eq(pq_dataset_open(path, NULL, &how.dataset, NULL), PQ_OK);
    cr_assert_eq(pq_compress_methods(methods, 1, g, &how, NULL, NULL, &small, NULL),
                 PQ_OK);
    cr_expect_lt(pq_layer_weight(small->nodes[1].layer, "kernel")->quant->bits, 8);
    cr_expect_not_null(small->nodes[0].quant);
    pq_dataset_close(&how.dataset);
    pq_graph_free(&small);
    pq_graph_free(&g);
    pq_free(path);
}

Test(losses, every_failed_allocation_leaves_nothing_behind)
{
    const float x[2 * FEATURES] = {1.0F, -1.0F, 0.5F, 0.1F, 0.2F, 0.3F};
    pq_graph   *g               = model(true);
    pq_stage    stage           = {0};
    pq_status   st              = PQ_ERR_NOMEM;

    cr_assert_eq(
        pq_stage_parse("quantize:bits=3,width_rule=loss,max_loss=0.1", &stage, NULL),
        PQ_OK);
    pq_quantize_loss loss;
    const size_t     live = pq_memory_live();
    for (size_t at = 0; st != PQ_OK; at++) {
        pq_memory_fail_after(at);
        st = measure(&stage, g, &(events){2, x}, &loss);
        pq_memory_fail_after(SIZE_MAX);
        cr_assert(st == PQ_OK || st == PQ_ERR_NOMEM);
        cr_assert_eq(pq_memory_live(), live, "allocation %zu", at);
    }
    pq_stage_free(&stage);
    pq_graph_free(&g);
}
