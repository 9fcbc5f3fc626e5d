#include "metrics/btag_curves.h"

#include <math.h>

#include "core/memory.h"

const double pq_btag_edge_lo = -10.0, pq_btag_edge_hi = 15.0;

static void put(double row[3], const pq_tag_point *p, pq_flavour flavour, bool cut_error)
{
    const pq_value v = pq_tag_rejection(p, flavour, cut_error);

    row[0] = v.value;
    row[1] = v.lo;
    row[2] = v.hi;
}

static void make_roc(const pq_tagged *jets, bool cut_error, pq_btag_curves *out)
{
    for (size_t i = 0; i < PQ_BTAG_ROC_POINTS; i++) {
        const double rate = 0.5 + 0.5 * (double)i / (PQ_BTAG_ROC_POINTS - 1);
        pq_tag_point p;
        pq_tagged_point(jets, PQ_FLAVOUR_B, rate, true, &p);
        out->roc[i][0] = pq_fraction_value(&p.side[PQ_FLAVOUR_B]);
        put(&out->roc[i][1], &p, PQ_FLAVOUR_LIGHT, cut_error);
        put(&out->roc[i][4], &p, PQ_FLAVOUR_C, cut_error);
    }
}

static void make_histogram(const pq_tagged *jets, pq_btag_curves *out)
{
    const double width = (pq_btag_edge_hi - pq_btag_edge_lo) / PQ_BTAG_BINS;

    for (size_t b = 0; b <= PQ_BTAG_BINS; b++) {
        out->histogram[b][0] = pq_btag_edge_lo + width * (double)b;
        for (size_t f = 0; f < PQ_FLAVOURS; f++) {
            out->histogram[b][1 + f] = jets->total[f] > 0.0 ? 0.0 : (double)NAN;
        }
    }
    for (size_t i = 0; i < jets->n; i++) {
        const pq_jet *jet = &jets->jets[i];
        const double  at =
            fmin(fmax((jet->score - pq_btag_edge_lo) / width, 0.0), PQ_BTAG_BINS - 1);
        out->histogram[(size_t)at][1 + jet->flavour] +=
            (double)jet->weight / jets->total[jet->flavour];
    }
}

/* Of jets whose flavours are known; outputs and flavours that are not there are NAN. */
static pq_status make_probabilities(const pq_evaluation *e, const pq_tagged *jets,
                                    pq_btag_curves *out, pq_err *err)
{
    pq_flavours classes;
    pq_status   st;

    PQ_TRY(pq_flavours_find(e->classes, e->class_names, &classes, err));
    for (size_t b = 0; b <= PQ_BTAG_P_BINS; b++) {
        double *row = out->probability[b];
        row[0]      = (double)b / PQ_BTAG_P_BINS;
        for (size_t k = 0; k < PQ_FLAVOURS * PQ_FLAVOURS; k++) {
            const bool there = classes.at[k / PQ_FLAVOURS] != SIZE_MAX &&
                               jets->total[k % PQ_FLAVOURS] > 0.0;
            row[1 + k] = there ? 0.0 : (double)NAN;
        }
    }
    for (size_t i = 0; i < jets->n; i++) {
        const pq_jet *jet = &jets->jets[i];
        for (size_t f = 0; f < PQ_FLAVOURS; f++) {
            if (classes.at[f] != SIZE_MAX) {
                const double p  = pq_evaluation_probability(e, jet->event, classes.at[f]);
                const double at = fmin(fmax(p * PQ_BTAG_P_BINS, 0.0), PQ_BTAG_P_BINS - 1);
                out->probability[(size_t)at][1 + f * PQ_FLAVOURS + jet->flavour] +=
                    (double)jet->weight / jets->total[jet->flavour];
            }
        }
    }
cleanup:
    return st;
}

/* A jet of the scan: p_c, p_light and p_tau over p_b; exp(-D_b) is linear in f_c. */
typedef struct {
    double c, light, tau, weight;
    size_t flavour;
} scanned;

typedef struct {
    double value, weight;
} weighted;

/* The least value up to which the weights add up to `due`, by selection. */
static double select_value(weighted *x, size_t n, double due)
{
    size_t lo = 0, hi = n - 1;

    while (lo < hi) {
        const double pivot = x[lo + (hi - lo) / 2].value;
        size_t       i = lo, j = hi;
        double       below = 0.0;
        while (i <= j) {
            while (x[i].value < pivot) {
                i++;
            }
            while (x[j].value > pivot) {
                j--;
            }
            if (i <= j) {
                const weighted other = x[i];
                x[i++]               = x[j];
                x[j]                 = other;
                if (j-- == 0) {
                    break;
                }
            }
        }
        /* lo .. i-1 are at most the pivot, i .. hi at least */
        for (size_t k = lo; k < i; k++) {
            below += x[k].weight;
        }
        if (below >= due) {
            hi = i - 1 < hi ? i - 1 : hi - 1;
        } else {
            due -= below;
            lo = i;
        }
    }
    return x[lo].value;
}

