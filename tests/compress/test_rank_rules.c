/* The rules that choose ranks, the same for every low-rank method. */
#include "nets.h"

#include "linalg/svd.h"
#include "linalg/tt.h"
#include "linalg/vbmf.h"

static pq_layer_change *changes;
static size_t           n_changes;

static const char *const methods[] = {"svd", "tucker", "cp:starts=1",
                                      "tensor_train:form=naive"};

/* A kernel whose singular values fall, so that rules differ. */
static pq_graph *net(void)
{
    pq_rng    rng = pq_rng_stream(9, "test");
    pq_graph *g   = NULL;
    pq_layer *l   = net_kernel(&rng, PQ_SHAPE(24, 3, 3, 20), true);
    float    *w   = pq_f32(pq_layer_weight(l, "kernel")->value);

    for (size_t i = 0; i < 24 * 9 * 20; i++) {
        w[i] *= (float)exp(-0.15 * (double)(i / 180) - 0.1 * (double)(i % 20));
    }
    OK(pq_graph_create(&g, &err));
    net_input(g, "9, 9, 20");
    net_add(g, "conv", l, "in");
    OK(pq_graph_check(g, &err));
    return g;
}

/* "<method>,<rest>" or "<method>:<rest>" applied; the error told and values left. */
static double apply(const pq_graph *g, const char *method, const char *rest, size_t *left,
                    char *what)
{
    char      text[160];
    pq_graph *out;

    snprintf(text, sizeof text, "%s%s%s", method, strchr(method, ':') != NULL ? "," : ":",
             rest);
    out                = net_apply(text, g, NULL, &changes, &n_changes);
    const double error = changes[0].error;
    *left              = pq_graph_parameters(out, (pq_count_rule){0}, NULL);
    if (what != NULL) {
        strcpy(what, changes[0].what);
    }
    pq_free(changes);
    pq_graph_free(&out);
    return error;
}

Test(rank_rules, alignment_keeps_every_error_and_every_size)
{
    static const double epsilons[] = {0.9, 0.55, 0.4, 0.3};
    static const double ratios[]   = {1.2, 2.1, 3.5, 7.3};
    pq_graph           *g          = net();
    char                rest[96];
    size_t              left;

    for (size_t i = 0; i < 4 * 4 * 3; i++) {
        const char  *method  = methods[i % 4];
        const double epsilon = epsilons[i / 4 % 4], ratio = ratios[i / 4 % 4];
        const int    align = i / 16 == 0 ? 3 : i / 16 == 1 ? 8 : 16;
        snprintf(rest, sizeof rest, "epsilon=%g,align=%d,keep_dense=no", epsilon, align);
        cr_expect_leq(apply(g, method, rest, &left, NULL), epsilon, "%s %s", method,
                      rest);
        snprintf(rest, sizeof rest, "ratio=%g,align=%d,keep_dense=no", ratio, align);
        (void)apply(g, method, rest, &left, NULL);
        cr_expect_leq((double)left * ratio, 4320.0, "%s %s: %zu", method, rest, left);
    }
    snprintf(rest, sizeof rest, "energy=0.7,align=16,keep_dense=no");
    for (size_t i = 0; i < 4; i++) {
        const double error = apply(g, methods[i], rest, &left, NULL);
        const double due   = i == 1 ? 0.4 : 0.7; /* Tucker keeps 0.7 on each side */
        cr_expect_geq(1 - error * error, due - 1e-12, "%s", methods[i]);
    }
    pq_graph_free(&g);
}

