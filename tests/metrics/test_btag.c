#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "core/text.h"
#include "metrics/btag_curves.h"

static const double TOL = 1e-12;

enum { N = 3000 };

static float   outputs[N * 3];
static int32_t labels[N];
static double  score[N];

static const char *const names[] = {"light", "c", "b"};

static pq_evaluation three_flavours(size_t n, pq_head head, const float *out)
{
    return (pq_evaluation){.n           = n,
                           .classes     = 3,
                           .width       = 3,
                           .head        = head,
                           .outputs     = out,
                           .labels      = labels,
                           .class_names = names};
}

/* Jets of all flavours whose probabilities overlap. */
static pq_evaluation make(double f_c)
{
    unsigned seed = 11;

    for (size_t i = 0; i < N; i++) {
        double p[3], sum = 0.0;
        labels[i] = (int32_t)(i % 3);
        for (size_t k = 0; k < 3; k++) {
            seed = seed * 1664525U + 1013904223U;
            p[k] = (double)(seed >> 8) / (double)(1U << 24) +
                   ((size_t)labels[i] == k ? 0.7 : 0.01);
            sum += p[k];
        }
        for (size_t k = 0; k < 3; k++) {
            outputs[i * 3 + k] = (float)(p[k] / sum);
        }
    }
    const pq_evaluation e = three_flavours(N, PQ_HEAD_SOFTMAX, outputs);
    pq_flavours         classes;
    pq_flavour_shares   shares;
    cr_assert_eq(pq_flavours_find(3, names, &classes, NULL), PQ_OK);
    if (pq_flavour_shares_make(&classes, PQ_FLAVOUR_B, f_c, 0.0, &shares, NULL) ==
        PQ_OK) {
        for (size_t i = 0; i < N; i++) {
            score[i] = pq_flavour_discriminant(&e, i, &classes, PQ_FLAVOUR_B, &shares);
        }
    }
    return e;
}

/* Part of a flavour with a score of at least the cut. */
static double passes(int32_t flavour, double cut)
{
    double pass = 0.0, all = 0.0;

    for (size_t i = 0; i < N; i++) {
        all += labels[i] == flavour;
        pass += labels[i] == flavour && score[i] >= cut;
    }
    return pass / all;
}

static double value_of(const pq_values *v, const char *name)
{
    cr_assert_not_null(pq_values_find(v, name), "%s", name);
    return pq_values_find(v, name)->value;
}

/* Evaluates with f_c and one column of bins, or NULL. */
static pq_status tag(const pq_evaluation *e, double f_c, const char *bins, pq_values *out,
                     pq_err *err)
{
    pq_btag_params p = {0};
    pq_status      st;

    cr_assert_eq(pq_params_default(pq_btag_table, &p, NULL), PQ_OK);
    p.f_c  = f_c;
    p.bins = bins != NULL ? pq_format("%s", bins) : NULL;
    st     = pq_btag_evaluate(e, &p, out, err);
    pq_params_free(pq_btag_table, &p);
    return st;
}

/* One jet: D of logits and of their softmax, against the formula. */
Test(btag, discriminants_are_their_formula_of_logits_and_of_probabilities)
{
    static const struct {
        pq_flavour signal;
        double     other, tau;
        float      l[4]; /* light, c, b, tau */
    } table[] = {
        {PQ_FLAVOUR_B, 0.018, 0.0, {0.3F, -1.0F, 2.0F, 0.1F}},
        {PQ_FLAVOUR_B, 0.2, 0.05, {0.3F, -1.0F, 2.0F, 0.1F}},
        {PQ_FLAVOUR_B, 0.0, 0.0, {1.0F, 5.0F, -2.0F, 0.0F}},
        {PQ_FLAVOUR_B, 1.0, 0.0, {1.0F, 5.0F, -2.0F, 0.0F}},
        {PQ_FLAVOUR_C, 0.3, 0.01, {0.0F, 1.5F, 0.5F, -3.0F}},
    };
    static const char *const all[]   = {"light", "c", "b", "tau"};
    static const size_t      place[] = {2, 1, 0, 3};

    for (size_t t = 0; t < sizeof table / sizeof *table; t++) {
        float             p[4];
        double            sum = 0.0, below = 0.0;
        pq_evaluation     e = {.n = 1, .classes = 4, .width = 4, .class_names = all};
        pq_flavours       classes;
        pq_flavour_shares shares;
        for (size_t k = 0; k < 4; k++) {
            sum += exp((double)table[t].l[k]);
        }
        for (size_t k = 0; k < 4; k++) {
            p[k] = (float)(exp((double)table[t].l[k]) / sum);
        }
        cr_assert_eq(pq_flavours_find(4, all, &classes, NULL), PQ_OK);
        cr_assert_eq(pq_flavour_shares_make(&classes, table[t].signal, table[t].other,
                                            table[t].tau, &shares, NULL),
                     PQ_OK);
        for (size_t f = 0; f < 4; f++) {
            below += shares.of[f] * exp((double)table[t].l[place[f]]);
        }
        const double due = log(exp((double)table[t].l[place[table[t].signal]]) / below);
        e.head           = PQ_HEAD_LOGITS;
        e.outputs        = table[t].l;
        cr_expect_float_eq(
            pq_flavour_discriminant(&e, 0, &classes, table[t].signal, &shares), due, TOL);
        e.head    = PQ_HEAD_SOFTMAX;
        e.outputs = p;
        cr_expect_float_eq(
            pq_flavour_discriminant(&e, 0, &classes, table[t].signal, &shares), due,
            1e-6);
    }
}

