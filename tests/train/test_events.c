/* Order, augmentation, classes by name. */
#include "support.h"
#include "train/augment.h"
#include "train/events.h"

Test(events, an_epoch_visits_every_event_once_and_another_order_the_next_time)
{
    enum { N = 1000 };
    size_t index[N], first[N], again[N], next[N], seen[N] = {0}, same = 0;

    for (size_t i = 0; i < N; i++) {
        index[i] = i;
    }
    pq_order_uniform(5, 1, index, N, first);
    pq_order_uniform(5, 1, index, N, again);
    pq_order_uniform(5, 2, index, N, next);
    for (size_t swaps = 1; swaps <= N; swaps += 7) { /* in parts it is the same */
        static size_t parts[N];
        pq_order      order;
        pq_order_start(5, 1, index, N, parts, &order);
        while (order.left > 1) {
            pq_order_go_on(&order, swaps);
        }
        cr_expect_arr_eq(parts, first, sizeof first, "%zu swaps at a time", swaps);
    }
    for (size_t i = 0; i < N; i++) {
        cr_assert_eq(first[i], again[i]);
        seen[first[i]]++;
        same += first[i] == next[i] ? 1 : 0;
    }
    for (size_t i = 0; i < N; i++) {
        cr_assert_eq(seen[i], 1);
    }
    cr_expect_lt(same, 20);
}

Test(events, balanced_order_draws_every_class_equally_often)
{
    enum { N = 900 };
    int32_t   y[N];
    size_t    index[N], order[N], drawn[4] = {0}, times[N] = {0};
    pq_events e = {.n = N, .y = y};

    for (size_t i = 0; i < N; i++) {
        y[i]     = i < 30 ? 2 : i < 300 ? 0 : 3; /* class 1 does not occur */
        index[i] = i;
    }
    OK(pq_order_balanced(1, 3, &e, 4, index, N, order, err));
    for (size_t i = 0; i < N; i++) {
        drawn[y[order[i]]]++;
        times[order[i]]++;
    }
    cr_expect_eq(drawn[0], 300);
    cr_expect_eq(drawn[1], 0);
    cr_expect_eq(drawn[2], 300);
    cr_expect_eq(drawn[3], 300);
    for (size_t i = 0; i < 30; i++) {
        cr_expect_eq(times[i], 10);
    }
    for (size_t i = 300; i < N; i++) {
        cr_expect_leq(times[i], 1);
    }
}

Test(events, an_image_is_shifted_and_mirrored_whole)
{
    const pq_shape shape = PQ_SHAPE(4, 5, 2);
    pq_augment     a     = {0};
    float          from[40], to[40];
    size_t         mirrored = 0, moved = 0;

    for (size_t i = 0; i < 40; i++) {
        from[i] = (float)(i + 1);
    }
    OK(pq_augment_init(&shape, true, 0, &a, err));
    for (size_t k = 0; k < 200; k++) {
        pq_augment_image(&a, 77, k, from, to);
        const bool flip = to[0] != from[0];
        mirrored += flip ? 1 : 0;
        for (size_t p = 0; p < 20; p++) {
            const size_t x = p % 5, source = p - x + (flip ? 4 - x : x);
            cr_assert(to[2 * p] == from[2 * source] &&
                      to[2 * p + 1] == from[2 * source + 1]);
        }
    }
    cr_expect(mirrored > 70 && mirrored < 130, "%zu of 200", mirrored);
    OK(pq_augment_init(&shape, false, 1, &a, err));
    for (size_t k = 0; k < 200; k++) {
        float sum = 0.0F;
        pq_augment_image(&a, 5, k, from, to);
        for (size_t i = 0; i < 40; i++) {
            sum += to[i] == 0.0F ? 1.0F : 0.0F;
        }
        moved += sum > 0.0F ? 1 : 0;
        cr_assert(sum == 0.0F || sum == 8.0F || sum == 10.0F || sum == 16.0F, "%g",
                  (double)sum);
    }
    cr_expect_gt(moved, 150);
    cr_expect_eq(pq_augment_init(&PQ_SHAPE(16), true, 0, &a, NULL), PQ_ERR_CONFIG);
}

static pq_graph *input_of(const char *shape, size_t classes, const char *const *names)
{
    pq_graph *g = NULL;
    char      text[64];

    (void)snprintf(text, sizeof text, "input shape=%s", shape);
    OK(pq_graph_create(&g, err));
    add(g, "in", layer_of(text), NULL);
    add_dense(g, "fc", 16, 3);
    if (names != NULL) {
        OK(pq_graph_set_classes(g, classes, names, err));
    }
    OK(pq_graph_check(g, err));
    return g;
}

Test(events, labels_follow_the_names_of_the_graphs_classes)
{
    const char *const turned[] = {"c", "a", "b"}, *const other[] = {"a", "b", "x"};
    pq_graph   *g = input_of("16", 3, turned), *bad = input_of("16", 3, other);
    pq_dataset *d = blobs(PQ_SHAPE(16), 3, 50);
    pq_events   e = {0}, plain = {0};
    pq_graph   *none = input_of("16", 0, NULL);
    pq_err      why  = {0};

    OK(pq_events_read(d, 0, g, true, &e, err));
    OK(pq_events_read(d, 0, none, true, &plain, err));
    for (size_t i = 0; i < 50; i++) {
        cr_expect_eq(e.y[i], (plain.y[i] + 1) % 3);
    }
    pq_events_free(&plain);
    cr_expect_eq(pq_events_read(d, 0, bad, true, &plain, &why), PQ_ERR_CONFIG);
    cr_expect(strstr(why.message, "'c'") != NULL, "%s", why.message);
    pq_events_free(&e);
    pq_graph_free(&g);
    pq_graph_free(&bad);
    pq_graph_free(&none);
    pq_dataset_close(&d);
}

