/* What is done by class: weights, floors under recalls, shares set aside. */
#include "runs.h"
#include "train/classes.h"

/* Takes most events of class 0 away, so that it is rare. */
static void make_rare(const char *path, size_t events)
{
    pq_tensor *x = NULL, *y = NULL;
    size_t     kept = 0;

    write_dataset(path, PQ_SHAPE(16), 5, events, 1);
    load_events(path, &x, &y);
    for (size_t i = 0; i < events; i++) {
        const int32_t c = ((int32_t *)y->data)[i];
        if (c != 0 || i % 40 == 0) {
            memmove(pq_f32(x) + 16 * kept, pq_f32(x) + 16 * i, 16 * sizeof(float));
            for (size_t k = 0; k < 16; k++) {
                pq_f32(x)[16 * kept + k] *= 0.5F;
            }
            ((int32_t *)y->data)[kept++] = c;
        }
    }
    x->shape.dim[0] = y->shape.dim[0] = kept;
    x->count                          = 16 * kept;
    y->count                          = kept;
    save_events(path, x, y, 5, 16);
    pq_tensor_free(&x);
    pq_tensor_free(&y);
}

static void start_rare(run *r)
{
    make_rare(temporary("rare.h5"), 4000);
    OK(pq_dataset_open(temporary("rare.h5"), NULL, &r->data, err));
    (void)unlink(temporary("rare.h5"));
    OK(pq_params_default(pq_train_param_table, &r->params, err));
    r->graph                        = tagger(3);
    r->threads                      = 2;
    r->params.epochs                = 4;
    r->params.validation            = 0.5;
    r->params.preserve_rare_classes = true;
}

static void set(run *r, const char *name, const char *text)
{
    OK(pq_params_set(pq_train_param_table, &r->params, name, text, err));
}

static const pq_train_epoch *best_of(const run *r)
{
    return &r->summary.history[r->summary.best - 1];
}

Test(classes, inverse_frequency_raises_the_lowest_recall)
{
    double recall[2] = {0.0, 0.0};

    for (int keep = 0; keep < 2; keep++) {
        run r = {0};
        start_rare(&r);
        r.params.preserve_rare_classes = false;
        set(&r, "class_weights", keep == 1 ? "balanced" : "a=1");
        OK(train(&r, err));
        recall[keep] = best_of(&r)->lowest_recall;
        finish_run(&r);
    }
    cr_expect_gt(recall[1], recall[0], "%g without, %g with", recall[0], recall[1]);
}

/* One standard deviation of a recall on the validation events of class 0. */
static double deviation(double floor, double events)
{
    return sqrt(floor * (1.0 - floor) / events);
}

/* The rare class comes above its floor, and the others lose less than by weights that are
 * inverse to frequencies. */
Test(classes, weights_follow_the_floors_and_no_further)
{
    double recall[3], accuracy[3];

    for (int how = 0; how < 3; how++) { /* nothing, held at 0.55, equal weights */
        run r = {0};
        start_rare(&r);
        r.params.epochs                = 30;
        r.params.keep_best             = how == 1;
        r.params.preserve_rare_classes = how == 1;
        set(&r, "class_weights", how == 2 ? "balanced" : "a=1");
        set(&r, "min_recall", how == 1 ? "a=0.55" : "a=0");
        OK(train(&r, err));
        recall[how]   = best_of(&r)->recall[0];
        accuracy[how] = best_of(&r)->accuracy;
        if (how == 1) {
            cr_expect(r.summary.floor_held);
            cr_expect_gt(r.summary.floors[0], 0.55);
            cr_expect_eq(r.summary.floors[1], 0.0);
        }
        finish_run(&r);
    }
    cr_expect_lt(recall[0], 0.55, "%g: there is nothing to hold", recall[0]);
    cr_expect_geq(recall[1], 0.55);
    cr_expect_geq(accuracy[1], accuracy[2], "%g held, %g with equal weights", accuracy[1],
                  accuracy[2]);
}

