#include "metrics/btag.h"

#include <math.h>

#include "core/memory.h"
#include "core/text.h"

static const char *const bin_cuts[] = {"fixed", "flat", "rejection", NULL};

const pq_param pq_btag_table[] = {
    {.name     = "f_c",
     .type     = PQ_PARAM_REAL,
     .offset   = offsetof(pq_btag_params, f_c),
     .fallback = "0.018",
     .min      = 0,
     .max      = 1,
     .help     = "share of c jets in D_b, 0..1; light jets have what is left"},
    {.name     = "f_tau",
     .type     = PQ_PARAM_REAL,
     .offset   = offsetof(pq_btag_params, f_tau),
     .fallback = "0",
     .min      = 0,
     .max      = 1,
     .help     = "share of tau jets in D_b and D_c, 0..1"},
    {.name     = "f_b",
     .type     = PQ_PARAM_REAL,
     .offset   = offsetof(pq_btag_params, f_b),
     .fallback = "0.2",
     .min      = 0,
     .max      = 1,
     .help     = "share of b jets in D_c, 0..1"},
    {.name     = "working_points",
     .type     = PQ_PARAM_LIST,
     .offset   = offsetof(pq_btag_params, working_points),
     .fallback = "0.6,0.65,0.7,0.77,0.85,0.9",
     .min      = 1e-6,
     .max      = 1,
     .help     = "efficiencies of b jets at which D_b is cut"},
    {.name   = "c_working_points",
     .type   = PQ_PARAM_LIST,
     .offset = offsetof(pq_btag_params, c_working_points),
     .min    = 1e-6,
     .max    = 1,
     .help   = "efficiencies of c jets at which D_c is cut"},
    {.name     = "mistag_rates",
     .type     = PQ_PARAM_LIST,
     .offset   = offsetof(pq_btag_params, mistag_rates),
     .fallback = "0.1,0.01,0.001",
     .min      = 1e-9,
     .max      = 1,
     .help     = "mistag rates of light and of c jets at which D_b is cut"},
    {.name     = "cut_error",
     .type     = PQ_PARAM_BOOL,
     .offset   = offsetof(pq_btag_params, cut_error),
     .fallback = "true",
     .help = "whether intervals hold the error of the cut itself, which comes from the "
             "same jets"},
    {.name     = "pseudo_continuous",
     .type     = PQ_PARAM_BOOL,
     .offset   = offsetof(pq_btag_params, pseudo_continuous),
     .fallback = "false",
     .help     = "the part of each flavour between neighbouring working points too"},
    {.name   = "bins",
     .type   = PQ_PARAM_STRING,
     .offset = offsetof(pq_btag_params, bins),
     .help   = "columns of the data and edges of their bins, in the file's unit: "
               "{pt: [20, 50, 100]}"},
    {.name     = "bin_cut",
     .type     = PQ_PARAM_CHOICE,
     .offset   = offsetof(pq_btag_params, bin_cut),
     .fallback = "fixed",
     .choices  = bin_cuts,
     .help = "cut in bins: fixed, that of the inclusive working point; flat, the working "
             "point in each bin; rejection, a fixed rejection of light jets in each bin"},
    {.name     = "bin_working_point",
     .type     = PQ_PARAM_REAL,
     .offset   = offsetof(pq_btag_params, bin_working_point),
     .fallback = "0.7",
     .min      = 1e-6,
     .max      = 1,
     .help     = "efficiency of b jets of the bins"},
    {.name     = "bin_rejection",
     .type     = PQ_PARAM_REAL,
     .offset   = offsetof(pq_btag_params, bin_rejection),
     .fallback = "100",
     .min      = 1,
     .max      = 1e9,
     .help     = "rejection of light jets of the bins, where bin_cut is rejection"},
    {0},
};

char *pq_btag_name(pq_flavour signal, double rate)
{
    return pq_format("%stag.%.10g", pq_flavour_name(signal), 100.0 * rate);
}

