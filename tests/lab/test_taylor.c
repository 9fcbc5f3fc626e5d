/* Scores that need events: by the loss (taylor) and by what rows give (whitened). */
#include "../train/support.h"
#include "compress/prune_score.h"
#include "compress/prune_taylor.h"
#include "compress/wiring.h"
#include "exec/plan.h"
#include "lab/bench.h"
#include "lab/calibrate.h"
#include "layers/channels.h"

/* Float32 gradients against formulas in double; slopes by differences of a loss in float.
 */
static const double near = 1e-4, by_difference = 5e-3;
enum { N = 60, MIDDLE = 6 };

/* A scored graph; owns all. */
typedef struct {
    pq_graph         *g;
    pq_dataset       *d;
    pq_channel_groups groups;
    double           *score;
} scored;

static pq_compress_options options_of(pq_dataset *d)
{
    return (pq_compress_options){.dataset = d, .calib_events = N, .seed = 3};
}

static scored score(pq_graph *g, pq_dataset *d, int kind)
{
    scored              s       = {.g = g, .d = d};
    bool               *may     = pq_calloc(g->n_nodes, sizeof *may);
    pq_compress_options options = options_of(d);
    pq_compress_task    task    = {.graph = g};
    pq_calib           *calib   = NULL;
    pq_bench            bench;

    for (size_t i = 0; i < g->n_nodes; i++) {
        may[i] = true;
    }
    OK(pq_channel_groups_find(g, may, &s.groups, err));
    OK(pq_bench_of(&options, &bench, err));
    OK(pq_calibrate(g, d, 0, PQ_NEEDS_GRAMS, N, 3, &calib, err));
    task.bench = &bench;
    task.calib = calib;
    s.score    = pq_calloc(s.groups.n, sizeof *s.score);
    OK(pq_channel_scores(&task, &s.groups, kind, s.score, err));
    pq_calib_free(&calib);
    pq_free(may);
    return s;
}

static void drop(scored *s)
{
    pq_channel_groups_free(&s->groups);
    pq_free(s->score);
    pq_graph_free(&s->g);
    pq_dataset_close(&s->d);
}

static double score_of(const scored *s, const char *node, size_t channel)
{
    return s
        ->score[s->groups.group[s->groups.first[pq_graph_find(s->g, node)] + channel]];
}

static const float *weight(const pq_graph *g, const char *node, const char *name)
{
    return pq_f32(pq_layer_weight(g->nodes[pq_graph_find(g, node)].layer, name)->value);
}

/* Events of the calibration, [N, width]. */
static void read_events(pq_dataset *d, size_t width, float *x, int32_t *y)
{
    size_t *index = NULL, n;

    OK(pq_calib_choose(d, 0, N, 3, &index, &n, err));
    cr_assert_eq(n, N);
    for (size_t i = 0; i < n; i++) {
        OK(pq_dataset_read(d, 0, index[i], 1, &(pq_batch){.x = x + i * width, .y = y + i},
                           err));
    }
    pq_free(index);
}

/* dL/dz of the logits, and the hidden values, of one event of two_dense, by hand. */
static void by_hand(const pq_graph *g, size_t in, size_t classes, const float *x,
                    int32_t y, double *h, double *dz)
{
    const float *a = weight(g, "fc1", "kernel"), *b = weight(g, "fc2", "kernel");
    double       sum = 0.0;

    for (size_t j = 0; j < MIDDLE; j++) {
        h[j] = (double)weight(g, "fc1", "bias")[j];
        for (size_t i = 0; i < in; i++) {
            h[j] += (double)a[j * in + i] * (double)x[i];
        }
        h[j] = fmax(h[j], 0.0);
    }
    for (size_t k = 0; k < classes; k++) {
        dz[k] = (double)weight(g, "fc2", "bias")[k];
        for (size_t j = 0; j < MIDDLE; j++) {
            dz[k] += (double)b[k * MIDDLE + j] * h[j];
        }
        dz[k] = exp(dz[k]);
        sum += dz[k];
    }
    for (size_t k = 0; k < classes; k++) {
        dz[k] = dz[k] / sum - ((int32_t)k == y ? 1.0 : 0.0);
    }
}