/* Saturated probabilities tie; logits do not. */
Test(btag, logits_keep_the_order_that_probabilities_lose)
{
    static const float  l[] = {-60.0F, -70.0F, 60.0F, -60.0F, -70.0F, 61.0F};
    const pq_evaluation e   = three_flavours(2, PQ_HEAD_LOGITS, l);
    pq_flavours         classes;
    pq_flavour_shares   shares;

    cr_assert_eq(pq_flavours_find(3, names, &classes, NULL), PQ_OK);
    cr_assert_eq(
        pq_flavour_shares_make(&classes, PQ_FLAVOUR_B, 0.018, 0.0, &shares, NULL), PQ_OK);
    cr_expect_float_eq(
        pq_flavour_discriminant(&e, 1, &classes, PQ_FLAVOUR_B, &shares) -
            pq_flavour_discriminant(&e, 0, &classes, PQ_FLAVOUR_B, &shares),
        1.0, TOL);
}

Test(btag, working_points_are_the_greatest_cuts_that_reach_them)
{
    static const double rates[] = {0.6, 0.65, 0.7, 0.77, 0.85, 0.9};
    const pq_evaluation e       = make(0.1);
    pq_values           values  = {0};

    cr_assert_eq(tag(&e, 0.1, NULL, &values, NULL), PQ_OK);
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        char   name[64];
        double cut, next = INFINITY;
        snprintf(name, sizeof name, "btag.%g.cut", 100.0 * rates[i]);
        cut = value_of(&values, name);
        cr_expect_geq(passes(2, cut), rates[i] - TOL);
        for (size_t k = 0; k < N; k++) {
            next = score[k] > cut && score[k] < next ? score[k] : next;
        }
        cr_expect(passes(2, next) < rates[i] || fabs(passes(2, cut) - rates[i]) < 1e-3);
        snprintf(name, sizeof name, "btag.%g.efficiency", 100.0 * rates[i]);
        cr_expect_float_eq(value_of(&values, name), passes(2, cut), TOL);
        for (int32_t f = 0; f < 2; f++) {
            const pq_value *v;
            snprintf(name, sizeof name, "btag.%g.rejection_%s", 100.0 * rates[i],
                     f == 0 ? "light" : "c");
            v = pq_values_find(&values, name);
            cr_assert_not_null(v);
            cr_expect_float_eq(1.0 / v->value, passes(f, cut), TOL);
            cr_expect(v->lo < v->value && (v->value < v->hi || isinf(v->value)));
        }
    }
    pq_values_free(&values);
}

/* One jet of each flavour above the rest, and no light jet: a limit. */
Test(btag, zero_passing_jets_give_a_limit)
{
    const pq_evaluation e = make(0.018);
    pq_tag_point        p = {0};
    pq_value            v;

    (void)e;
    for (size_t i = 0; i < 100; i++) {
        pq_fraction_add(&p.side[PQ_FLAVOUR_LIGHT], 1.0, false);
    }
    v = pq_tag_rejection(&p, PQ_FLAVOUR_LIGHT, true);
    cr_expect(isinf(v.value) && isinf(v.hi));
    cr_expect_float_eq(v.lo, 1.0 / (1.0 - pow(0.5 * (1.0 - PQ_ONE_SIGMA), 0.01)), 1e-9);
    cr_expect_not_null(v.note);
}

