/* Distillation: what the teacher says counts by class name and in its own scale. */
#include "exec/rescale.h"
#include "runs.h"

static const double tolerance = 2e-3; /* of weights after 20 epochs, float rounding */

static void distil(run *r, const pq_graph *teacher)
{
    const pq_train_data    data    = {.dataset = r->data, .validation = SIZE_MAX};
    const pq_train_options options = {.threads = 2, .teacher = teacher};

    OK(pq_train(r->graph, &data, &r->params, &options, &r->summary, err));
}

static float *weight(const pq_graph *g, const char *node, const char *name)
{
    return pq_f32(pq_layer_weight(g->nodes[pq_graph_find(g, node)].layer, name)->value);
}

/* The same function of the same events, told in another class order and scale. */
static pq_graph *told_otherwise(const pq_graph *g, bool reorder, bool rescale)
{
    static const size_t to[5]    = {3, 0, 4, 1, 2};
    const char         *names[5] = {"", "", "", "", ""};
    pq_graph           *out      = NULL;

    OK(pq_graph_clone(g, &out, err));
    for (size_t k = 0; reorder && k < 5; k++) {
        names[to[k]] = g->class_names[k];
        memcpy(weight(out, "fc2", "kernel") + to[k] * 32,
               weight(g, "fc2", "kernel") + k * 32, 32 * sizeof(float));
        weight(out, "fc2", "bias")[to[k]] = weight(g, "fc2", "bias")[k];
    }
    if (reorder) {
        OK(pq_graph_set_classes(out, 5, names, err));
    }
    for (size_t i = 0; rescale && i < 16; i++) {
        const float s = 1.0F + 0.25F * (float)i, shift = 0.5F * (float)i - 3.0F;
        const float std = pq_f32(g->scaler_std)[i];
        pq_f32(out->scaler_std)[i] *= s;
        pq_f32(out->scaler_mean)[i] += shift;
        for (size_t o = 0; o < 32; o++) {
            const float w = weight(g, "fc1", "kernel")[o * 16 + i];
            weight(out, "fc1", "kernel")[o * 16 + i] = w * s;
            weight(out, "fc1", "bias")[o] += w * shift / std;
        }
    }
    return out;
}

static double difference(const pq_graph *a, const pq_graph *b)
{
    static const char *const nodes[] = {"fc1", "fc2"};
    double                   most    = 0.0;

    for (size_t i = 0; i < 2; i++) {
        const size_t n = i == 0 ? 16 * 32 : 32 * 5;
        for (size_t k = 0; k < n; k++) {
            most = fmax(most, fabs((double)weight(a, nodes[i], "kernel")[k] -
                                   (double)weight(b, nodes[i], "kernel")[k]));
        }
    }
    return most;
}

/* A student that learns from the teacher alone. */
static pq_graph *student(const pq_graph *teacher, double layer_mse)
{
    run       r = {0};
    pq_graph *g;

    start(&r, "student.h5", 1000);
    pq_graph_free(&r.graph);
    r.graph            = tagger(99);
    r.params.alpha     = 1.0;
    r.params.layer_mse = layer_mse;
    r.params.optimizer = PQ_OPTIMIZER_SGD; /* adam would blow rounding up where gradients
                                              are small */
    distil(&r, teacher);
    g       = r.graph;
    r.graph = NULL;
    finish_run(&r);
    return g;
}

Test(teacher, in_another_class_order_and_scale_teaches_the_same)
{
    run       t = {0};
    pq_graph *due;

    start(&t, "teacher.h5", 1000);
    OK(train(&t, err));
    due = student(t.graph, 0.1);
    for (int form = 1; form < 4; form++) {
        pq_graph *teacher = told_otherwise(t.graph, (form & 1) != 0, (form & 2) != 0);
        pq_graph *got     = student(teacher, 0.1);
        cr_expect_lt(difference(due, got), tolerance, "form %d: %g", form,
                     difference(due, got));
        pq_graph_free(&teacher);
        pq_graph_free(&got);
    }
    pq_graph_free(&due);
    finish_run(&t);
}

