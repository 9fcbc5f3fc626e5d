/* Layers so large that svd decomposes them in part. */
#include "nets.h"

#include "compress/svd_factor.h"
#include "linalg/partial.h"

enum { OUT = 560, IN = 640, FULL = OUT };

static const double TOL_LEAST = 2e-6; /* of an error to the least: 1e-6, and float32 */
static const double TOL_FLOOR = 1e-7; /* of an error to |W|: factors are float32 */

static pq_layer_change *changes;
static size_t           n_changes;

/* dense 640 -> 560: 80 outer products that fall by a fifth each, and noise below them */
static pq_graph *large_net(void)
{
    pq_rng     rng    = pq_rng_stream(3, "large");
    pq_graph  *g      = NULL;
    pq_layer  *l      = net_layer("dense");
    pq_tensor *kernel = net_tensor(&rng, PQ_SHAPE(OUT, IN), 1e-3);
    double     size   = 1.0;

    for (size_t r = 0; r < 80; r++, size *= 0.8) {
        pq_tensor *u = net_tensor(&rng, PQ_SHAPE(OUT), 1.0),
                  *v = net_tensor(&rng, PQ_SHAPE(IN), 1.0);
        for (size_t i = 0; i < kernel->count; i++) {
            pq_f32(kernel)[i] +=
                (float)(size * (double)pq_f32(u)[i / IN] * (double)pq_f32(v)[i % IN]);
        }
        pq_tensor_free(&u);
        pq_tensor_free(&v);
    }
    OK(pq_graph_create(&g, &err));
    net_input(g, "640");
    OK(pq_layer_add_weight(l, "kernel", kernel, &err));
    net_add(g, "fc", l, "in");
    OK(pq_graph_check(g, &err));
    return g;
}

/* The whole decomposition of its kernel. */
static pq_svd whole_of(const pq_graph *g, double *size)
{
    pq_svd svd = {0};

    OK(pq_svd_thin(net_weight(g, "fc", "kernel"), &svd, &err));
    *size = pq_svd_tail(&svd, 0);
    return svd;
}

static size_t rank_in(const char *what)
{
    size_t rank = 0, of = 0;

    cr_assert_eq(sscanf(what, "rank %zu of %zu", &rank, &of), 2, "%s", what);
    cr_assert_eq(of, FULL);
    return rank;
}

/* The smallest rank whose error is at most a part of all. */
static size_t least_rank(const pq_svd *svd, double size, double part)
{
    size_t r = 1;

    while (pq_svd_tail(svd, r) > part * size) {
        r++;
    }
    return r;
}

static pq_cache *new_cache(void)
{
    pq_cache *cache = NULL;

    OK(pq_cache_open(NULL, &cache, &err));
    return cache;
}

Test(svd_large, ranks_and_errors_are_those_of_the_whole_decomposition)
{
    static const struct {
        const char *rule;
        double      energy, epsilon; /* or 0 */
        size_t      rank;
        bool        partly; /* with a bound */
    } cases[] = {
        {"rank=3", 0, 0, 3, true},          {"rank=16", 0, 0, 16, true},
        {"rank=17", 0, 0, 17, true},        {"rank=32", 0, 0, 32, true},
        {"rank=100", 0, 0, 100, false},     {"energy=0.5", 0.5, 0, 0, true},
        {"energy=0.99", 0.99, 0, 0, true},  {"energy=0.99999", 0.99999, 0, 0, true},
        {"energy=1", 1, 0, 0, false},       {"epsilon=0.3", 0, 0.3, 0, true},
        {"epsilon=0.01", 0, 0.01, 0, true}, {"epsilon=0.0001", 0, 0.0001, 0, false},
        {"evbmf=yes", 0, 0, 0, false}};
    pq_graph *g     = large_net();
    pq_cache *cache = new_cache();
    double    size;
    pq_svd    svd = whole_of(g, &size);

    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        const pq_apply_options how = {.cache = cache};
        char                   text[96];
        pq_graph              *out, *again;

        snprintf(text, sizeof text, "svd:keep_dense=no,%s", cases[c].rule);
        out              = net_apply(text, g, NULL, &changes, &n_changes);
        const size_t r   = rank_in(changes[0].what);
        const double due = pq_svd_tail(&svd, r) / size;
        cr_expect_leq(fabs(changes[0].error - due), TOL_LEAST * due + TOL_FLOOR,
                      "%s: %g, %g", text, changes[0].error, due);
        cr_expect_eq(strstr(changes[0].what, "above the least error") != NULL,
                     cases[c].partly, "%s: %s", text, changes[0].what);
        if (cases[c].rank > 0) {
            cr_expect_eq(r, cases[c].rank);
        } else if (cases[c].energy > 0) {
            cr_expect_eq(r, least_rank(&svd, size, sqrt(1.0 - cases[c].energy)),
                         "%s: %zu", text, r);
        } else if (cases[c].epsilon > 0) {
            cr_expect_eq(r, least_rank(&svd, size, cases[c].epsilon), "%s: %zu", text, r);
        }
        pq_free(changes);
        again = net_apply(text, g, &how, NULL, NULL); /* after other ranks, or first */
        cr_expect_eq(net_difference(out, again), 0.0, "%s", text);
        pq_graph_free(&out);
        pq_graph_free(&again);
    }
    pq_svd_free(&svd);
    pq_cache_close(&cache);
    pq_graph_free(&g);
}