static pq_status third(const void *context, const char *name, size_t n, double *out,
                       pq_err *err)
{
    (void)context;
    if (strcmp(name, "pt") != 0) {
        return pq_err_set(err, PQ_ERR_NOT_FOUND, __FILE__, __LINE__, "no column '%s'",
                          name);
    }
    for (size_t i = 0; i < n; i++) {
        out[i] = (double)(i / 3 % 3) * 10.0; /* 0, 10, 20 */
    }
    return PQ_OK;
}

Test(btag, bins_count_the_jets_in_them_and_bad_ones_are_refused)
{
    static const pq_columns columns = {third, NULL};
    static const struct {
        const char *bins, *message;
        pq_status   st;
    } table[] = {
        {"pt=0:10:20", NULL, PQ_OK},
        {"pt=0:10:10", "bins: the edges of pt do not rise: 10 after 10", PQ_ERR_CONFIG},
        {"pt=0", "bins: pt has 1 edges, not 2..101", PQ_ERR_CONFIG},
        {"pt=0:x", "bins: the edge 'x' of pt is not a number", PQ_ERR_CONFIG},
        {"pt", "bins: 'pt' is not a column and its edges, as pt=20:50:100",
         PQ_ERR_CONFIG},
        {"pt=30:40", "bins: no jet has pt in 30..40", PQ_ERR_CONFIG},
        {"eta=0:1", "no column 'eta'", PQ_ERR_NOT_FOUND},
    };
    pq_evaluation e      = make(0.018);
    pq_values     values = {0};

    e.columns = &columns;
    for (size_t t = 0; t < sizeof table / sizeof *table; t++) {
        pq_err err = {0};
        cr_expect_eq(tag(&e, 0.018, table[t].bins, &values, &err), table[t].st);
        cr_expect_str_eq(err.message, table[t].message != NULL ? table[t].message : "");
    }
    const double cut    = value_of(&values, "btag.70.cut");
    const double seen[] = {value_of(&values, "btag.70.pt.0_10.efficiency"),
                           value_of(&values, "btag.70.pt.10_20.efficiency")};
    for (size_t b = 0; b < 2; b++) { /* the upper edge belongs to the last bin */
        double pass = 0.0, all = 0.0;
        for (size_t i = 0; i < N; i++) {
            const bool in = b == 0 ? i / 3 % 3 == 0 : i / 3 % 3 != 0;
            all += in && labels[i] == 2;
            pass += in && labels[i] == 2 && score[i] >= cut;
        }
        cr_expect_float_eq(seen[b], pass / all, TOL);
    }
    pq_values_free(&values);
}

/* b jets set the cut of `flat`, light ones that of `rejection`: where there are none no
 * cut is, and nothing that passes it. */
Test(btag, a_bin_has_no_values_without_the_jets_that_set_its_cut)
{
    static const pq_columns columns = {third, NULL};
    static const struct {
        int     how;
        int32_t flavour; /* that is missing below 10 */
    } table[] = {{PQ_BIN_FLAT, 2}, {PQ_BIN_REJECTION, 0}};

    for (size_t t = 0; t < sizeof table / sizeof *table; t++) {
        pq_evaluation  e      = make(0.018);
        pq_btag_params p      = {0};
        pq_values      values = {0};
        for (size_t i = 0; i < N; i++) {
            labels[i] = i / 3 % 3 == 0 && labels[i] == table[t].flavour ? 1 : labels[i];
        }
        e.columns = &columns;
        cr_assert_eq(pq_params_default(pq_btag_table, &p, NULL), PQ_OK);
        p.bins    = pq_format("pt=0:10:20");
        p.bin_cut = table[t].how;
        cr_assert_eq(pq_btag_evaluate(&e, &p, &values, NULL), PQ_OK);
        for (size_t i = 0; i < values.n; i++) {
            cr_expect(strstr(values.items[i].name, ".pt.0_10.") == NULL, "%s is %g",
                      values.items[i].name, values.items[i].value);
        }
        cr_expect_not_null(pq_values_find(&values, "btag.70.pt.10_20.efficiency"));
        cr_expect_not_null(pq_values_find(&values, "btag.70.pt.10_20.rejection_light"));
        pq_values_free(&values);
        pq_params_free(pq_btag_table, &p);
    }
}