Test(rank_rules, aligned_ranks_are_multiples)
{
    static const struct {
        const char *method, *rest, *what;
    } cases[] = {
        {"svd", "rank=9,align=8", "rank 16 of 24"},
        {"svd", "rank=17,align=16,keep_dense=no", "rank 24 of 24"}, /* there is no 32 */
        {"svd", "ratio=2,align=4", "rank 8 of 24"},                 /* 10.6 */
        {"svd", "ratio=2,align=16", "rank 10 of 24"},               /* no multiple fits */
        {"tucker", "rank=9,rank_in=5,align=8", "ranks 16 of 24 and 8 of 20"},
        {"tensor_train:form=naive", "rank=9,align=8", "ranks 16 16 16"},
        {"tensor_train:form=naive", "ratio=3,align=8", "ranks 8 8 8"},
    };
    pq_graph *g = net();
    char      what[128];
    size_t    left;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        (void)apply(g, cases[i].method, cases[i].rest, &left, what);
        cr_expect_str_eq(what, cases[i].what, "%s %s", cases[i].method, cases[i].rest);
    }
    (void)apply(g, "cp:starts=1", "rank=9,align=8", &left, what);
    cr_expect_eq(strncmp(what, "rank 16,", 8), 0, "%s", what);
    (void)apply(g, "cp:starts=1", "epsilon=0.6,align=8", &left, what);
    cr_expect(strncmp(what, "rank 8,", 7) == 0 || strncmp(what, "rank 16,", 8) == 0 ||
                  strncmp(what, "rank 24,", 8) == 0,
              "%s", what);
    pq_graph_free(&g);
}

/* A budget in steps of the alignment: what is not kept dense has multiples. */
Test(rank_rules, budgets_are_shared_out_in_aligned_steps)
{
    pq_graph *g = net_mlp(3), *out;
    unsigned  rank, of;

    out = net_apply("svd:budget=1.6,align=4", g, NULL, &changes, &n_changes);
    for (size_t i = 0; i < n_changes; i++) {
        if (sscanf(changes[i].what, "rank %u of %u", &rank, &of) == 2) {
            cr_expect_eq(rank % 4, 0, "%s: %s", changes[i].layer, changes[i].what);
        }
    }
    cr_expect_leq(1.6 * (double)pq_graph_parameters(out, (pq_count_rule){0}, NULL),
                  4256.0);
    pq_free(changes);
    pq_graph_free(&out);
    pq_graph_free(&g);
}

Test(rank_rules, a_sparsity_is_a_ratio)
{
    pq_graph *g = net();
    char      a[128], b[128];
    size_t    left_a, left_b;

    for (size_t i = 0; i < 4; i++) {
        (void)apply(g, methods[i], "target_sparsity=0.75", &left_a, a);
        (void)apply(g, methods[i], "ratio=4", &left_b, b);
        cr_expect_str_eq(a, b);
        cr_expect_eq(left_a, left_b);
        cr_expect_leq(4 * left_a, 4320);
    }
    pq_graph_free(&g);
}

Test(rank_rules, a_ratio_out_of_reach_says_what_was_reached)
{
    pq_graph *g = net();
    char      what[128], due[64];
    size_t    left;

    for (size_t i = 0; i < 4; i++) {
        (void)apply(g, methods[i], "ratio=1000", &left, what);
        snprintf(due, sizeof due, "; ratio 1000 not reached: %.4g",
                 4320.0 / (double)left);
        cr_expect_not_null(strstr(what, due), "%s: %s", methods[i], what);
        (void)apply(g, methods[i], "target_sparsity=0.999", &left, what);
        snprintf(due, sizeof due, "; target_sparsity 0.999 not reached: %.4g",
                 1.0 - (double)left / 4320.0);
        cr_expect_not_null(strstr(what, due), "%s: %s", methods[i], what);
    }
    pq_graph_free(&g);
}

