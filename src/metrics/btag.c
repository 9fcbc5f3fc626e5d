#include "metrics/btag.h"

#include <math.h>
#include <stdlib.h>
#include <strings.h>

#include "core/memory.h"
#include "core/text.h"
#include "metrics/fraction.h"

enum { FLAVOURS = 4 };

static const double rates[] = {0.1, 0.01, 0.001};

/* Names in use, the first is ours. */
static const char *const known[FLAVOURS][7] = {
    {"b", "bjets", "b-jets", "bottom", "pb", "bjet", NULL},
    {"c", "cjets", "c-jets", "charm", "pc", "cjet", NULL},
    {"light", "u", "l", "ujets", "udsg", "light-jets", NULL},
    {"tau", "taujets", "tau-jets", "ptau", NULL},
};

/* A jet: its discriminant, weight and flavour. */
typedef struct {
    double score, weight;
    size_t flavour;
} jet;

static size_t flavour_of(const char *name)
{
    for (size_t f = 0; f < FLAVOURS; f++) {
        for (size_t i = 0; known[f][i] != NULL; i++) {
            if (strcasecmp(name, known[f][i]) == 0) {
                return f;
            }
        }
    }
    return FLAVOURS;
}

pq_status pq_btag_find(size_t n, const char *const *names, pq_btag_classes *out,
                       pq_err *err)
{
    size_t    at[FLAVOURS] = {SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX};
    pq_status st;

    for (size_t i = 0; i < n; i++) {
        const size_t f = flavour_of(names[i]);
        PQ_CHECK(f < FLAVOURS && at[f] == SIZE_MAX, PQ_ERR_CONFIG,
                 "class '%s' is none of b, c, light and tau, or the second of one",
                 names[i]);
        at[f] = i;
    }
    PQ_CHECK(at[0] != SIZE_MAX && at[2] != SIZE_MAX, PQ_ERR_CONFIG,
             "b-tagging needs classes b and light (and c): there is no %s",
             at[0] == SIZE_MAX ? "b" : "light");
    *out = (pq_btag_classes){at[0], at[1], at[2], at[3]};
cleanup:
    return st;
}

static double at_least(double p)
{
    return p > 1e-10 ? p : 1e-10;
}

double pq_btag_discriminant(double p_b, double p_c, double p_light, double f_c)
{
    const double charm = f_c > 0.0 ? f_c * at_least(p_c) : 0.0;

    return log(at_least(p_b) / (charm + (1.0 - f_c) * at_least(p_light)));
}

static int higher_first(const void *a, const void *b)
{
    const double x = ((const jet *)a)->score, y = ((const jet *)b)->score;

    return (x < y) - (x > y);
}

static pq_status make_jets(const pq_evaluation *e, const pq_btag_classes *k, double f_c,
                           jet **out, double total[FLAVOURS], pq_err *err)
{
    jet      *jets = NULL;
    pq_status st;

    PQ_NEW_UNSET(jets, e->n);
    for (size_t i = 0; i < e->n; i++) {
        const double p_c = k->c != SIZE_MAX ? pq_evaluation_probability(e, i, k->c) : 0.0;
        const size_t label = (size_t)e->labels[i];
        jets[i] = (jet){pq_btag_discriminant(pq_evaluation_probability(e, i, k->b), p_c,
                                             pq_evaluation_probability(e, i, k->light),
                                             k->c != SIZE_MAX ? f_c : 0.0),
                        pq_evaluation_weight(e, i),
                        label == k->b       ? 0
                        : label == k->c     ? 1
                        : label == k->light ? 2
                                            : 3};
        total[jets[i].flavour] += jets[i].weight;
    }
    qsort(jets, e->n, sizeof *jets, higher_first);
    *out = jets;
cleanup:
    return st;
}

/* Jets that pass: as many as let at most `rate` of the background pass. All of one score
 * pass, or none. */
static size_t passing(const jet *jets, size_t n, size_t background, double most)
{
    size_t pass = 0;
    double sum  = 0.0;

    for (size_t i = 0; i < n;) {
        size_t end = i;
        while (end < n && jets[end].score >= jets[i].score) {
            sum += jets[end].flavour == background ? jets[end].weight : 0.0;
            end++;
        }
        if (sum > most) {
            break;
        }
        pass = end;
        i    = end;
    }
    return pass;
}