Test(btag, cuts_are_the_least_that_hold_the_mistag_rate)
{
    static const struct {
        const char *name;
        int32_t     flavour;
        double      rate;
    } table[]                  = {{"light.0.1", 0, 0.1},
                                  {"light.0.01", 0, 0.01},
                                  {"c.0.1", 1, 0.1},
                                  {"c.0.001", 1, 0.001}};
    const pq_evaluation e      = make(0.018);
    pq_values           values = {0};

    cr_assert_eq(tag(&e, 0.018, NULL, &values, NULL), PQ_OK);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char   name[64];
        double cut, next = -INFINITY;
        snprintf(name, sizeof name, "btag.%s.cut", table[i].name);
        cut = value_of(&values, name);
        cr_assert_leq(passes(table[i].flavour, cut), table[i].rate);
        for (size_t k = 0; k < N; k++) {
            next = score[k] < cut && score[k] > next ? score[k] : next;
        }
        cr_assert_gt(passes(table[i].flavour, next), table[i].rate, "%s", name);
        snprintf(name, sizeof name, "btag.%s.efficiency", table[i].name);
        cr_assert_float_eq(value_of(&values, name), passes(2, cut), TOL);
        snprintf(name, sizeof name, "btag.%s.mistag", table[i].name);
        cr_assert_float_eq(value_of(&values, name), passes(table[i].flavour, cut), TOL);
    }
    cr_assert_float_eq(value_of(&values, "btag.light.0.1.rejection_c"),
                       1.0 / passes(1, value_of(&values, "btag.light.0.1.cut")), 1e-9);
    pq_values_free(&values);
}

Test(btag, histograms_of_probabilities_count_every_jet_once)
{
    static const size_t class_of[] = {2, 1, 0}; /* of b, c, light */
    const pq_evaluation e          = make(0.018);
    pq_btag_params      p          = {0};
    pq_btag_curves      c;

    cr_assert_eq(pq_params_default(pq_btag_table, &p, NULL), PQ_OK);
    cr_assert_eq(pq_btag_curves_make(&e, &p, &c, NULL), PQ_OK);
    for (size_t o = 0; o < PQ_FLAVOURS; o++) {
        for (size_t f = 0; f < PQ_FLAVOURS; f++) {
            const size_t k = 1 + o * PQ_FLAVOURS + f;
            for (size_t b = 0; b < PQ_BTAG_P_BINS; b++) {
                const double lo = c.probability[b][0], hi = c.probability[b + 1][0];
                size_t       in = 0;
                if (o == PQ_FLAVOUR_TAU || f == PQ_FLAVOUR_TAU) {
                    cr_expect(isnan(c.probability[b][k]));
                    continue;
                }
                for (size_t i = class_of[f]; i < N; i += 3) {
                    const double x = (double)outputs[i * 3 + class_of[o]];
                    in += x >= lo && (x < hi || b + 1 == PQ_BTAG_P_BINS) ? 1 : 0;
                }
                cr_expect_float_eq(c.probability[b][k], (double)in / (N / 3), TOL,
                                   "output %zu, flavour %zu, bin %zu", o, f, b);
            }
        }
    }
    cr_expect_eq(c.probability[0][0], 0.0);
    cr_expect_eq(c.probability[PQ_BTAG_P_BINS][0], 1.0);
    pq_params_free(pq_btag_table, &p);
}

/* The scan selects without sorting: against the plain evaluation at each f_c. */
Test(btag, curves_are_the_plain_numbers)
{
    const pq_evaluation e = make(0.018);
    pq_btag_params      p = {0};
    pq_btag_curves      c;
    double              sum[3] = {0.0};

    cr_assert_eq(pq_params_default(pq_btag_table, &p, NULL), PQ_OK);
    cr_assert_eq(pq_btag_curves_make(&e, &p, &c, NULL), PQ_OK);
    for (size_t i = 0; i <= PQ_BTAG_SCAN; i++) {
        pq_values values = {0};
        cr_assert_eq(tag(&e, c.scan[i][0], NULL, &values, NULL), PQ_OK);
        cr_expect_float_eq(1.0 / c.scan[i][1],
                           1.0 / value_of(&values, "btag.70.rejection_light"), TOL);
        cr_expect_float_eq(1.0 / c.scan[i][2],
                           1.0 / value_of(&values, "btag.70.rejection_c"), TOL);
        if (i == PQ_BTAG_SCAN) {
            cr_expect_eq(c.scan[i][0], p.f_c);
            cr_expect_float_eq(1.0 / c.roc[20][1],
                               1.0 / value_of(&values, "btag.70.rejection_light"), TOL);
        }
        pq_values_free(&values);
    }
    for (size_t b = 0; b < PQ_BTAG_BINS; b++) {
        for (size_t f = 0; f < 3; f++) {
            sum[f] += c.histogram[b][1 + f];
        }
        cr_expect(isnan(c.histogram[b][1 + PQ_FLAVOUR_TAU]));
    }
    for (size_t f = 0; f < 3; f++) {
        cr_expect_float_eq(sum[f], 1.0, 1e-9);
    }
    cr_expect_eq(c.histogram[PQ_BTAG_BINS][0], pq_btag_edge_hi);
    pq_params_free(pq_btag_table, &p);
}