/* E[(h_j sum_k w_kj dL/dz_k)^2] / 2. */
Test(taylor, of_a_neuron_is_the_formula)
{
    scored s =
        score(two_dense(4, MIDDLE, 3, 5), blobs(PQ_SHAPE(4), 3, 200), PQ_SCORE_TAYLOR);
    float   x[N * 4];
    int32_t y[N];
    double  due[MIDDLE] = {0};

    read_events(s.d, 4, x, y);
    for (size_t i = 0; i < N; i++) {
        double h[MIDDLE], dz[3];
        by_hand(s.g, 4, 3, x + 4 * i, y[i], h, dz);
        for (size_t j = 0; j < MIDDLE; j++) {
            double slope = 0.0;
            for (size_t k = 0; k < 3; k++) {
                slope +=
                    (double)weight(s.g, "fc2", "kernel")[k * MIDDLE + j] * h[j] * dz[k];
            }
            due[j] += 0.5 * slope * slope / N;
        }
    }
    for (size_t j = 0; j < MIDDLE; j++) {
        cr_expect_float_eq(score_of(&s, "fc1", j), due[j], near * (due[j] + 1e-3));
    }
    drop(&s);
}

/* Which weights go is what w_i^2 F_ii says, layer by layer and over both. */
Test(taylor, single_weights_go_by_the_fisher_diagonal)
{
    pq_dataset *d = blobs(PQ_SHAPE(4), 3, 200);
    pq_graph   *g = two_dense(4, MIDDLE, 3, 6), *out = NULL;
    double      due[MIDDLE * 4 + 3 * MIDDLE] = {0};
    float       x[N * 4];
    int32_t     y[N];

    read_events(d, 4, x, y);
    for (size_t i = 0; i < N; i++) {
        double h[MIDDLE], dz[3];
        by_hand(g, 4, 3, x + 4 * i, y[i], h, dz);
        for (size_t j = 0; j < MIDDLE; j++) {
            double back = 0.0;
            for (size_t k = 0; k < 3; k++) {
                const double w = (double)weight(g, "fc2", "kernel")[k * MIDDLE + j];
                back += w * dz[k];
                due[MIDDLE * 4 + k * MIDDLE + j] += pow(w * dz[k] * h[j], 2.0) / N;
            }
            for (size_t f = 0; f < 4 && h[j] > 0.0; f++) {
                due[j * 4 + f] += pow((double)weight(g, "fc1", "kernel")[j * 4 + f] *
                                          back * (double)x[4 * i + f],
                                      2.0) /
                                  N;
            }
        }
    }
    pq_compress_options options = options_of(d);
    OK(pq_compress_methods((const char *[]){"prune:target_sparsity=0.5,criterion=taylor"},
                           1, g, &options, NULL, NULL, &out, err));
    for (size_t i = 0; i < MIDDLE * 7; i++) {
        size_t      less = 0;
        const float w    = i < MIDDLE * 4 ? weight(out, "fc1", "kernel")[i]
                                          : weight(out, "fc2", "kernel")[i - MIDDLE * 4];
        for (size_t k = 0; k < MIDDLE * 7; k++) {
            less += due[k] < due[i] ? 1 : 0;
        }
        cr_expect_eq(w == 0.0F, less < MIDDLE * 7 / 2, "weight %zu", i);
    }
    pq_graph_free(&out);
    pq_graph_free(&g);
    pq_dataset_close(&d);
}

/* Images through norms, a residual stream, a depthwise convolution and dropout. */
static pq_graph *stream(void)
{
    pq_graph *g = NULL;

    OK(pq_graph_create(&g, err));
    add(g, "in", layer_of("input shape=[5,4,2]"), NULL);
    add_conv(g, "stem", "conv2d padding=same", PQ_SHAPE(4, 3, 3, 2));
    add_norm(g, "bn", 4);
    add(g, "act", layer_of("tanh"), NULL);
    add_conv(g, "free", "conv2d padding=same", PQ_SHAPE(3, 3, 3, 4));
    add(g, "act2", layer_of("tanh"), NULL);
    add_conv(g, "back", "conv2d padding=same", PQ_SHAPE(4, 1, 1, 3));
    add(g, "sum", layer_of("add"), "act,back");
    add(g, "drop", layer_of("dropout rate=0.9"), NULL);
    add_conv(g, "deep", "conv2d padding=same groups=4", PQ_SHAPE(4, 3, 3, 1));
    add(g, "act3", layer_of("tanh"), NULL);
    add(g, "flat", layer_of("flatten"), NULL);
    add_dense(g, "out", 80, 3);
    add(g, "softmax", layer_of("softmax"), NULL);
    finish(g, 4);
    return g;
}