/* Every way to ask for a size or an error, out of reach and not, for every method. */
Test(rank_rules, out_of_reach_is_never_an_error_and_always_told)
{
    static const struct {
        const char *rule;
        double      far, near;
    } rules[]                        = {{"ratio", 1000, 1.5},
                                        {"target_sparsity", 0.999, 0.3},
                                        {"budget", 1000, 1.5},
                                        {"epsilon", 1e-7, 0.7},
                                        {"energy", 0.99999999999999, 0.4}};
    static const char *const units[] = {"parameters", "macs"};
    pq_graph                *g       = net();
    char                     text[128], due[64];

    for (size_t i = 0; i < 4 * 5 * 2; i++) {
        const size_t rule   = i / 4 % 5;
        const bool   budget = strcmp(rules[rule].rule, "budget") == 0;
        const char  *unit   = units[i / 20];
        /* an exact low rank is always to be had, but by a few sweeps of CP */
        const bool exact  = rule >= 3;
        const bool misses = !exact || strncmp(methods[i % 4], "cp", 2) == 0;
        for (int far = 0; far < 2; far++) {
            pq_graph *out;
            snprintf(text, sizeof text, "%s%s%s=%.17g%s%s%s", methods[i % 4],
                     strchr(methods[i % 4], ':') != NULL ? "," : ":", rules[rule].rule,
                     far ? rules[rule].far : rules[rule].near,
                     budget ? ",budget_unit=" : "", budget ? unit : "",
                     strncmp(methods[i % 4], "cp", 2) == 0 ? ",sweeps=30,keep_dense=no"
                                                           : "");
            out = net_apply(text, g, NULL, &changes, &n_changes);
            snprintf(due, sizeof due, "%s %.6g not reached: ", rules[rule].rule,
                     rules[rule].far);
            if (far && misses) {
                cr_expect_eq(strncmp(changes[0].missed, due, strlen(due)), 0, "%s: '%s'",
                             text, changes[0].missed);
                cr_expect_not_null(strstr(changes[0].what, changes[0].missed), "%s",
                                   text);
            } else {
                cr_expect_str_eq(changes[0].missed, "", "%s", text);
                cr_expect_null(strstr(changes[0].what, "not reached"), "%s", text);
            }
            pq_free(changes);
            pq_graph_free(&out);
        }
    }
    pq_graph_free(&g);
}

Test(rank_rules, energy_is_the_error_s_square)
{
    pq_graph *g = net();
    char      a[128], b[128];
    size_t    left;

    for (size_t i = 0; i < 4; i++) {
        if (i != 1) {
            (void)apply(g, methods[i], "energy=0.84", &left, a);
            (void)apply(g, methods[i], "epsilon=0.4", &left, b);
            cr_expect_str_eq(a, b);
        }
    }
    pq_graph_free(&g);
}

/* Signal of rank 3 along every axis, in noise. */
static pq_graph *noisy_net(void)
{
    pq_rng       rng  = pq_rng_stream(21, "test");
    pq_graph    *g    = NULL;
    pq_layer    *l    = net_kernel(&rng, PQ_SHAPE(24, 3, 3, 20), true);
    float       *w    = pq_f32(pq_layer_weight(l, "kernel")->value);
    const size_t n[4] = {24, 3, 3, 20};
    double       v[3][4][24];

    for (size_t i = 0; i < 3 * 4 * 24; i++) {
        v[i / 96][i / 24 % 4][i % 24] = pq_rng_normal(&rng);
    }
    for (size_t i = 0; i < 4320; i++) {
        size_t at = i, index[4];
        for (size_t k = 4; k-- > 0;) {
            index[k] = at % n[k];
            at /= n[k];
        }
        w[i] = (float)(0.1 * pq_rng_normal(&rng));
        for (size_t r = 0; r < 3; r++) {
            w[i] += (float)(v[r][0][index[0]] * v[r][1][index[1]] * v[r][2][index[2]] *
                            v[r][3][index[3]]);
        }
    }
    OK(pq_graph_create(&g, &err));
    net_input(g, "9, 9, 20");
    net_add(g, "conv", l, "in");
    OK(pq_graph_check(g, &err));
    return g;
}

Test(rank_rules, evbmf_finds_the_signal_in_noise_and_weaken_goes_back)
{
    static const char *const due[]  = {"rank 3 of 24", "ranks 3 of 24 and 3 of 20",
                                       "rank 3,", "ranks 3 3 3"};
    static const char *const weak[] = {"rank 14 of 24", "ranks 14 of 24 and 12 of 20",
                                       "rank 14,", "ranks 12 32 14"};
    pq_graph                *g      = noisy_net();
    char                     what[128];
    size_t                   left;

    for (size_t i = 0; i < 4; i++) {
        const double error = apply(g, methods[i], "evbmf=yes", &left, what);
        cr_expect_eq(strncmp(what, due[i], strlen(due[i])), 0, "%s: %s", methods[i],
                     what);
        cr_expect_lt(error, 0.15);
        (void)apply(g, methods[i], "evbmf=yes,weaken=0.5,keep_dense=no", &left, what);
        cr_expect_eq(strncmp(what, weak[i], strlen(weak[i])), 0, "%s: %s", methods[i],
                     what);
    }
    pq_graph_free(&g);
}