static volatile sig_atomic_t asked; /* to stop */

static void ask(void *context, const pq_train_epoch *e)
{
    (void)context;
    asked = e->epoch == 2;
}

/* Weights of classes are no function of the threads, and go on where they were. */
Test(classes, held_weights_are_the_same_for_any_threads_and_after_a_stop)
{
    char first[65] = "", again[65], path[256];

    (void)snprintf(path, sizeof path, "%s", temporary("held.checkpoint"));
    for (int how = 0; how < 3; how++) {
        run r = {0};
        start_rare(&r);
        set(&r, "min_recall", "a=0.35");
        r.threads = how == 1 ? 3 : 1;
        if (how == 2) {
            const pq_train_data    data    = {.dataset = r.data, .validation = SIZE_MAX};
            const pq_train_options options = {
                .threads = 1, .checkpoint = path, .stop = &asked, .epoch_done = ask};
            cr_assert_eq(pq_train(r.graph, &data, &r.params, &options, &r.summary, NULL),
                         PQ_ERR_INTERRUPTED);
            pq_train_summary_free(&r.summary);
            pq_graph_free(&r.graph);
            r.graph      = tagger(3);
            r.checkpoint = path;
        }
        OK(train(&r, err));
        cr_expect_eq(r.summary.resumed, how == 2);
        weights_hash(r.graph, how == 0 ? first : again);
        if (how > 0) {
            cr_expect_str_eq(first, again, "%d", how);
        }
        finish_run(&r);
    }
    (void)unlink(path);
}

/* Without the floor the epoch of least loss would be taken; of those equally far from it,
 * it is. */
Test(classes, the_floor_decides_which_epoch_is_best)
{
    run    r     = {0};
    size_t least = 0, closest = 0;

    start_rare(&r);
    r.params.preserve_rare_classes = false; /* which would raise the floors */
    r.params.epochs                = 12;
    r.params.lr                    = 0.05; /* with steps that overshoot */
    set(&r, "min_recall", "0.999");
    OK(train(&r, err));
    for (size_t i = 1; i < 12; i++) {
        const pq_train_epoch *h = r.summary.history;
        least = h[i].validation_loss < h[least].validation_loss ? i : least;
        if (h[i].shortfall < h[closest].shortfall ||
            (h[i].shortfall == h[closest].shortfall &&
             h[i].validation_loss < h[closest].validation_loss)) {
            closest = i;
        }
    }
    cr_expect_eq(r.summary.best, closest + 1);
    cr_expect_neq(closest, least, "the floor had nothing to decide");
    cr_expect_float_eq(best_of(&r)->shortfall, 0.999 - best_of(&r)->lowest_recall, 1e-12);
    cr_expect(!r.summary.floor_held);
    finish_run(&r);
}

Test(classes, a_floor_is_there_unless_it_is_set_to_0)
{
    run r = {0};

    start_rare(&r);
    OK(train(&r, err));
    cr_assert_not_null(r.summary.floors);
    const double seen = (double)r.summary.validation_events, floor = r.summary.floors[0];
    cr_expect_gt(floor,
                 0.5 + deviation(0.5, seen)); /* of the rare class's events alone */
    cr_expect_lt(floor, 0.8);
    cr_expect_eq(r.summary.n_classes, 5);
    cr_expect_float_eq(best_of(&r)->recall[0], r.summary.recalls[5 * r.summary.best - 5],
                       0.0);
    pq_train_summary_free(&r.summary);
    set(&r, "min_recall", "0");
    OK(train(&r, err));
    cr_expect_null(r.summary.floors);
    cr_expect(r.summary.floor_held);
    finish_run(&r);
}

/* Raised, it would be 1.002 and more. */
Test(classes, a_floor_is_never_raised_above_1)
{
    run r = {0};

    start_rare(&r);
    set(&r, "min_recall", "0.999");
    OK(train(&r, err));
    for (size_t k = 0; k < 5; k++) {
        cr_expect_gt(r.summary.floors[k], 0.999);
        cr_expect_leq(r.summary.floors[k], 1.0);
    }
    finish_run(&r);
}