/* Scales what reads a group by `factor`. */
static void set_factor(pq_graph *g, const scored *s, size_t group, double factor)
{
    for (size_t i = 0; i < g->n_nodes; i++) {
        if (!pq_makes_channels(&g->nodes[i])) {
            continue;
        }
        const pq_layer  *layer = g->nodes[i].layer;
        const pq_weight *w     = pq_layer_weight(layer, "kernel");
        for (size_t k = 0; k < w->value->count; k++) {
            size_t in, out;
            layer->kind->channels->place(layer, w, k, &in, &out);
            if (s->groups.group[s->groups.first[g->nodes[i].inputs[0]] + in] == group) {
                pq_f32(w->value)[k] =
                    (float)((double)weight(s->g, g->nodes[i].name, "kernel")[k] * factor);
            }
        }
    }
}

static void losses(const pq_graph *g, const float *x, const int32_t *y, double *loss)
{
    pq_plan *plan = NULL;
    float    p[N * 3];

    OK(pq_plan_create(g, &(pq_plan_options){"reference", N}, &plan, err));
    OK(pq_plan_run(plan, N, (const float *const[]){x}, p, err));
    for (size_t i = 0; i < N; i++) {
        loss[i] = -log((double)p[i * 3 + (size_t)y[i]]);
    }
    pq_plan_free(&plan);
}

/* The slope of the loss by a factor on all that reads a group, by differences. */
Test(taylor, of_any_group_is_the_slope_by_a_common_factor)
{
    const double h = 1.0 / 64;
    scored       s = score(stream(), blobs(PQ_SHAPE(5, 4, 2), 3, 150), PQ_SCORE_TAYLOR);
    float        x[N * 40];
    int32_t      y[N];
    size_t       seen = 0;

    read_events(s.d, 40, x, y);
    for (size_t group = 0; group < s.groups.n; group++) {
        pq_graph *g   = NULL;
        double    due = 0.0, low[N], high[N];
        if (isnan(s.score[group])) {
            continue;
        }
        OK(pq_graph_clone(s.g, &g, err));
        OK(pq_graph_check(g, err));
        set_factor(g, &s, group, 1.0 - h);
        losses(g, x, y, low);
        set_factor(g, &s, group, 1.0 + h);
        losses(g, x, y, high);
        for (size_t i = 0; i < N; i++) {
            due += 0.5 * pow((high[i] - low[i]) / (2.0 * h), 2.0) / N;
        }
        cr_expect_float_eq(s.score[group], due, by_difference * (due + 1e-4),
                           "group %zu: %g, not %g", group, s.score[group], due);
        pq_graph_free(&g);
        seen++;
    }
    cr_expect_eq(seen, 2 + 4 + 3); /* inputs, the stream, what is free */
    drop(&s);
}

/* The mean square of what a layer gives before its bias, over events and positions. */
Test(whitened, is_the_mean_square_of_what_rows_give)
{
    static const char *const layers[] = {"stem", "free"};
    scored  s = score(stream(), blobs(PQ_SHAPE(5, 4, 2), 3, 150), PQ_SCORE_WHITENED);
    float   x[N * 40];
    int32_t y[N];
    double  due[2][4] = {{0}};

    read_events(s.d, 40, x, y);
    for (size_t l = 0; l < 3; l++) { /* back is of the stem's stream */
        const char     *name = l < 2 ? layers[l] : "back";
        pq_graph       *g    = NULL;
        pq_plan        *plan = NULL;
        const pq_layer *layer;
        float          *out;
        OK(pq_graph_clone(s.g, &g, err));
        OK(pq_graph_check(g, err));
        g->output          = pq_graph_find(g, name);
        layer              = g->nodes[g->output].layer;
        const size_t width = pq_layer_weight(layer, "bias")->value->count;
        memset(pq_layer_weight(layer, "bias")->value->data, 0, width * sizeof(float));
        out = pq_calloc(N * 20 * width, sizeof *out);
        OK(pq_plan_create(g, &(pq_plan_options){"reference", N}, &plan, err));
        OK(pq_plan_run(plan, N, (const float *const[]){x}, out, err));
        for (size_t i = 0; i < N * 20 * width; i++) {
            due[l % 2][i % width] += (double)out[i] * (double)out[i] / (N * 20);
        }
        pq_free(out);
        pq_plan_free(&plan);
        pq_graph_free(&g);
    }
    for (size_t c = 0; c < 4; c++) {
        cr_expect_float_eq(score_of(&s, "stem", c), due[0][c], near * due[0][c]);
        cr_expect(c == 3 || fabs(score_of(&s, "free", c) - due[1][c]) < near * due[1][c]);
    }
    drop(&s);
}

