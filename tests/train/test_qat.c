/* Whole runs of quantization-aware training: what it gains, resumes, and leaves behind.
 */
#include "compress/method.h"
#include "exec/predict.h"
#include "formats/model.h"
#include "lab/calibrate.h"
#include "runs.h"
#include "train/grid.h"

static const pq_qat rules[] = {PQ_QAT_STRAIGHT, PQ_QAT_LSQ, PQ_QAT_PACT, PQ_QAT_DOREFA,
                               PQ_QAT_HGQ};

enum { RULES = sizeof rules / sizeof *rules };

static void set(pq_graph *g, const char *node, bool output, bool fixed, bool is_signed,
                int bits, double top)
{
    pq_node     *n    = &g->nodes[pq_graph_find(g, node)];
    pq_quant   **at   = output ? &n->quant : &pq_layer_weight(n->layer, "kernel")->quant;
    const int    axis = output ? PQ_QUANT_PER_TENSOR : 0;
    const size_t rows =
        output ? 1 : pq_layer_weight(n->layer, "kernel")->value->shape.dim[0];

    pq_quant_free(at);
    if (fixed) {
        const int integer = (int)ceil(log2(top));
        OK(pq_quant_create_fixed(is_signed, PQ_OVERFLOW_SAT, PQ_ROUND_RND_CONV, axis,
                                 rows, at, err));
        for (size_t i = 0; i < rows; i++) {
            OK(pq_quant_set_fixed(*at, i, integer, bits - integer - (is_signed ? 1 : 0),
                                  err));
        }
        return;
    }
    OK(pq_quant_create(PQ_QUANT_INTEGER, bits, is_signed, is_signed && !output, axis,
                       rows, at, err));
    for (size_t i = 0; i < rows; i++) {
        (void)pq_quant_set_range(*at, i, is_signed ? -top : 0.0, top, !output);
    }
}

static void quantize_all(pq_graph *g, bool fixed, int bits)
{
    set(g, "in", true, fixed, true, bits, 4.0);
    set(g, "fc1", false, fixed, true, bits, 1.0);
    set(g, "relu", true, fixed, false, bits, 6.0);
    set(g, "fc2", false, fixed, true, bits, 1.0);
}

static void start_grids(run *r, const char *name, size_t events, pq_qat rule, int bits)
{
    start(r, name, events);
    pq_graph_free(&r->graph);
    r->graph      = two_dense(16, 32, 5, 3);
    r->params.qat = (int)rule;
    quantize_all(r->graph, rule == PQ_QAT_HGQ, bits);
}

Test(qat, ends_on_grids_that_reference_and_integers_run_to_the_same_bits)
{
    for (size_t k = 0; k < RULES; k++) {
        run            r = {0};
        pq_predictions a = {0}, b = {0};

        start_grids(&r, "bits.h5", 2000, rules[k], 5);
        OK(train(&r, err));
        cr_expect_gt(r.summary.history[r.summary.best - 1].accuracy, 0.85, "%s: %g",
                     pq_qat_names[rules[k]],
                     r.summary.history[r.summary.best - 1].accuracy);
        OK(pq_graph_check(r.graph, err));
        for (size_t n = 0; n < r.graph->n_nodes; n++) {
            const pq_weight *w = pq_layer_weight(r.graph->nodes[n].layer, "kernel");
            for (size_t i = 0; w != NULL && i < w->value->count; i++) {
                const float v = pq_f32(w->value)[i];
                cr_assert_eq(pq_quant_round(w->quant,
                                            pq_quant_index(w->quant, &w->value->shape, i),
                                            v),
                             v);
            }
        }
        OK(pq_predict(r.graph, r.data, 0, &(pq_predict_options){.engine = "reference"},
                      &a, err));
        OK(pq_predict(r.graph, r.data, 0, &(pq_predict_options){.engine = "integer"}, &b,
                      err));
        cr_expect_eq(memcmp(a.outputs, b.outputs, a.n * a.width * sizeof(float)), 0, "%s",
                     pq_qat_names[rules[k]]);
        pq_predictions_free(&a);
        pq_predictions_free(&b);
        finish_run(&r);
    }
}