/* Ranks that EVBMF gives a train are those of the plain unfoldings at its cuts. */
Test(rank_rules, evbmf_of_a_train_judges_every_unfolding)
{
    pq_graph    *g      = net(), *out;
    const size_t turn[] = {3, 1, 2, 0};
    pq_tensor   *t      = NULL;
    size_t       left   = 1, due[3];
    char         words[64];

    OK(pq_tensor_permute(net_weight(g, "conv", "kernel"), turn, &t, &err));
    const pq_shape axes = t->shape;
    for (size_t k = 0; k < 3; k++) {
        pq_svd svd = {0};
        left *= axes.dim[k];
        OK(pq_tensor_reshape(t, PQ_SHAPE(left, t->count / left), &err));
        OK(pq_svd_thin(t, &svd, &err));
        due[k] = pq_evbmf_rank(pq_f64(svd.s), left, t->count / left);
        due[k] = due[k] > 0 ? due[k] : 1;
        pq_svd_free(&svd);
    }
    snprintf(words, sizeof words, "ranks %zu %zu %zu", due[0], due[1], due[2]);
    out = net_apply("tensor_train:form=naive,evbmf=yes", g, NULL, &changes, &n_changes);
    cr_expect_leq(strlen(words), strlen(changes[0].what));
    cr_expect_geq(due[1], 1);
    cr_expect_str_eq(changes[0].what, words);
    pq_free(changes);
    pq_tensor_free(&t);
    pq_graph_free(&out);
    pq_graph_free(&g);
}

Test(rank_rules, an_epsilon_that_cp_does_not_reach_is_said)
{
    pq_graph *g = net();
    char      what[128];
    size_t    left;

    (void)apply(g, "cp:starts=1,sweeps=1", "epsilon=0.000001,keep_dense=no", &left, what);
    cr_expect_not_null(strstr(what, "; epsilon 1e-06 not reached: "), "%s", what);
    pq_graph_free(&g);
}

/* One decomposition serves every rank of a sweep, and what it gives is the same. */
Test(rank_rules, later_ranks_find_the_decomposition_of_the_first)
{
    static const struct {
        const char *method;
        size_t      each; /* decompositions of a layer */
    } cases[] = {{"svd", 1}, {"tucker", 2}, {"tensor_train:form=naive", 1}};
    static const char *const rules[] = {"rank=4",      "rank=7",    "energy=0.8",
                                        "epsilon=0.5", "evbmf=yes", "budget=2",
                                        "ratio=3"};
    pq_graph                *g       = net();

    for (size_t i = 0; i < 3; i++) {
        pq_cache *cache = NULL;
        OK(pq_cache_open(NULL, &cache, &err));
        const pq_apply_options how = {.cache = cache};
        for (size_t r = 0; r < 7; r++) {
            const size_t before = pq_cache_hits(cache);
            char         text[96];
            pq_graph    *cached, *fresh;
            snprintf(text, sizeof text, "%s%s%s", cases[i].method,
                     strchr(cases[i].method, ':') != NULL ? "," : ":", rules[r]);
            cached            = net_apply(text, g, &how, NULL, NULL);
            fresh             = net_apply(text, g, NULL, NULL, NULL);
            const size_t hits = pq_cache_hits(cache) - before;
            cr_expect_eq(hits,
                         r == 0   ? 0
                         : r == 5 ? 2 * cases[i].each /* planned, then done */
                                  : cases[i].each,
                         "%s: %zu", text, hits);
            cr_expect_eq(net_difference(cached, fresh), 0.0, "%s", text);
            pq_graph_free(&cached);
            pq_graph_free(&fresh);
        }
        pq_cache_close(&cache);
    }
    pq_graph_free(&g);
}