Test(events, a_scaler_made_from_the_events_leaves_mean_0_and_deviation_1)
{
    pq_graph   *g = input_of("16", 0, NULL);
    pq_dataset *d = blobs(PQ_SHAPE(16), 3, 500);
    pq_events   e = {0};

    OK(pq_events_read(d, 0, g, true, &e, err));
    OK(pq_events_standardize(&e, g, err));
    for (size_t k = 0; k < 16; k++) {
        double mean = 0.0, square = 0.0;
        for (size_t i = 0; i < e.n; i++) {
            mean += (double)e.x[i * 16 + k] / 500.0;
            square += (double)e.x[i * 16 + k] * (double)e.x[i * 16 + k] / 500.0;
        }
        cr_expect_float_eq(mean, 0.0, 1e-5);
        cr_expect_float_eq(square, 1.0, 1e-5);
    }
    pq_events_free(&e);
    OK(pq_events_read(d, 0, g, true, &e, err)); /* now the graph's scaler is applied */
    cr_expect_lt(fabs((double)e.x[0]), 5.0);
    pq_events_free(&e);
    pq_graph_free(&g);
    pq_dataset_close(&d);
}

/* [rows, 3] with the mask last: row r of event i is there where r <= i % 4. */
Test(events, a_scaler_leaves_padding_and_its_mask_alone)
{
    enum { N = 60, ROWS = 4, ALL = N * ROWS };
    static float x[ALL * 3];
    pq_graph    *g   = NULL;
    pq_events    e   = {.n = N, .count = ROWS * 3, .x = x, .padded = true};
    pq_rng       rng = pq_rng_stream(3, "tracks");
    double       sum = 0.0, square = 0.0, n = 0.0;

    OK(pq_graph_create(&g, err));
    add(g, "in", layer_of("input shape=4,3"), NULL);
    OK(pq_graph_check(g, err));
    for (size_t r = 0; r < ALL; r++) {
        const bool there = r % ROWS <= r / ROWS % 4;
        x[3 * r]         = there ? 5.0F + 2.0F * (float)pq_rng_normal(&rng) : 0.0F;
        x[3 * r + 1]     = there ? 7.0F : 0.0F;
        x[3 * r + 2]     = there ? 1.0F : 0.0F;
        n += there ? 1.0 : 0.0;
    }
    OK(pq_events_standardize(&e, g, err));
    for (size_t r = 0; r < ALL; r++) {
        const bool there = r % ROWS <= r / ROWS % 4;
        cr_expect_eq(x[3 * r + 2], there ? 1.0F : 0.0F);
        cr_expect_eq(x[3 * r + 1], 0.0F);
        cr_expect(there || x[3 * r] == 0.0F);
        sum += (double)x[3 * r] / n;
        square += (double)x[3 * r] * (double)x[3 * r] / n;
    }
    cr_expect_float_eq(sum, 0.0, 1e-5);
    cr_expect_float_eq(square, 1.0, 1e-5);
    cr_expect_eq(pq_f32(g->scaler_mean)[1], 7.0F);
    cr_expect_eq(pq_f32(g->scaler_mean)[2], 0.0F);
    cr_expect_eq(pq_f32(g->scaler_std)[2], 1.0F);
    pq_graph_free(&g);
}

/* Far from 0, and constant: the sums of squares of the one cancel, those of the other
   leave noise to divide by. */
Test(events, are_standardized_in_double_about_their_mean)
{
    enum { N = 4000, FEATURES = 3 };
    pq_graph *g    = NULL;
    pq_rng    rng  = pq_rng_stream(3, "far");
    pq_events e    = {.n = N, .count = FEATURES};
    double    mean = 0.0, square = 0.0;

    OK(pq_graph_create(&g, err));
    add(g, "in", layer_of("input shape=3"), NULL);
    OK(pq_graph_check(g, err));
    e.x = pq_calloc(N * FEATURES, sizeof *e.x);
    for (size_t i = 0; i < N; i++) {
        e.x[FEATURES * i]     = (float)(1e8 + 80.0 * pq_rng_normal(&rng));
        e.x[FEATURES * i + 1] = 0.1F;
        e.x[FEATURES * i + 2] = (float)pq_rng_normal(&rng);
        mean += (double)e.x[FEATURES * i] / N;
    }
    for (size_t i = 0; i < N; i++) {
        square +=
            ((double)e.x[FEATURES * i] - mean) * ((double)e.x[FEATURES * i] - mean) / N;
    }
    OK(pq_events_standardize(&e, g, err));
    const float *std = pq_f32(g->scaler_std);
    cr_expect_float_eq((double)std[0], sqrt(square), 1e-5 * sqrt(square), "%g, not %g",
                       (double)std[0], sqrt(square));
    cr_expect_eq(std[1], 1.0F);
    cr_expect_eq(e.x[1], 0.0F);
    pq_events_free(&e);
    pq_graph_free(&g);
}