Test(classes, a_recall_may_lose_so_much_against_the_reference)
{
    run       r         = {0};
    pq_graph *reference = NULL;
    double    recall[5];

    start_rare(&r);
    r.params.epochs = 1;
    OK(train(&r, err));
    memcpy(recall, best_of(&r)->recall, sizeof recall);
    pq_train_summary_free(&r.summary);
    OK(pq_graph_clone(r.graph, &reference, err));
    for (int given = 0; given < 2; given++) {
        const pq_train_data    data    = {.dataset = r.data, .validation = SIZE_MAX};
        const pq_train_options options = {.threads = 2, .reference = reference};
        if (given == 1) {
            r.params.preserve_rare_classes = false; /* which would raise them */
            set(&r, "max_recall_loss", "0.2");
            set(&r, "min_recall", "b=0.99");
        }
        OK(pq_train(r.graph, &data, &r.params, &options, &r.summary, err));
        for (size_t k = 0; k < 5; k++) {
            const double lost = given == 1 ? 0.2 : fmin(0.05, 0.1 * recall[k]);
            const double due  = given == 1 && k == 1 ? 0.99 : fmax(recall[k] - lost, 0.0);
            if (given == 1) {
                cr_expect_float_eq(r.summary.floors[k], due, 1e-9, "class %zu", k);
            } else { /* raised by a deviation of a recall on a few hundred events */
                cr_expect(r.summary.floors[k] > due && r.summary.floors[k] < due + 0.15,
                          "class %zu: %g, %g", k, r.summary.floors[k], due);
            }
        }
        pq_train_summary_free(&r.summary);
    }
    pq_graph_free(&reference);
    finish_run(&r);
}

/* Two dense layers that take all 16 features but those before `first`, whose weights are
 * 0 in any case, and classes in an order of their own where `other` says so. */
static pq_graph *without(size_t first, bool other)
{
    static const char *const orders[2][5] = {{"a", "b", "c", "d", "e"},
                                             {"c", "a", "e", "b", "d"}};
    pq_graph                *g            = two_dense(16 - first, 24, 5, 3);
    pq_rng                   rng          = pq_rng_stream(4, "features");
    char                     text[16][8];
    const char              *names[16];

    for (size_t i = 0; i < 16; i++) {
        (void)snprintf(text[i], sizeof text[i], "x%zu", i);
        names[i] = text[i];
        for (size_t o = 0; o < 24; o++) {
            const float w = i < 3 ? 0.0F : 0.3F * (float)pq_rng_normal(&rng);
            if (i >= first) {
                pq_f32(pq_layer_weight(g->nodes[1].layer, "kernel")
                           ->value)[o * (16 - first) + i - first] = w;
            }
        }
    }
    for (size_t k = 0; k < 5; k++) { /* one function, whatever the order */
        const size_t c = (size_t)(orders[other][k][0] - 'a');
        for (size_t i = 0; i < 24; i++) {
            pq_f32(pq_layer_weight(g->nodes[3].layer, "kernel")->value)[k * 24 + i] =
                sinf((float)(24 * c + i));
        }
    }
    OK(pq_graph_set_features(g, 16 - first, names + first, err));
    OK(pq_graph_set_classes(g, 5, orders[other], err));
    OK(pq_graph_check(g, err));
    return g;
}