Test(qat, gives_the_same_bits_for_any_number_of_threads)
{
    for (size_t k = 0; k < RULES; k++) {
        char first[65], other[65];
        for (size_t threads = 1; threads <= 3; threads++) {
            run r = {0};
            start_grids(&r, "threads.h5", 600, rules[k], 4);
            r.threads       = threads;
            r.params.batch  = 300;
            r.params.epochs = 2;
            OK(train(&r, err));
            OK(pq_graph_hash(r.graph, threads == 1 ? first : other, err));
            cr_expect(threads == 1 || strcmp(first, other) == 0, "%s, %zu threads",
                      pq_qat_names[rules[k]], threads);
            finish_run(&r);
        }
    }
}

static void stop_late(void *context, const pq_train_epoch *e)
{
    if (e->epoch == ((run *)context)->stop_after) {
        _exit(9); /* as a kill would: nothing is tidied up */
    }
}

static void train_killed(run *r, size_t after)
{
    const pid_t child  = fork();
    int         status = 0;

    cr_assert_geq(child, 0);
    if (child == 0) {
        const pq_train_data    data    = {.dataset = r->data, .validation = SIZE_MAX};
        const pq_train_options options = {.threads    = r->threads,
                                          .checkpoint = r->checkpoint,
                                          .epoch_done = stop_late,
                                          .context    = r};
        r->stop_after                  = after;
        (void)pq_train(r->graph, &data, &r->params, &options, &r->summary, NULL);
        _exit(1);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 9, "the child was not killed");
}

Test(qat, goes_on_after_a_kill_bit_for_bit)
{
    for (size_t k = 1; k < RULES; k++) {
        run  all = {0}, cut = {0};
        char a[65], b[65], path[256];

        (void)snprintf(path, sizeof path, "%s", temporary("state"));
        start_grids(&all, "whole.h5", 800, rules[k], 4);
        start_grids(&cut, "whole.h5", 800, rules[k], 4);
        all.params.ema = cut.params.ema = 0.9;
        all.params.hgq_front = cut.params.hgq_front = rules[k] == PQ_QAT_HGQ;
        OK(train(&all, err));
        cut.checkpoint = path;
        train_killed(&cut, 2);
        OK(train(&cut, err));
        cr_expect(cut.summary.resumed);
        OK(pq_graph_hash(all.graph, a, err));
        OK(pq_graph_hash(cut.graph, b, err));
        cr_expect_str_eq(a, b, "%s", pq_qat_names[rules[k]]);
        (void)unlink(path);
        finish_run(&all);
        finish_run(&cut);
    }
}

/* The shipped tagger in 3 bits, its grids by calibration. */
static pq_graph *tagger_of_3_bits(pq_dataset *data)
{
    pq_stage         stage = {0};
    pq_graph        *g = NULL, *out = NULL;
    pq_calib        *calib   = NULL;
    pq_layer_change *changes = NULL;
    pq_apply_options options = {0};
    size_t           n       = 0;

    OK(pq_model_load(PQ_TEST_SOURCE_ROOT "/datasets/models/jsc-mlp.h5", NULL, &g, err));
    OK(pq_stage_parse("quantize:bits=3,calibration=mse", &stage, err));
    OK(pq_calibrate(g, data, 0, PQ_NEEDS_RANGES, 0, 1, &calib, err));
    options.calib = calib;
    OK(pq_stage_apply(&stage, g, &options, &out, &changes, &n, err));
    pq_free(changes);
    pq_calib_free(&calib);
    pq_stage_free(&stage);
    pq_graph_free(&g);
    return out;
}