/* Name and value of one number of a working point. */
static pq_status add(pq_values *out, const char *background, double rate,
                     const char *what, pq_value v, pq_err *err)
{
    char     *name = pq_format("btag.%s.%g.%s", background, rate, what);
    pq_status st;

    PQ_CHECK(name != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    PQ_TRY(pq_values_add(out, name, v.value, v.lo, v.hi, v.n, "", v.better, err));
cleanup:
    pq_free(name);
    return st;
}

static pq_status add_fraction(pq_values *out, const char *background, double rate,
                              const char *what, const pq_fraction *f, pq_better better,
                              pq_err *err)
{
    const pq_interval i = pq_fraction_clopper_pearson(f);

    return add(out, background, rate, what,
               (pq_value){.value  = pq_fraction_value(f),
                          .lo     = i.lo,
                          .hi     = i.hi,
                          .n      = pq_fraction_effective(f),
                          .better = better},
               err);
}

static pq_status add_point(const jet *jets, size_t n, const double total[FLAVOURS],
                           size_t background, double rate, pq_values *out, pq_err *err)
{
    const char *const name  = known[background][0];
    const size_t      pass  = passing(jets, n, background, rate * total[background]);
    const size_t      other = background == 2 ? 1 : 2;
    pq_fraction       sides[FLAVOURS] = {0};
    char              what[32];
    double            rejected;
    pq_interval       i;
    pq_status         st;

    for (size_t k = 0; k < n; k++) {
        pq_fraction_add(&sides[jets[k].flavour], jets[k].weight, k < pass);
    }
    PQ_TRY(add_fraction(out, name, rate, "efficiency", &sides[0], PQ_BETTER_HIGHER, err));
    PQ_TRY(
        add_fraction(out, name, rate, "mistag", &sides[background], PQ_BETTER_NONE, err));
    PQ_TRY(add(out, name, rate, "cut",
               (pq_value){.value = pass > 0 ? jets[pass - 1].score : (double)INFINITY,
                          .lo    = (double)NAN,
                          .hi    = (double)NAN},
               err));
    if (total[other] > 0.0) {
        rejected = pq_fraction_value(&sides[other]);
        i        = pq_fraction_clopper_pearson(&sides[other]);
        pq_snprintf(what, sizeof what, "rejection_%s", known[other][0]);
        PQ_TRY(add(out, name, rate, what,
                   (pq_value){.value  = rejected > 0.0 ? 1.0 / rejected : (double)NAN,
                              .lo     = 1.0 / i.hi,
                              .hi     = i.lo > 0.0 ? 1.0 / i.lo : (double)INFINITY,
                              .n      = pq_fraction_effective(&sides[other]),
                              .better = PQ_BETTER_HIGHER},
                   err));
    }
cleanup:
    return st;
}

pq_status pq_btag_evaluate(const pq_evaluation *e, double f_c, pq_values *out,
                           pq_err *err)
{
    double          total[FLAVOURS] = {0.0};
    pq_btag_classes classes;
    jet            *jets = NULL;
    pq_status       st;

    PQ_CHECK(f_c >= 0.0 && f_c <= 1.0, PQ_ERR_RANGE, "f_c = %g is not in 0..1", f_c);
    PQ_TRY(pq_evaluation_check(e, err));
    PQ_CHECK(pq_evaluation_improbable(e) == NULL, PQ_ERR_CONFIG, "b-tagging: %s",
             pq_evaluation_improbable(e));
    PQ_TRY(pq_btag_find(e->classes, e->class_names, &classes, err));
    PQ_TRY(make_jets(e, &classes, f_c, &jets, total, err));
    PQ_CHECK(total[0] > 0.0 && total[2] > 0.0, PQ_ERR_CONFIG, "there are no %s jets",
             total[0] > 0.0 ? "light" : "b");
    for (size_t background = 2; background > 0; background--) {
        for (size_t r = 0; total[background] > 0.0 && r < sizeof rates / sizeof *rates;
             r++) {
            PQ_TRY(add_point(jets, e->n, total, background, rates[r], out, err));
        }
    }
cleanup:
    pq_free(jets);
    return st;
}