/* What a stage takes is what its scores say, whatever the form. */
Test(taylor, the_least_groups_go)
{
    static const char *const criteria[] = {"taylor", "whitened"};

    for (size_t c = 0; c < 2; c++) {
        scored              s       = score(stream(), blobs(PQ_SHAPE(5, 4, 2), 3, 150),
                         c == 0 ? PQ_SCORE_TAYLOR : PQ_SCORE_WHITENED);
        pq_compress_options options = options_of(s.d);
        pq_graph           *out     = NULL;
        char                text[96];
        size_t              least = 0;
        (void)snprintf(text, sizeof text,
                       "structured_prune:target_sparsity=0.33,criterion=%s,layers=free,"
                       "form=mask",
                       criteria[c]);
        OK(pq_compress_methods((const char *[]){text}, 1, s.g, &options, NULL, NULL, &out,
                               err));
        for (size_t k = 1; k < 3; k++) {
            least = score_of(&s, "free", k) < score_of(&s, "free", least) ? k : least;
        }
        for (size_t k = 0; k < 3; k++) {
            cr_expect_eq(weight(out, "free", "kernel")[k * 36] == 0.0F, k == least,
                         "%s: %zu", text, k);
        }
        pq_graph_free(&out);
        drop(&s);
    }
}

static void refused(const char *text, pq_graph *g, pq_dataset *d, pq_status status,
                    const char *message)
{
    pq_compress_options options = options_of(d);
    pq_graph           *out     = NULL;
    pq_err              e       = {0};

    cr_expect_eq(pq_compress_methods(&text, 1, g, &options, NULL, NULL, &out, &e), status,
                 "%s", text);
    cr_expect_str_eq(e.message, message);
    pq_graph_free(&g);
}

Test(taylor, says_what_it_needs)
{
    pq_dataset *d = blobs(PQ_SHAPE(4), 3, 200);
    pq_graph   *g = two_dense(4, MIDDLE, 3, 5);

    refused("structured_prune:target_sparsity=0.5,criterion=taylor",
            two_dense(4, MIDDLE, 3, 5), NULL, PQ_ERR_CONFIG,
            "structured_prune needs calibration events, and no dataset was given");
    refused("prune:criterion=taylor", two_dense(4, MIDDLE, 3, 5), NULL, PQ_ERR_CONFIG,
            "prune needs calibration events, and no dataset was given");
    refused("prune:criterion=taylor", two_dense(4, MIDDLE, 4, 5), d, PQ_ERR_SHAPE,
            "the graph has 4 outputs, but there are 3 classes");
    g->output = pq_graph_find(g, "relu");
    OK(pq_graph_check(g, err));
    refused("prune:criterion=taylor", g, d, PQ_ERR_CONFIG,
            "there is no loss to go by: the model's outputs are no probabilities and no "
            "logits as far as its last layer tells (head none); name what they are: head "
            "logits, softmax, sigmoid or binary");
    pq_dataset_close(&d);
}

/* Every allocation that fails is told, and nothing is left. */
Test(taylor, survives_every_failed_allocation)
{
    static const char *const texts[] = {
        "structured_prune:target_sparsity=0.5,criterion=taylor",
        "prune:target_sparsity=0.5,criterion=taylor"};
    pq_dataset         *d       = blobs(PQ_SHAPE(4), 3, 200);
    pq_graph           *g       = two_dense(4, MIDDLE, 3, 5);
    pq_compress_options options = options_of(d);

    for (size_t t = 0; t < 2; t++) {
        const size_t live = pq_memory_live();
        for (size_t n = 0, fine = 0; fine < 3; n++) {
            pq_graph *out = NULL;
            pq_memory_fail_after(n);
            const pq_status st =
                pq_compress_methods(&texts[t], 1, g, &options, NULL, NULL, &out, NULL);
            fine = st == PQ_OK ? fine + 1 : 0;
            cr_assert(st == PQ_OK || st == PQ_ERR_NOMEM || st == PQ_ERR_CONFIG,
                      "status %d", (int)st);
            pq_graph_free(&out);
            pq_memory_fail_after(SIZE_MAX);
            cr_assert_eq(pq_memory_live(), live, "after failure %zu", n);
        }
    }
    pq_graph_free(&g);
    pq_dataset_close(&d);
}
