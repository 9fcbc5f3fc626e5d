#include "metrics/btag_curves.h"

#include <math.h>

#include "core/memory.h"
#include "metrics/rank.h"

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

/* Jets of one flavour in the scan: p_c and p_light over p_b, f_tau times that of p_tau,
 * and weights. exp(-D_b) is linear in f_c. */
typedef struct {
    size_t  n;
    double *c, *light, *tau; /* [n] */
    float  *weight;          /* [n] */
} scanned;

typedef struct {
    double value, weight;
} weighted;

/* The least value up to which the weights, of any sign, add up to `due`: as cuts are
 * found in metrics/tagged.h, value by value. `scratch` is [3 n]. */
static double walk_to_value(const weighted *x, size_t n, double due, uint64_t *scratch)
{
    uint64_t *keys = scratch, *list = scratch + n;
    double    sum = 0.0;

    for (size_t i = 0; i < n; i++) {
        keys[i] = pq_rank_key(x[i].value);
    }
    pq_rank_sort(keys, list, scratch + 2 * n, n);
    for (size_t k = 0; k < n; k++) {
        if (k > 0 && (list[k] & PQ_RANK_NEW) != 0 && sum >= due) {
            return x[list[k - 1] & PQ_RANK_NUMBER].value;
        }
        sum += x[list[k] & PQ_RANK_NUMBER].weight;
    }
    return x[list[n - 1] & PQ_RANK_NUMBER].value;
}

/* The same of weights that are not negative, by selection. */
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

static void free_scanned(scanned sides[PQ_FLAVOURS])
{
    for (size_t f = 0; f < PQ_FLAVOURS; f++) {
        pq_free(sides[f].c);
        pq_free(sides[f].light);
        pq_free(sides[f].tau);
        pq_free(sides[f].weight);
    }
}

/* p of a class over p_b, finite, whatever the logits; 0 where there is none. */
static double over_b(const double l[PQ_FLAVOURS], const pq_flavours *classes,
                     pq_flavour flavour)
{
    return classes->at[flavour] != SIZE_MAX
               ? exp(fmin(l[flavour] - l[PQ_FLAVOUR_B], 600.0))
               : 0.0;
}

/* The jets of b, c and light, in the order of the events; tau jets are not asked for. */
static pq_status list_scanned(const pq_evaluation *e, const pq_flavours *classes,
                              double f_tau, scanned sides[PQ_FLAVOURS], pq_err *err)
{
    size_t    counts[PQ_FLAVOURS] = {0};
    pq_status st;

    for (size_t i = 0; i < e->n; i++) {
        counts[pq_flavour_of_event(e, i, classes)]++;
    }
    for (size_t f = 0; f < PQ_FLAVOUR_TAU; f++) {
        PQ_NEW_UNSET(sides[f].c, counts[f] + 1);
        PQ_NEW_UNSET(sides[f].light, counts[f] + 1);
        PQ_NEW_UNSET(sides[f].tau, counts[f] + 1);
        PQ_NEW_UNSET(sides[f].weight, counts[f] + 1);
    }
    for (size_t i = 0; i < e->n; i++) {
        const pq_flavour f = pq_flavour_of_event(e, i, classes);
        scanned         *s = &sides[f];
        double           l[PQ_FLAVOURS];
        if (f == PQ_FLAVOUR_TAU) {
            continue;
        }
        pq_flavour_logits(e, i, classes, l);
        s->c[s->n]        = over_b(l, classes, PQ_FLAVOUR_C);
        s->light[s->n]    = over_b(l, classes, PQ_FLAVOUR_LIGHT);
        s->tau[s->n]      = f_tau * over_b(l, classes, PQ_FLAVOUR_TAU);
        s->weight[s->n++] = (float)pq_evaluation_weight(e, i);
    }
cleanup:
    return st;
}

static double scanned_at(const scanned *s, size_t i, double f_c, double f_light)
{
    return f_c * s->c[i] + f_light * s->light[i] + s->tau[i];
}

/* All weight of a flavour over what passes. */
static double scanned_rejection(const scanned *s, double f_c, double f_light, double cut)
{
    double all = 0.0, pass = 0.0;

    for (size_t i = 0; i < s->n; i++) {
        const double w = (double)s->weight[i];
        all += w;
        pass += scanned_at(s, i, f_c, f_light) <= cut ? w : 0.0;
    }
    return !(all > 0.0) ? (double)NAN : pass > 0.0 ? all / pass : (double)INFINITY;
}

/* Scratch of a point: [b jets], and three times as many where weights may be negative. */
typedef struct {
    weighted *x;
    uint64_t *sorting;
} scan_room;

/* One f_c: rejections of light and of c at the working point. */
static void scan_point(const scanned sides[PQ_FLAVOURS], const pq_btag_params *p,
                       double f_c, const scan_room *room, double row[3])
{
    const scanned *b       = &sides[PQ_FLAVOUR_B];
    const double   f_light = fmax(1.0 - f_c - p->f_tau, 0.0);
    double         all     = 0.0, due, cut;

    for (size_t i = 0; i < b->n; i++) {
        room->x[i] = (weighted){scanned_at(b, i, f_c, f_light), (double)b->weight[i]};
        all += room->x[i].weight;
    }
    due    = p->bin_working_point * all * (1.0 - 1e-12);
    cut    = room->sorting != NULL ? walk_to_value(room->x, b->n, due, room->sorting)
                                   : select_value(room->x, b->n, due);
    row[0] = f_c;
    row[1] = scanned_rejection(&sides[PQ_FLAVOUR_LIGHT], f_c, f_light, cut);
    row[2] = scanned_rejection(&sides[PQ_FLAVOUR_C], f_c, f_light, cut);
}

static pq_status make_scan(const pq_evaluation *e, const pq_btag_params *p,
                           pq_btag_curves *out, pq_err *err)
{
    scanned     sides[PQ_FLAVOURS] = {{0}};
    scan_room   room               = {0};
    pq_flavours classes;
    pq_status   st;

    PQ_TRY(pq_flavours_find(e->classes, e->class_names, &classes, err));
    PQ_TRY(list_scanned(e, &classes, p->f_tau, sides, err));
    PQ_NEW_UNSET(room.x, sides[PQ_FLAVOUR_B].n);
    if (e->negative) {
        PQ_NEW_UNSET(room.sorting, 3 * sides[PQ_FLAVOUR_B].n);
    }
    for (size_t i = 0; i <= PQ_BTAG_SCAN; i++) {
        double f_c = i == 0 ? 0.0
                            : pow(10.0, -3.0 * (double)(PQ_BTAG_SCAN - 1 - i) /
                                            (double)(PQ_BTAG_SCAN - 2));
        f_c        = i < PQ_BTAG_SCAN ? fmin(f_c, 1.0 - p->f_tau) : p->f_c;
        scan_point(sides, p, f_c, &room, out->scan[i]);
    }
cleanup:
    free_scanned(sides);
    pq_free(room.x);
    pq_free(room.sorting);
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