Test(svd_large, a_sweep_over_ranks_decomposes_once_for_each_doubling)
{
    static const struct {
        size_t rank, hits;
    } cases[]       = {{16, 0}, {9, 1},  {1, 1},  {16, 1}, {17, 0},  {32, 1},
                       {24, 1}, {33, 0}, {64, 1}, {65, 0}, {129, 0}, {500, 1}};
    pq_graph *g     = large_net();
    pq_cache *cache = new_cache();

    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        const pq_apply_options how    = {.cache = cache};
        const size_t           before = pq_cache_hits(cache);
        char                   text[96];
        pq_graph              *out;

        snprintf(text, sizeof text, "svd:keep_dense=no,rank=%zu", cases[c].rank);
        out = net_apply(text, g, &how, NULL, NULL);
        cr_expect_eq(pq_cache_hits(cache) - before, cases[c].hits, "%s", text);
        pq_graph_free(&out);
    }
    pq_cache_close(&cache);
    pq_graph_free(&g);
}

/* Weighted factors of a few components are the leading ones of all. */
Test(svd_large, weighted_factors_are_the_leading_ones)
{
    enum { EVENTS = 50, RANK = 16 };
    static const pq_weighting ways[] = {PQ_WEIGH_ASVD, PQ_WEIGH_WHITENED};
    pq_rng                    rng    = pq_rng_stream(9, "events");
    pq_graph                 *g      = large_net();
    pq_tensor                *x = net_tensor(&rng, PQ_SHAPE(EVENTS, IN), 1.0), *w = NULL;
    pq_calib                 *calib = NULL;

    OK(pq_calib_create(g, &calib, &err));
    OK(pq_calib_add_gram(calib, g, pq_graph_find(g, "fc"), EVENTS, pq_f32(x), &err));
    OK(pq_tensor_convert(net_weight(g, "fc", "kernel"), PQ_DTYPE_F64, &w, &err));
    for (int i = 0; i < 2; i++) {
        const pq_svd_weight how  = {.how     = ways[i],
                                    .alpha   = 0.5,
                                    .centred = true,
                                    .gram    = pq_calib_gram_of(calib, "fc")};
        pq_svd_factors      part = {0}, all = {0};
        double              square = 0.0;

        OK(pq_svd_factor(w, &how, RANK, &part, &err));
        OK(pq_svd_factor(w, &how, FULL, &all, &err));
        cr_assert_eq(part.spectrum->count, RANK);
        cr_assert_eq(all.spectrum->count, FULL);
        for (size_t k = 0; k < FULL; k++) {
            square += pq_f64(all.spectrum)[k] * pq_f64(all.spectrum)[k];
        }
        cr_expect_float_eq(part.square, square, 1e-9 * square);
        for (size_t k = 0; k < RANK; k++) {
            cr_expect_float_eq(pq_f64(part.spectrum)[k], pq_f64(all.spectrum)[k],
                               1e-6 * pq_f64(all.spectrum)[0], "%d %zu", i, k);
        }
        for (size_t k = 0; k < OUT * RANK; k++) { /* of values that lie apart */
            cr_expect_float_eq(pq_f64(part.svd.u)[k],
                               pq_f64(all.svd.u)[k / RANK * FULL + k % RANK], 1e-4);
        }
        pq_svd_factors_free(&part);
        pq_svd_factors_free(&all);
    }
    pq_calib_free(&calib);
    pq_tensor_free(&x);
    pq_tensor_free(&w);
    pq_graph_free(&g);
}