pq_status pq_btag_add(pq_values *out, const char *prefix, const char *what, pq_value v,
                      pq_err *err)
{
    char     *name = pq_format("%s.%s", prefix, what);
    pq_status st;

    PQ_CHECK(name != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    PQ_TRY(pq_values_add(out, name, v.value, v.lo, v.hi, v.n, "", v.better, err));
    out->items[out->n - 1].note = v.note;
cleanup:
    pq_free(name);
    return st;
}

pq_status pq_btag_add_rejections(pq_values *out, const char *prefix, pq_flavour signal,
                                 const pq_tag_point *point, bool cut_error, pq_err *err)
{
    static const pq_flavour order[] = {PQ_FLAVOUR_LIGHT, PQ_FLAVOUR_C, PQ_FLAVOUR_B,
                                       PQ_FLAVOUR_TAU};
    char                    what[32];
    pq_status               st = PQ_OK;

    for (size_t i = 0; i < PQ_FLAVOURS; i++) {
        if (order[i] != signal && point->side[order[i]].weight > 0.0) {
            pq_snprintf(what, sizeof what, "rejection_%s", pq_flavour_name(order[i]));
            PQ_TRY(pq_btag_add(out, prefix, what,
                               pq_tag_rejection(point, order[i], cut_error), err));
        }
    }
cleanup:
    return st;
}

static pq_value bare(double value)
{
    return (pq_value){.value = value, .lo = (double)NAN, .hi = (double)NAN};
}

static pq_status add_point(const pq_tagged *jets, pq_flavour signal, double rate,
                           bool cut_error, pq_values *out, pq_err *err)
{
    char        *prefix = pq_btag_name(signal, rate);
    pq_tag_point point;
    pq_value     v;
    pq_status    st;

    PQ_CHECK(prefix != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    pq_tagged_point(jets, signal, rate, true, &point);
    v = pq_tag_rate(&point, signal, false);
    PQ_TRY(pq_btag_add(out, prefix, "efficiency", v, err));
    PQ_TRY(pq_btag_add(out, prefix, "cut", bare(point.cut), err));
    PQ_TRY(pq_btag_add_rejections(out, prefix, signal, &point, cut_error, err));
cleanup:
    pq_free(prefix);
    return st;
}

/* The part of each flavour between each two neighbouring working points, in falling order
 * of efficiency, from 100 % to 0. */
static pq_status add_between(const pq_tagged *jets, const pq_reals *points,
                             pq_values *out, pq_err *err)
{
    double       last = 1.0;
    pq_tag_point loose, tight;
    pq_status    st = PQ_OK;

    pq_tagged_at(jets, -(double)INFINITY, &loose);
    for (size_t done = 0; last > 0.0; done++) {
        double next = 0.0;
        char   prefix[64];
        for (size_t i = 0; i < points->n; i++) {
            next = points->value[i] < last && points->value[i] > next ? points->value[i]
                                                                      : next;
        }
        pq_tagged_at(jets,
                     next > 0.0 ? pq_tagged_cut_least(jets, PQ_FLAVOUR_B, next)
                                : (double)INFINITY,
                     &tight);
        pq_snprintf(prefix, sizeof prefix, "btag.%.10g_%.10g", 100.0 * next,
                    100.0 * last);
        for (size_t f = 0; f < PQ_FLAVOURS; f++) {
            pq_tag_point between = tight;
            between.side[f].pass = loose.side[f].pass - tight.side[f].pass;
            between.side[f].pass_squares =
                fmax(loose.side[f].pass_squares - tight.side[f].pass_squares, 0.0);
            if (jets->total[f] > 0.0) {
                PQ_TRY(pq_btag_add(out, prefix, pq_flavour_name((pq_flavour)f),
                                   pq_tag_rate(&between, (pq_flavour)f, false), err));
            }
        }
        loose = tight;
        last  = next;
    }
cleanup:
    return st;
}

static pq_status add_mistag(const pq_tagged *jets, pq_flavour background, double rate,
                            bool cut_error, pq_values *out, pq_err *err)
{
    const pq_flavour other =
        background == PQ_FLAVOUR_LIGHT ? PQ_FLAVOUR_C : PQ_FLAVOUR_LIGHT;
    char         prefix[64], what[32];
    pq_tag_point point;
    pq_value     v;
    pq_status    st;

    pq_snprintf(prefix, sizeof prefix, "btag.%s.%g", pq_flavour_name(background), rate);
    pq_tagged_point(jets, background, rate, false, &point);
    v        = pq_tag_rate(&point, PQ_FLAVOUR_B, cut_error);
    v.better = PQ_BETTER_HIGHER;
    PQ_TRY(pq_btag_add(out, prefix, "efficiency", v, err));
    PQ_TRY(
        pq_btag_add(out, prefix, "mistag", pq_tag_rate(&point, background, false), err));
    PQ_TRY(pq_btag_add(out, prefix, "cut", bare(point.cut), err));
    if (point.side[other].weight > 0.0) {
        pq_snprintf(what, sizeof what, "rejection_%s", pq_flavour_name(other));
        PQ_TRY(pq_btag_add(out, prefix, what, pq_tag_rejection(&point, other, cut_error),
                           err));
    }
cleanup:
    return st;
}

static pq_status add_b_tagging(const pq_evaluation *e, const pq_tagged *jets,
                               const pq_btag_params *p, pq_values *out, pq_err *err)
{
    static const pq_flavour held[] = {PQ_FLAVOUR_LIGHT, PQ_FLAVOUR_C};
    pq_status               st;

    PQ_TRY(pq_btag_add(out, "btag", "distinct", bare((double)jets->distinct), err));
    for (size_t i = 0; i < p->working_points.n; i++) {
        PQ_TRY(add_point(jets, PQ_FLAVOUR_B, p->working_points.value[i], p->cut_error,
                         out, err));
    }
    for (size_t h = 0; h < 2; h++) {
        for (size_t i = 0; jets->total[held[h]] > 0.0 && i < p->mistag_rates.n; i++) {
            PQ_TRY(add_mistag(jets, held[h], p->mistag_rates.value[i], p->cut_error, out,
                              err));
        }
    }
    if (p->pseudo_continuous) {
        PQ_TRY(add_between(jets, &p->working_points, out, err));
    }
    if (p->bins != NULL) {
        PQ_TRY(pq_btag_add_bins(e, jets, p, out, err));
    }
cleanup:
    return st;
}

/* That there are jets of a flavour, which count. */
static pq_status check_side(const pq_tagged *jets, pq_flavour flavour, pq_err *err)
{
    const char *name = pq_flavour_name(flavour);
    pq_status   st   = PQ_OK;

    PQ_CHECK(jets->all[flavour].events > 0.0, PQ_ERR_CONFIG, "there are no %s jets",
             name);
    PQ_CHECK(jets->total[flavour] > 0.0, PQ_ERR_CONFIG,
             "the weights of %s jets add up to %g, not to more than 0", name,
             jets->total[flavour]);
cleanup:
    return st;
}

pq_status pq_btag_jets(const pq_evaluation *e, pq_flavour signal,
                       const pq_btag_params *params, pq_tagged *out, pq_err *err)
{
    pq_flavours       classes;
    pq_flavour_shares shares;
    pq_tagged         jets = {0};
    pq_status         st;

    PQ_TRY(pq_evaluation_check(e, err));
    PQ_CHECK(pq_evaluation_improbable(e) == NULL, PQ_ERR_CONFIG, "b-tagging: %s",
             pq_evaluation_improbable(e));
    PQ_TRY(pq_flavours_find(e->classes, e->class_names, &classes, err));
    PQ_TRY(pq_flavour_shares_make(&classes, signal,
                                  signal == PQ_FLAVOUR_B ? params->f_c : params->f_b,
                                  params->f_tau, &shares, err));
    PQ_TRY(pq_tagged_make(e, &classes, signal, &shares, &jets, err));
    PQ_TRY(check_side(&jets, signal, err));
    PQ_TRY(check_side(&jets, PQ_FLAVOUR_LIGHT, err));
    *out = jets;
    jets = (pq_tagged){0};
cleanup:
    pq_tagged_free(&jets);
    return st;
}

static pq_status evaluate(const pq_evaluation *e, const pq_btag_params *p, pq_values *out,
                          pq_err *err)
{
    pq_tagged jets = {0};
    pq_status st;

    PQ_TRY(pq_btag_jets(e, PQ_FLAVOUR_B, p, &jets, err));
    PQ_TRY(add_b_tagging(e, &jets, p, out, err));
    if (p->c_working_points.n > 0) {
        pq_tagged_free(&jets);
        PQ_TRY(pq_btag_jets(e, PQ_FLAVOUR_C, p, &jets, err));
    }
    for (size_t i = 0; i < p->c_working_points.n; i++) {
        PQ_TRY(add_point(&jets, PQ_FLAVOUR_C, p->c_working_points.value[i], p->cut_error,
                         out, err));
    }
cleanup:
    pq_tagged_free(&jets);
    return st;
}

pq_status pq_btag_evaluate(const pq_evaluation *e, const pq_btag_params *params,
                           pq_values *out, pq_err *err)
{
    pq_btag_params defaults = {0};
    pq_status      st;

    PQ_TRY(pq_params_default(pq_btag_table, &defaults, err));
    PQ_TRY(evaluate(e, params != NULL ? params : &defaults, out, err));
cleanup:
    pq_params_free(pq_btag_table, &defaults);
    return st;
}

static pq_status compute(const pq_evaluation *e, const void *params, pq_values *out,
                         pq_err *err)
{
    return pq_btag_evaluate(e, params, out, err);
}

/* Whether classes are flavours, and both b and light jets are there, where labels are. */
static bool usual(const pq_evaluation *e)
{
    pq_flavours classes;
    double      b = 0.0, light = 0.0;

    if (e->class_names == NULL ||
        pq_flavours_find(e->classes, e->class_names, &classes, NULL) != PQ_OK) {
        return false;
    }
    for (size_t i = 0; e->labels != NULL && i < e->n; i++) {
        const double w     = pq_evaluation_weight(e, i);
        const size_t label = (size_t)e->labels[i];
        b += label == classes.at[PQ_FLAVOUR_B] ? w : 0.0;
        light += label == classes.at[PQ_FLAVOUR_LIGHT] ? w : 0.0;
    }
    return e->labels == NULL || (b > 0.0 && light > 0.0);
}

static pq_status check_keys(const pq_evaluation *e, const pq_btag_params *p, pq_err *err)
{
    pq_flavours       classes;
    pq_flavour_shares shares;
    pq_status         st = pq_flavours_find(e->classes, e->class_names, &classes, err);

    if (st != PQ_OK) {
        pq_err_context(err, "the classes are no flavours of jets");
        goto cleanup;
    }
    PQ_TRY(
        pq_flavour_shares_make(&classes, PQ_FLAVOUR_B, p->f_c, p->f_tau, &shares, err));
    if (p->c_working_points.n > 0) {
        PQ_CHECK(classes.at[PQ_FLAVOUR_C] != SIZE_MAX, PQ_ERR_CONFIG,
                 "c_working_points: there is no class of c jets");
        PQ_TRY(pq_flavour_shares_make(&classes, PQ_FLAVOUR_C, p->f_b, p->f_tau, &shares,
                                      err));
    }
    if (p->bins != NULL) {
        PQ_TRY(pq_btag_check_bins(e, p, err));
    }
cleanup:
    return st;
}

static pq_status fits(const pq_evaluation *e, const void *params, pq_err *err)
{
    pq_btag_params defaults = {0};
    pq_status      st;

    PQ_TRY(pq_params_default(pq_btag_table, &defaults, err));
    PQ_TRY(check_keys(e, params != NULL ? params : &defaults, err));
cleanup:
    pq_params_free(pq_btag_table, &defaults);
    return st;
}

static const char *const given[] = {"btag.*", "ctag.*", NULL};

const pq_metric pq_metric_btag = {
    .name   = "btag",
    .values = given,
    .summary =
        "flavour tagging: at working points of D_b (and D_c) the efficiency, the cut and "
        "the rejections of light, c and tau jets; Clopper-Pearson, with the cut's error",
    .source      = "arXiv:2211.16345",
    .params      = pq_btag_table,
    .params_size = sizeof(pq_btag_params),
    .version     = "1",
    .refuses     = pq_evaluation_improbable,
    .usual       = usual,
    .fits        = fits,
    .compute     = compute,
};