Test(btag, of_equal_scores_all_pass_or_none)
{
    const pq_evaluation e      = make(0.018);
    pq_values           values = {0};

    for (size_t i = 0; i < N * 3; i++) {
        outputs[i] = 1.0F / 3.0F;
    }
    cr_assert_eq(tag(&e, 0.018, NULL, &values, NULL), PQ_OK);
    cr_assert_eq(value_of(&values, "btag.light.0.1.efficiency"), 0.0);
    cr_assert(isinf(value_of(&values, "btag.light.0.1.cut")));
    pq_values_free(&values);
}

/* What is wrong with one evaluation, and the sentence that says so. */
typedef struct {
    const char *what;
    double      f_c, f_tau, weight; /* of event 7; 1: none has another */
    float       output;             /* of event 7; 1: as it is */
    const char *classes[3], *bins, *message;
} wrong;

Test(btag, refuses_what_it_cannot_mean)
{
    static const wrong table[] = {
        {"f_c above 1",
         1.5,
         0,
         1,
         1,
         {"light", "c", "b"},
         NULL,
         "f_c = 1.5 is not in 0..1"},
        {"f_c below 0",
         -0.1,
         0,
         1,
         1,
         {"light", "c", "b"},
         NULL,
         "f_c = -0.1 is not in 0..1"},
        {"sum above 1",
         0.6,
         0.6,
         1,
         1,
         {"light", "c", "tau"},
         NULL,
         "classes b and light (and c): there is no b"},
        {"shares",
         0.6,
         0.6,
         1,
         1,
         {"light", "tau", "b"},
         NULL,
         "f_c + f_tau = 0.6 + 0.6 is above 1"},
        {"tau without a class", 0.1, 0.1, 1, 1, {"light", "c", "b"}, NULL, "f_tau = 0.1"},
        {"quarks",
         0.018,
         0,
         1,
         1,
         {"g", "q", "w"},
         NULL,
         "class 'g' is none of b, c, light and tau"},
        {"no light",
         0.018,
         0,
         1,
         1,
         {"c", "tau", "b"},
         NULL,
         "classes b and light (and c): there is no light"},
        {"NaN", 0.018, 0, 1, NAN, {"light", "c", "b"}, NULL, "event 7: output 1 is nan"},
        {"infinity",
         0.018,
         0,
         1,
         INFINITY,
         {"light", "c", "b"},
         NULL,
         "event 7: output 1 is inf"},
        {"negative",
         0.018,
         0,
         -2,
         1,
         {"light", "c", "b"},
         NULL,
         "event 7: weight -2 is negative: negative_weights: true under evaluate, or "
         "--negative-weights, takes such"},
        {"weight NaN",
         0.018,
         0,
         NAN,
         1,
         {"light", "c", "b"},
         NULL,
         "event 7: weight nan is not finite"},
        {"no column",
         0.018,
         0,
         1,
         1,
         {"light", "c", "b"},
         "pt=0:1",
         "bins: there are no columns"},
    };

    for (size_t t = 0; t < sizeof table / sizeof *table; t++) {
        const wrong   *w = &table[t];
        static float   weights[N];
        pq_evaluation  e      = make(0.018);
        pq_values      values = {0};
        pq_err         err    = {0};
        pq_btag_params p      = {0};
        for (size_t i = 0; i < N; i++) {
            weights[i] = i == 7 ? (float)w->weight : 1.0F;
        }
        outputs[7 * 3 + 1] = w->output == 1.0F ? outputs[7 * 3 + 1] : w->output;
        e.weights          = weights;
        e.class_names      = w->classes;
        cr_assert_eq(pq_params_default(pq_btag_table, &p, NULL), PQ_OK);
        p.f_c   = w->f_c;
        p.f_tau = w->f_tau;
        p.bins  = w->bins != NULL ? pq_format("%s", w->bins) : NULL;
        cr_expect_neq(pq_btag_evaluate(&e, &p, &values, &err), PQ_OK, "%s", w->what);
        cr_expect_not_null(strstr(err.message, w->message), "%s: %s", w->what,
                           err.message);
        pq_values_free(&values);
        pq_params_free(pq_btag_table, &p);
    }
}