Test(classes, the_reference_may_have_inputs_that_the_graph_has_lost)
{
    run    r = {0};
    double floors[5];

    start_rare(&r);
    r.params.epochs      = 1;
    r.params.standardize = false;
    set(&r, "max_recall_loss", "0.01");
    for (int lost = 0; lost < 3; lost++) { /* none; three; these, and other classes */
        pq_graph              *reference = without(0, lost == 2);
        const pq_train_data    data      = {.dataset = r.data, .validation = SIZE_MAX};
        const pq_train_options options   = {.threads = 2, .reference = reference};
        pq_graph_free(&r.graph);
        r.graph = without(lost > 0 ? 3 : 0, false);
        OK(pq_train(r.graph, &data, &r.params, &options, &r.summary, err));
        cr_assert_not_null(r.summary.floors);
        for (size_t k = 0; k < 5; k++) {
            cr_expect(lost == 0 || r.summary.floors[k] == floors[k], "%d: %g, %g", lost,
                      r.summary.floors[k], floors[k]);
            floors[k] = r.summary.floors[k];
        }
        pq_train_summary_free(&r.summary);
        pq_graph_free(&reference);
    }
    finish_run(&r);
}

Test(classes, stops_early_by_the_floor_and_not_by_the_loss)
{
    run    r     = {0};
    size_t least = 0;

    start_rare(&r);
    r.params.epochs         = 60;
    r.params.lr             = 0.02;
    r.params.early_stopping = 4;
    set(&r, "min_recall", "0.999");
    OK(train(&r, err));
    cr_expect_eq(r.summary.n_epochs, r.summary.best + 4);
    for (size_t i = 1; i < r.summary.n_epochs; i++) {
        const pq_train_epoch *h = r.summary.history;
        least = h[i].validation_loss < h[least].validation_loss ? i : least;
    }
    cr_expect_neq(least + 1, r.summary.best, "loss and floor agree: nothing was tested");
    finish_run(&r);
}

static pq_status create(run *r, pq_trainer *t, pq_err *err)
{
    static const pq_train_options options = {.threads = 1};
    const pq_train_data           data    = {.dataset = r->data, .validation = SIZE_MAX};

    *t = (pq_trainer){.graph = r->graph, .params = &r->params, .options = &options};
    return pq_trainer_create(t, &data, err);
}

Test(classes, each_gives_its_share_to_validation_and_at_least_one_event)
{
    static const double shares[] = {0.1, 0.3, 0.5, 0.001};

    for (size_t s = 0; s < sizeof shares / sizeof *shares; s++) {
        run        r       = {0};
        pq_trainer t       = {0};
        size_t     seen[5] = {0}, valid[5] = {0};
        start_rare(&r);
        set(&r, "min_recall", "0");
        r.params.validation = shares[s];
        OK(create(&r, &t, err));
        cr_expect_eq(t.n_train + t.n_valid, t.train_events.n);
        for (size_t i = 0; i < t.train_events.n; i++) {
            seen[t.train_events.y[i]]++;
        }
        for (size_t i = 0; i < t.n_valid; i++) {
            valid[t.train_events.y[t.valid_index[i]]]++;
        }
        for (size_t k = 0; k < 5; k++) {
            cr_expect(fabs((double)valid[k] - shares[s] * (double)seen[k]) <= 1.0,
                      "share %g, class %zu: %zu of %zu", shares[s], k, valid[k], seen[k]);
            cr_expect_geq(valid[k], 1);
        }
        pq_trainer_free(&t);
        finish_run(&r);
    }
}

Test(classes, weights_come_by_name_or_by_frequency)
{
    run        r = {0};
    pq_trainer t = {0}, u = {0};
    double     sum = 0.0;

    start_rare(&r);
    set(&r, "class_weights", "balanced");
    OK(create(&r, &t, err));
    set(&r, "class_weights", "b=2,d=0.5");
    OK(create(&r, &u, err));
    for (size_t k = 0; k < 5; k++) {
        size_t seen = 0;
        for (size_t i = 0; i < t.n_train; i++) {
            seen += (size_t)t.train_events.y[t.train_index[i]] == k ? 1 : 0;
        }
        sum += (double)seen * (double)t.class_weight[k];
        cr_expect_float_eq((double)seen * (double)t.class_weight[k],
                           (double)t.n_train / 5.0, 1e-3);
        cr_expect_eq(u.class_weight[k], k == 1 ? 2.0F : k == 3 ? 0.5F : 1.0F);
    }
    cr_expect_float_eq(sum, (double)t.n_train, 1e-2);
    cr_expect_gt(t.class_weight[0], 5.0F);
    pq_trainer_free(&t);
    pq_trainer_free(&u);
    finish_run(&r);
}