Test(qat, lsq_is_better_than_straight_through_at_3_bits_on_the_shipped_jets)
{
    pq_dataset     *data   = NULL;
    pq_train_params params = {0};
    double          accuracy[2];
    pq_graph       *g;

    OK(pq_dataset_open(PQ_TEST_SOURCE_ROOT "/datasets/jets-hlf.h5", NULL, &data, err));
    OK(pq_params_default(pq_train_param_table, &params, err));
    params.epochs = 1;
    g             = tagger_of_3_bits(data);
    for (int k = 0; k < 2; k++) {
        const pq_train_data    from = {.dataset = data, .validation = SIZE_MAX};
        const pq_train_options o    = {.threads = 2};
        pq_train_summary       s    = {0};
        pq_graph              *copy = NULL;
        OK(pq_graph_clone(g, &copy, err));
        params.qat = k == 0 ? PQ_QAT_STRAIGHT : PQ_QAT_LSQ;
        OK(pq_train(copy, &from, &params, &o, &s, err));
        accuracy[k] = s.history[s.best - 1].accuracy;
        pq_train_summary_free(&s);
        pq_graph_free(&copy);
    }
    cr_expect_gt(accuracy[1], accuracy[0] + 0.04, "lsq %g, straight %g", accuracy[1],
                 accuracy[0]);
    pq_graph_free(&g);
    pq_params_free(pq_train_param_table, &params);
    pq_dataset_close(&data);
}

Test(qat, hgq_gives_fewer_effective_bit_operations_the_more_they_cost)
{
    static const double beta[] = {0.0, 1e-6, 1e-5, 1e-4};
    double              before = INFINITY;

    for (size_t k = 0; k < 4; k++) {
        run r = {0};
        start_grids(&r, "price.h5", 2000, PQ_QAT_HGQ, 8);
        r.params.hgq_beta  = beta[k];
        r.params.hgq_gamma = 0.0;
        r.params.qat_lr    = 5.0;
        r.params.epochs    = 8;
        OK(train(&r, err));
        const double ebops = pq_graph_ebops(r.graph);
        cr_expect_lt(ebops, before, "beta %g: %g, not below %g", beta[k], ebops, before);
        before = ebops;
        finish_run(&r);
    }
}

Test(qat, hgq_ends_at_a_target_of_effective_bit_operations)
{
    static const double target[] = {12000.0, 8000.0, 4000.0};

    for (size_t k = 0; k < 3; k++) {
        run r = {0};
        start_grids(&r, "target.h5", 2000, PQ_QAT_HGQ, 8);
        r.params.hgq_beta         = 1e-6;
        r.params.hgq_gamma        = 0.0;
        r.params.hgq_target_ebops = target[k];
        r.params.hgq_warmup       = 2;
        r.params.hgq_i            = 0.2;
        r.params.qat_lr           = 5.0;
        r.params.epochs           = 40;
        OK(train(&r, err));
        const double ebops = pq_graph_ebops(r.graph);
        cr_expect(ebops < 1.1 * target[k] && ebops > 0.5 * target[k], "%g of %g", ebops,
                  target[k]);
        cr_expect_eq(ebops, r.summary.history[r.summary.best - 1].ebops);
        finish_run(&r);
    }
}

/* What epoch a network of the front was, by its provenance. */
static double noted(const pq_graph *g, const char *name)
{
    return json_number_value(json_object_get(json_array_get(g->provenance, 0), name));
}