Test(btag, a_flavour_without_jets_is_named)
{
    static const char *const due[] = {"there are no light jets", NULL,
                                      "there are no b jets"};

    for (int32_t gone = 0; gone < 3; gone++) {
        pq_evaluation e      = make(0.018);
        pq_values     values = {0};
        pq_err        err    = {0};
        for (size_t i = 0; i < N; i++) {
            labels[i] = labels[i] == gone ? (gone + 1) % 3 : labels[i];
        }
        if (due[gone] != NULL) {
            cr_expect_eq(tag(&e, 0.018, NULL, &values, &err), PQ_ERR_CONFIG);
            cr_expect_str_eq(err.message, due[gone]);
        } else { /* c: no rejection of it, the rest stands */
            cr_expect_eq(tag(&e, 0.018, NULL, &values, &err), PQ_OK, "%s", err.message);
            cr_expect_null(pq_values_find(&values, "btag.70.rejection_c"));
            cr_expect_not_null(pq_values_find(&values, "btag.70.rejection_light"));
        }
        pq_values_free(&values);
    }
}

/* Scores that do not sum to one: D is of their ratios, so a common factor changes
 * nothing. */
Test(btag, a_common_factor_of_an_event_changes_no_cut)
{
    pq_evaluation e   = make(0.018);
    pq_values     one = {0}, scaled = {0};

    cr_assert_eq(tag(&e, 0.018, NULL, &one, NULL), PQ_OK);
    for (size_t i = 0; i < (size_t)N * 3; i++) {
        outputs[i] *= 0.5F; /* exact */
    }
    cr_assert_eq(tag(&e, 0.018, NULL, &scaled, NULL), PQ_OK);
    cr_assert_eq(one.n, scaled.n);
    for (size_t i = 0; i < one.n; i++) {
        if (strstr(one.items[i].name, ".cut") != NULL) {
            cr_expect_float_eq(one.items[i].value, scaled.items[i].value, 1e-12, "%s",
                               one.items[i].name);
        } else {
            cr_expect_eq(one.items[i].value, scaled.items[i].value, "%s",
                         one.items[i].name);
        }
    }
    pq_values_free(&one);
    pq_values_free(&scaled);
}

/* A working point that even the smallest score has to be let in for: all pass. */
Test(btag, a_working_point_below_the_smallest_score_lets_all_pass)
{
    pq_evaluation  e      = make(0.018);
    pq_values      values = {0};
    pq_btag_params p      = {0};
    double         least  = INFINITY;

    cr_assert_eq(pq_params_default(pq_btag_table, &p, NULL), PQ_OK);
    p.working_points = (pq_reals){1, {1.0}};
    cr_assert_eq(pq_btag_evaluate(&e, &p, &values, NULL), PQ_OK);
    for (size_t i = 0; i < N; i++) {
        least = labels[i] == 2 ? fmin(least, score[i]) : least;
    }
    cr_expect_eq(value_of(&values, "btag.100.cut"), least);
    cr_expect_eq(value_of(&values, "btag.100.efficiency"), 1.0);
    cr_expect_float_eq(value_of(&values, "btag.100.rejection_light"),
                       1.0 / passes(0, least), TOL);
    pq_values_free(&values);
    for (size_t i = 0; i < (size_t)N * 3; i++) { /* one score for all */
        outputs[i] = 0.25F;
    }
    cr_assert_eq(pq_btag_evaluate(&e, &p, &values, NULL), PQ_OK);
    cr_expect_eq(value_of(&values, "btag.distinct"), 1.0);
    cr_expect_eq(value_of(&values, "btag.100.rejection_light"), 1.0);
    pq_values_free(&values);
    pq_params_free(pq_btag_table, &p);
}
