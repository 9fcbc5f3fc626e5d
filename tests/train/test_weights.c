/* Event weights: one rule in training, validation and for recalls. */
#include "runs.h"

enum { EVENTS = 400, FEATURES = 3 };

/* Events with weights; two splits of the same ones. */
static void weighted(const char *path, const float *weight)
{
    pq_tensor *x = NULL, *y = NULL, *w = NULL;
    pq_h5     *file = NULL;
    pq_rng     rng  = pq_rng_stream(5, "weights");

    OK(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(EVENTS, FEATURES), &x, err));
    OK(pq_tensor_create(PQ_DTYPE_I32, PQ_SHAPE(EVENTS), &y, err));
    OK(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(EVENTS), &w, err));
    for (size_t i = 0; i < EVENTS; i++) {
        ((int32_t *)y->data)[i] = (int32_t)pq_rng_below(&rng, 3);
        pq_f32(w)[i]            = weight[i];
        for (size_t k = 0; k < FEATURES; k++) {
            pq_f32(x)[i * FEATURES + k] = (float)pq_rng_normal(&rng);
        }
    }
    OK(pq_h5_create(path, &file, err));
    OK(pq_h5_set_text(file, "/", "format", "pquant-dataset", err));
    OK(pq_h5_set_texts(file, "/", "class_names", (const char *const[]){"a", "b", "c"}, 3,
                       err));
    OK(pq_h5_write(file, "train/x", x, 0, err));
    OK(pq_h5_write(file, "train/y", y, 0, err));
    OK(pq_h5_write(file, "train/weight", w, 0, err));
    OK(pq_h5_commit(&file, err));
    pq_tensor_free(&x);
    pq_tensor_free(&y);
    pq_tensor_free(&w);
}

static pq_graph *net(void)
{
    pq_graph *g = NULL;

    OK(pq_graph_create(&g, err));
    add(g, "in", layer_of("input shape=3"), NULL);
    add_dense(g, "fc", 3, 3);
    add(g, "softmax", layer_of("softmax"), NULL);
    finish(g, 3);
    return g;
}

/* One epoch at a rate of nearly nothing, validated on the events it trains on. */
static pq_status look(const char *name, const float *weight, bool use, const char *batch,
                      pq_train_epoch *out, double recall[3], pq_err *err)
{
    pq_graph              *g       = net();
    pq_dataset            *data    = NULL;
    pq_train_params        p       = {0};
    pq_train_summary       summary = {0};
    const pq_train_options options = {.threads = 2};
    pq_status              st;

    weighted(temporary(name), weight);
    OK(pq_dataset_open(temporary(name), NULL, &data, err));
    (void)unlink(temporary(name));
    OK(pq_params_default(pq_train_param_table, &p, err));
    OK(pq_params_set(pq_train_param_table, &p, "batch", batch, err));
    p.epochs        = 1;
    p.lr            = 1e-12;
    p.standardize   = false;
    p.event_weights = use;
    st = pq_train(g, &(pq_train_data){.dataset = data}, &p, &options, &summary, err);
    if (st == PQ_OK) {
        *out = summary.history[0];
        memcpy(recall, out->recall, 3 * sizeof *recall);
    }
    pq_train_summary_free(&summary);
    pq_params_free(pq_train_param_table, &p);
    pq_graph_free(&g);
    pq_dataset_close(&data);
    return st;
}

Test(weights, count_alike_in_training_validation_accuracy_and_recalls)
{
    float          weight[EVENTS], ones[EVENTS];
    pq_train_epoch a, b;
    double         recall[3], part[3];
    pq_err         e = {0};

    /* Weights of 0 and 1: as if the others were not there; whole batches of 64 weigh 0.
     */
    for (size_t i = 0; i < EVENTS; i++) {
        weight[i] = i % 4 == 0 ? 3.0F : 0.0F;
        ones[i]   = 1.0F;
    }
    cr_assert_eq(look("w1.h5", weight, true, "64", &a, recall, &e), PQ_OK, "%s",
                 e.message);
    cr_expect_float_eq(a.train_loss, a.validation_loss, 1e-6, "%.9g %.9g", a.train_loss,
                       a.validation_loss);
    cr_assert_eq(look("w2.h5", weight, true, "7", &b, part, &e), PQ_OK, "%s", e.message);
    cr_expect_float_eq(b.train_loss, a.train_loss, 1e-6,
                       "mean of batches: %.9g, not %.9g", b.train_loss, a.train_loss);
    for (size_t k = 0; k < 3; k++) {
        cr_expect_float_eq(part[k], recall[k], 1e-9);
    }
    cr_assert_eq(look("w3.h5", weight, false, "64", &b, part, &e), PQ_OK);
    cr_expect_gt(fabs(b.validation_loss - a.validation_loss), 1e-3);
    cr_expect_gt(fabs(b.accuracy - a.accuracy), 1e-3);
    const pq_train_epoch plain = b;
    cr_assert_eq(look("w4.h5", ones, true, "64", &b, part, &e), PQ_OK);
    cr_expect_eq(b.validation_loss, plain.validation_loss);
    cr_expect_eq(b.accuracy, plain.accuracy);
}

Test(weights, that_are_negative_or_no_numbers_are_refused_with_their_event)
{
    static const struct {
        float       weight;
        const char *message;
    } cases[] = {{-0.5F, "event 7 weighs -0.5, which is not a number from 0 on"},
                 {NAN, "event 7 weighs nan, which is not a number from 0 on"},
                 {INFINITY, "event 7 weighs inf, which is not a number from 0 on"},
                 {0.0F, "the weights of the 400 events of training add up to 0"}};
    float          weight[EVENTS];
    pq_train_epoch out;
    double         recall[3];

    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        pq_err e = {0};
        for (size_t i = 0; i < EVENTS; i++) {
            weight[i] = k == 3 ? 0.0F : 1.0F;
        }
        weight[7] = cases[k].weight;
        cr_expect_eq(look("bad.h5", weight, true, "64", &out, recall, &e), PQ_ERR_CONFIG);
        cr_expect_not_null(strstr(e.message, cases[k].message), "%s", e.message);
        e = (pq_err){0};
        cr_expect_eq(look("all.h5", weight, false, "64", &out, recall, &e), PQ_OK, "%s",
                     e.message);
    }
}