Test(teacher, without_a_scaler_reads_the_events_as_the_file_has_them)
{
    run       t = {0};
    pq_graph *raw, *due, *got;

    start(&t, "plain.h5", 1000);
    OK(train(&t, err));
    raw = told_otherwise(t.graph, false, false);
    for (size_t i = 0; i < 16; i++) { /* the scaler, folded into the first layer */
        for (size_t o = 0; o < 32; o++) {
            float *w = &weight(raw, "fc1", "kernel")[o * 16 + i];
            *w /= pq_f32(raw->scaler_std)[i];
            weight(raw, "fc1", "bias")[o] -= *w * pq_f32(raw->scaler_mean)[i];
        }
    }
    pq_tensor_free(&raw->scaler_mean);
    pq_tensor_free(&raw->scaler_std);
    due = student(t.graph, 0.0);
    got = student(raw, 0.0);
    cr_expect_lt(difference(due, got), tolerance, "%g", difference(due, got));
    pq_graph_free(&raw);
    pq_graph_free(&due);
    pq_graph_free(&got);
    finish_run(&t);
}

/* 16 inputs, one sigmoid, classes a and b. */
static pq_graph *coin(uint64_t seed)
{
    pq_graph *g = NULL;

    OK(pq_graph_create(&g, err));
    add(g, "in", layer_of("input shape=16"), NULL);
    add_dense(g, "fc", 16, 1);
    add(g, "sigmoid", layer_of("sigmoid"), NULL);
    pq_graph_init_weights(g, PQ_INIT_HE, seed);
    OK(pq_graph_check(g, err));
    return g;
}

Test(teacher, of_one_sigmoid_is_heeded_and_turned_round_by_its_names)
{
    run               r        = {0};
    pq_graph         *teacher  = coin(5);
    const char *const turned[] = {"b", "a"};

    r.data = blobs(PQ_SHAPE(16), 2, 1000);
    OK(pq_params_default(pq_train_param_table, &r.params, err));
    OK(pq_graph_set_classes(teacher, 2, turned, err));
    r.graph              = coin(7);
    r.params.alpha       = 1.0;
    r.params.lr          = 0.05;
    r.params.epochs      = 60;
    r.params.temperature = 1.0;
    r.params.standardize = false;
    r.params.keep_best   = false; /* validation goes by the labels */
    distil(&r, teacher);
    for (size_t k = 0; k < 16; k++) {
        cr_expect_float_eq((double)weight(r.graph, "fc", "kernel")[k],
                           -(double)weight(teacher, "fc", "kernel")[k], 0.02);
    }
    pq_graph_free(&teacher);
    finish_run(&r);
}

static void expect_refusal(run *r, const pq_graph *teacher, pq_status due,
                           const char *text)
{
    const pq_train_data    data    = {.dataset = r->data, .validation = SIZE_MAX};
    const pq_train_options options = {.threads = 2, .teacher = teacher};
    pq_err                 e       = {0};

    cr_expect_eq(pq_train(r->graph, &data, &r->params, &options, &r->summary, &e), due);
    cr_expect_str_eq(e.message, text);
}

Test(teacher, that_does_not_fit_is_refused)
{
    run               r       = {0};
    pq_graph         *teacher = tagger(1), *one = coin(1);
    const char *const other[] = {"a", "b", "c", "d", "z"};

    start(&r, "unfit.h5", 200);
    OK(pq_graph_set_classes(teacher, 5, other, err));
    expect_refusal(&r, teacher, PQ_ERR_CONFIG,
                   "class 'e' of the graph is none of the teacher's ('a', …)");
    OK(pq_graph_set_classes(teacher, 4, other, err));
    expect_refusal(&r, teacher, PQ_ERR_CONFIG, "the teacher has 4 classes, the graph 5");
    expect_refusal(&r, one, PQ_ERR_SHAPE,
                   "the teacher has 16 inputs and 1 outputs, the graph 16 and 5");
    pq_graph_free(&teacher);
    pq_graph_free(&one);
    finish_run(&r);
}

/* Tracks of two features and a mask, the second track padding. */
Test(teacher, gets_padding_and_mask_as_they_are)
{
    static const float mean[] = {1.0F, 2.0F, 0.0F}, std[] = {2.0F, 4.0F, 1.0F};
    static const float due[] = {3.5F, 2.0F, 1.0F, 0.0F, 0.0F, 0.0F};
    float              x[]   = {1.25F, 0.0F, 1.0F, 0.0F, 0.0F, 0.0F};
    pq_rescale         r     = {0};

    OK(pq_rescale_between(3, 3, true, (pq_scale){mean, std, NULL},
                          (pq_scale){NULL, NULL, NULL}, &r, err));
    pq_rescale_apply(&r, 6, x);
    for (size_t i = 0; i < 6; i++) {
        cr_expect_float_eq((double)x[i], (double)due[i], 0.0, "%zu", i);
    }
    pq_rescale_free(&r);
}