Test(classes, a_value_for_each_is_read_in_every_form)
{
    static const char *const names[] = {"light", "c", "b"};
    static const char *const forms[] = {"b=0.8,c=0.3", "[b=0.8, c=0.3]", "c=30%|b=0.8"};
    double                   x[3];

    for (size_t i = 0; i < 3; i++) {
        x[0] = x[1] = x[2] = 0.1;
        OK(pq_class_values(&pq_min_recall_row, forms[i], 3, names, x, err));
        cr_expect_float_eq(x[0], 0.1, 0.0);
        cr_expect_float_eq(x[1], 0.3, 1e-15);
        cr_expect_float_eq(x[2], 0.8, 0.0);
    }
    OK(pq_class_values(&pq_min_recall_row, "0.9", 3, names, x, err));
    cr_expect_float_eq(x[0], 0.9, 0.0);
}

Test(classes, bad_values_are_refused_with_one_sentence)
{
    static const char *const names[] = {"light", "c", "b"};
    static const struct {
        const pq_class_row *row;
        const char         *text, *message;
        pq_status           st;
    } cases[] = {
        {&pq_min_recall_row, "1.5", "min_recall: 1.5 is not in 0..1", PQ_ERR_RANGE},
        {&pq_min_recall_row, "b=nan", "min_recall: b: nan is not in 0..1", PQ_ERR_RANGE},
        {&pq_min_recall_row, "much", "min_recall: 'much' is not a number", PQ_ERR_CONFIG},
        {&pq_min_recall_row, "b=", "min_recall: b: '' is not a number", PQ_ERR_CONFIG},
        {&pq_min_recall_row, "b=1,b=1", "min_recall: class 'b' is given twice",
         PQ_ERR_CONFIG},
        {&pq_min_recall_row, "b=1,2", "min_recall: '2' is not class=value",
         PQ_ERR_CONFIG},
        {&pq_min_recall_row, "ligt=1",
         "min_recall: 'ligt' is none of the classes ('light', …); did you mean 'light'?",
         PQ_ERR_CONFIG},
        {&pq_class_weights_row, "2", "class_weights: '2' is not class=value",
         PQ_ERR_CONFIG},
        {&pq_class_weights_row, "b=-1", "class_weights: b: -1 is not in 0..1000000",
         PQ_ERR_RANGE},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double x[3];
        pq_err e = {0};
        cr_expect_eq(pq_class_values(cases[i].row, cases[i].text, 3, names, x, &e),
                     cases[i].st, "%s", cases[i].text);
        cr_expect_str_eq(e.message, cases[i].message);
    }
}

static void expect_refusal(run *r, const char *text)
{
    pq_err e = {0};

    cr_expect_eq(train(r, &e), PQ_ERR_CONFIG);
    cr_expect_str_eq(e.message, text);
}

Test(classes, floors_that_cannot_be_watched_are_refused)
{
    run r = {0};

    start_rare(&r);
    r.params.sampling = PQ_SAMPLING_BALANCED;
    expect_refusal(&r, "preserve_rare_classes and sampling 'balanced' both correct for "
                       "rare classes: one of them is too many");
    r.params.preserve_rare_classes = false;
    set(&r, "class_weights", "balanced");
    expect_refusal(&r,
                   "class_weights 'balanced' and sampling 'balanced' both correct for "
                   "rare classes: one of them is too many");
    r.params.preserve_rare_classes = true;
    r.params.sampling              = PQ_SAMPLING_UNIFORM;
    r.params.validation            = 0.0;
    expect_refusal(&r, "class 'a' has no validation events: its recall cannot be held at "
                       "0.5");
    r.params.validation = 0.1;
    set(&r, "max_recall_loss", "0.1");
    expect_refusal(&r, "max_recall_loss: there is no network to compare with");
    finish_run(&r);
}