Test(qat, hgq_leaves_the_network_of_every_epoch_that_no_other_beats)
{
    run       r = {0};
    size_t    n = 0, due = 0;
    pq_graph *back = NULL;
    char      a[65], b[65];

    start_grids(&r, "front.h5", 2000, PQ_QAT_HGQ, 8);
    r.params.hgq_beta         = 1e-6;
    r.params.hgq_gamma        = 0.0;
    r.params.hgq_target_ebops = 3000.0;
    r.params.hgq_warmup       = 2;
    r.params.qat_lr           = 5.0;
    r.params.epochs           = 30;
    r.params.hgq_front        = true;
    OK(train(&r, err));
    const pq_train_epoch *h = r.summary.history;
    for (const pq_graph *g = r.graph->front; g != NULL; g = g->front, n++) {
        const size_t epoch = (size_t)noted(g, "epoch");
        cr_assert(epoch >= 1 && epoch <= 30);
        cr_expect_eq(pq_graph_ebops(g), h[epoch - 1].ebops);
        cr_expect_eq(noted(g, "validation_accuracy"), h[epoch - 1].accuracy);
        cr_expect(g->front == NULL || pq_graph_ebops(g->front) <= pq_graph_ebops(g));
        for (size_t i = 0; i < 30; i++) { /* nothing beats it */
            cr_expect(!(h[i].ebops < h[epoch - 1].ebops &&
                        h[i].accuracy >= h[epoch - 1].accuracy),
                      "epoch %zu beats %zu", i + 1, epoch);
        }
    }
    for (size_t i = 0; i < 30; i++) {
        bool beaten = false;
        for (size_t k = 0; k < 30; k++) {
            beaten =
                beaten || (h[k].ebops <= h[i].ebops && h[k].accuracy >= h[i].accuracy &&
                           (h[k].ebops < h[i].ebops || h[k].accuracy > h[i].accuracy));
        }
        due += beaten ? 0 : 1;
    }
    cr_expect_eq(n, due);
    cr_expect_gt(n, 3);
    OK(pq_model_save(r.graph, temporary("front_model.h5"), err)); /* reads it back, too */
    OK(pq_model_load(temporary("front_model.h5"), NULL, &back, err));
    weights_hash(r.graph, a);
    weights_hash(back, b);
    cr_expect_str_eq(a, b);
    cr_expect_eq(noted(back->front, "epoch"), noted(r.graph->front, "epoch"));
    (void)unlink(temporary("front_model.h5"));
    pq_graph_free(&back);
    finish_run(&r);
}

static pq_graph *picked(const char *text, const pq_graph *g)
{
    const pq_apply_options none    = {0};
    pq_stage               stage   = {0};
    pq_layer_change       *changes = NULL;
    pq_graph              *out     = NULL;
    size_t                 n       = 0;

    OK(pq_stage_parse(text, &stage, err));
    OK(pq_stage_apply(&stage, g, &none, &out, &changes, &n, err));
    pq_stage_free(&stage);
    pq_free(changes);
    return out;
}

Test(qat, a_stage_picks_the_most_accurate_network_within_a_limit)
{
    run              r       = {0};
    pq_stage         stage   = {0};
    pq_layer_change *changes = NULL;
    pq_graph        *out     = NULL;
    size_t           n       = 0;
    pq_err           e       = {0};
    char             text[64];

    start_grids(&r, "pick.h5", 2000, PQ_QAT_HGQ, 8);
    r.params.hgq_beta  = 1e-6;
    r.params.qat_lr    = 5.0;
    r.params.epochs    = 12;
    r.params.hgq_front = true;
    OK(train(&r, err));
    const pq_graph *last = r.graph->front;
    for (const pq_graph *g = r.graph->front; g != NULL; last = g, g = g->front) {
        (void)snprintf(text, sizeof text, "front:max_ebops=%.0f", pq_graph_ebops(g));
        out = picked(text, r.graph);
        cr_expect_eq(pq_graph_ebops(out), pq_graph_ebops(g));
        cr_expect_null(out->front);
        cr_expect_eq(memcmp(pq_f32(pq_layer_weight(out->nodes[1].layer, "kernel")->value),
                            pq_f32(pq_layer_weight(g->nodes[1].layer, "kernel")->value),
                            16 * 32 * sizeof(float)),
                     0);
        pq_graph_free(&out);
    }
    out = picked("quantize:bits=8,activations=false", r.graph); /* others drop it */
    cr_expect_null(out->front);
    (void)snprintf(text, sizeof text, "front:max_ebops=1");
    OK(pq_stage_parse(text, &stage, err));
    cr_expect_eq(
        pq_stage_apply(&stage, r.graph, &(pq_apply_options){0}, &out, &changes, &n, &e),
        PQ_ERR_RANGE);
    (void)snprintf(text, sizeof text, "the smallest network of the front has %.0f",
                   pq_graph_ebops(last));
    cr_expect(strstr(e.message, text) != NULL, "%s", e.message);
    e = (pq_err){0};
    cr_expect_eq(pq_stage_apply(&stage, out, &(pq_apply_options){0}, &(pq_graph *){NULL},
                                &changes, &n, &e),
                 PQ_ERR_CONFIG);
    cr_expect(strstr(e.message, "there is no front to pick from") != NULL, "%s",
              e.message);
    pq_stage_free(&stage);
    pq_graph_free(&out);
    finish_run(&r);
}