static pq_status list_scanned(const pq_evaluation *e, const pq_flavours *classes,
                              scanned **out, pq_err *err)
{
    static const pq_flavour backgrounds[] = {PQ_FLAVOUR_C, PQ_FLAVOUR_LIGHT,
                                             PQ_FLAVOUR_TAU};
    scanned                *jets          = NULL;
    pq_status               st;

    PQ_NEW(jets, e->n);
    for (size_t i = 0; i < e->n; i++) {
        double *x[] = {&jets[i].c, &jets[i].light, &jets[i].tau};
        for (size_t k = 0; k < 3; k++) {
            pq_flavour_shares one  = {{0.0}};
            one.of[backgrounds[k]] = 1.0;
            if (classes->at[backgrounds[k]] != SIZE_MAX) {
                const double d =
                    pq_flavour_discriminant(e, i, classes, PQ_FLAVOUR_B, &one);
                *x[k] = exp(fmin(-d, 600.0)); /* finite, whatever the logits */
            }
        }
        jets[i].weight  = pq_evaluation_weight(e, i);
        jets[i].flavour = PQ_FLAVOUR_TAU;
        for (size_t f = 0; f < PQ_FLAVOURS; f++) {
            jets[i].flavour =
                classes->at[f] == (size_t)e->labels[i] ? f : jets[i].flavour;
        }
    }
    *out = jets;
cleanup:
    return st;
}

/* One f_c: rejections of light and of c at the working point. */
static void scan_point(const scanned *jets, size_t n, const pq_btag_params *p, double f_c,
                       weighted *scratch, double row[3])
{
    const double light            = 1.0 - f_c - p->f_tau;
    double       all[PQ_FLAVOURS] = {0.0}, pass[PQ_FLAVOURS] = {0.0}, cut;
    size_t       b = 0;

    for (size_t i = 0; i < n; i++) {
        all[jets[i].flavour] += jets[i].weight;
        if (jets[i].flavour == PQ_FLAVOUR_B) {
            scratch[b++] = (weighted){f_c * jets[i].c + light * jets[i].light +
                                          p->f_tau * jets[i].tau,
                                      jets[i].weight};
        }
    }
    cut = select_value(scratch, b,
                       p->bin_working_point * all[PQ_FLAVOUR_B] * (1.0 - 1e-12));
    for (size_t i = 0; i < n; i++) {
        const double z = f_c * jets[i].c + light * jets[i].light + p->f_tau * jets[i].tau;
        pass[jets[i].flavour] += z <= cut ? jets[i].weight : 0.0;
    }
    row[0] = f_c;
    row[1] = all[PQ_FLAVOUR_LIGHT] / pass[PQ_FLAVOUR_LIGHT];
    row[2] = all[PQ_FLAVOUR_C] / pass[PQ_FLAVOUR_C];
}

static pq_status make_scan(const pq_evaluation *e, const pq_btag_params *p,
                           pq_btag_curves *out, pq_err *err)
{
    pq_flavours classes;
    scanned    *jets    = NULL;
    weighted   *scratch = NULL;
    pq_status   st;

    PQ_TRY(pq_flavours_find(e->classes, e->class_names, &classes, err));
    PQ_TRY(list_scanned(e, &classes, &jets, err));
    PQ_NEW_UNSET(scratch, e->n);
    for (size_t i = 0; i <= PQ_BTAG_SCAN; i++) {
        double f_c = i == 0 ? 0.0
                            : pow(10.0, -3.0 * (double)(PQ_BTAG_SCAN - 1 - i) /
                                            (double)(PQ_BTAG_SCAN - 2));
        f_c        = i < PQ_BTAG_SCAN ? fmin(f_c, 1.0 - p->f_tau) : p->f_c;
        scan_point(jets, e->n, p, f_c, scratch, out->scan[i]);
    }
cleanup:
    pq_free(jets);
    pq_free(scratch);
    return st;
}

pq_status pq_btag_curves_make(const pq_evaluation *e, const pq_btag_params *params,
                              pq_btag_curves *out, pq_err *err)
{
    pq_tagged jets = {0};
    pq_status st;

    PQ_TRY(pq_btag_jets(e, PQ_FLAVOUR_B, params, &jets, err));
    make_roc(&jets, params->cut_error, out);
    make_histogram(&jets, out);
    PQ_TRY(make_probabilities(e, &jets, out, err));
    PQ_TRY(make_scan(e, params, out, err));
cleanup:
    pq_tagged_free(&jets);
    return st;
}