Test(qat, frozen_layers_keep_their_grids)
{
    run   r = {0};
    float before[32], input, relu;

    start_grids(&r, "frozen.h5", 600, PQ_QAT_LSQ, 4);
    OK(pq_params_set(pq_train_param_table, &r.params, "freeze", "fc1", err));
    const pq_quant *frozen = pq_layer_weight(r.graph->nodes[1].layer, "kernel")->quant;
    const pq_quant *moved  = pq_layer_weight(r.graph->nodes[3].layer, "kernel")->quant;
    const float     other  = moved->scale[0];
    memcpy(before, frozen->scale, sizeof before);
    input = r.graph->nodes[0].quant->scale[0];
    relu  = r.graph->nodes[2].quant->scale[0];
    OK(train(&r, err));
    cr_expect_eq(memcmp(before, frozen->scale, sizeof before), 0);
    cr_expect_eq(relu, r.graph->nodes[2].quant->scale[0]);  /* what fc1 gives */
    cr_expect_eq(input, r.graph->nodes[0].quant->scale[0]); /* what fc1 alone reads */
    cr_expect_neq(other, moved->scale[0]);
    finish_run(&r);
}

Test(qat, refuses_a_rule_without_a_grid_that_it_is_for)
{
    static const char *const due[RULES] = {
        NULL, "qat = lsq: no layer that is trained has a whole-number grid (format: int)",
        "qat = pact: no layer that is trained has a whole-number grid (format: int)",
        "qat = dorefa: no layer that is trained has a symmetric whole-number grid of its "
        "kernel (format: int)",
        "qat = hgq: no layer that is trained has a fixed-point grid that clips (format: "
        "fixed)"};

    for (size_t k = 1; k < RULES; k++) {
        run    r = {0};
        pq_err e = {0};
        char   before[65], after[65];
        start_grids(&r, "none.h5", 100, rules[k], 4);
        quantize_all(r.graph, rules[k] != PQ_QAT_HGQ, 4); /* the other scheme */
        OK(pq_graph_hash(r.graph, before, err));
        cr_expect_eq(train(&r, &e), PQ_ERR_CONFIG);
        cr_expect_str_eq(e.message, due[k]);
        cr_expect_str_eq(e.hint, "put a stage `quantize` before it");
        OK(pq_graph_hash(r.graph, after, err));
        finish_run(&r);
    }
}

Test(qat, leaves_nothing_behind_when_memory_runs_out)
{
    for (size_t k = 1; k < RULES; k += 3) { /* lsq and hgq */
        run          r    = {0};
        const size_t live = pq_memory_live();
        start_grids(&r, "memory.h5", 200, rules[k], 4);
        r.params.epochs = 1;
        for (size_t n = 0; n < 400; n += 3) {
            pq_err       e      = {0};
            const size_t before = pq_memory_live();
            pq_memory_fail_after(n);
            const pq_status st = train(&r, &e);
            pq_memory_fail_after(SIZE_MAX);
            cr_assert(st == PQ_OK || st == PQ_ERR_NOMEM ||
                          strstr(e.message, "do not fit into memory") != NULL,
                      "after %zu: %s", n, e.message);
            if (st == PQ_OK) {
                pq_train_summary_free(&r.summary);
            } else if (r.graph->class_names == NULL) {
                cr_assert_eq(pq_memory_live(), before, "after %zu", n);
            }
        }
        finish_run(&r);
        cr_expect_eq(pq_memory_live(), live);
    }
}
