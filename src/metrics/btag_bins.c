/* b tagging in bins of a column: efficiencies and rejections against pT, eta, … */
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "core/text.h"
#include "metrics/btag.h"

enum { EDGES_MAX = 101 };

static const uint32_t outside = UINT32_MAX; /* of all bins */

/* A column and the edges of its bins: lo <= value < hi, the last with its upper edge. */
typedef struct {
    char  *name;
    size_t n; /* edges */
    double edge[EDGES_MAX];
} binning;

/* Reads "pt=20:30:40". */
static pq_status read_binning(const char *text, binning *out, pq_err *err)
{
    const char *at    = strchr(text, '=');
    char      **edges = NULL;
    size_t      n     = 0;
    pq_status   st;

    PQ_CHECK(at != NULL && at > text, PQ_ERR_CONFIG,
             "bins: '%s' is not a column and its edges, as pt=20:50:100", text);
    out->name = pq_format("%.*s", (int)(at - text), text);
    PQ_CHECK(out->name != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    PQ_TRY(pq_text_split(at + 1, ':', &edges, &n, err));
    PQ_CHECK(n >= 2 && n <= EDGES_MAX, PQ_ERR_CONFIG, "bins: %s has %zu edges, not 2..%d",
             out->name, n, EDGES_MAX);
    for (size_t i = 0; i < n; i++) {
        PQ_CHECK(pq_parse_real(edges[i], PQ_UNIT_NONE, &out->edge[i]) &&
                     isfinite(out->edge[i]),
                 PQ_ERR_CONFIG, "bins: the edge '%s' of %s is not a number", edges[i],
                 out->name);
        PQ_CHECK(i == 0 || out->edge[i] > out->edge[i - 1], PQ_ERR_CONFIG,
                 "bins: the edges of %s do not rise: %g after %g", out->name,
                 out->edge[i], out->edge[i - 1]);
    }
    out->n = n;
cleanup:
    pq_free(edges);
    return st;
}

static uint32_t bin_of(const binning *b, double value)
{
    size_t k = 0;

    if (!(value >= b->edge[0] && value <= b->edge[b->n - 1])) { /* NaN too */
        return outside;
    }
    while (k + 2 < b->n && value >= b->edge[k + 1]) {
        k++;
    }
    return (uint32_t)k;
}

/* The cut in a bin of its own. */
static void find_point(const pq_tagged *jets, const pq_btag_params *p, double inclusive,
                       pq_tag_point *out)
{
    switch ((pq_bin_cut)p->bin_cut) {
    case PQ_BIN_FLAT:
        pq_tagged_point(jets, PQ_FLAVOUR_B, p->bin_working_point, true, out);
        break;
    case PQ_BIN_REJECTION:
        pq_tagged_point(jets, PQ_FLAVOUR_LIGHT, 1.0 / p->bin_rejection, false, out);
        break;
    case PQ_BIN_FIXED:
        pq_tagged_at(jets, inclusive, out);
        break;
    }
}

static pq_status add_bin(const pq_tagged *jets, const binning *b, size_t k,
                         const pq_btag_params *p, double inclusive, pq_values *out,
                         pq_err *err)
{
    char        *point_name = pq_btag_name(PQ_FLAVOUR_B, p->bin_working_point);
    char        *prefix     = NULL;
    pq_tag_point point;
    pq_status    st;

    PQ_CHECK(point_name != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    prefix =
        pq_format("%s.%s.%.10g_%.10g", point_name, b->name, b->edge[k], b->edge[k + 1]);
    PQ_CHECK(prefix != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    find_point(jets, p, inclusive, &point);
    if (isnan(point.cut)) { /* no jets of the flavour that finds it */
        goto cleanup;
    }
    if (point.side[PQ_FLAVOUR_B].weight > 0.0) {
        pq_value v = pq_tag_rate(&point, PQ_FLAVOUR_B, p->cut_error);
        v.better   = p->bin_cut == PQ_BIN_REJECTION ? PQ_BETTER_HIGHER : PQ_BETTER_NONE;
        PQ_TRY(pq_btag_add(out, prefix, "efficiency", v, err));
    }
    PQ_TRY(pq_btag_add_rejections(out, prefix, PQ_FLAVOUR_B, &point, p->cut_error, err));
cleanup:
    pq_free(point_name);
    pq_free(prefix);
    return st;
}

/* A bin without jets has no values. */
static pq_status add_column(const pq_evaluation *e, const pq_tagged *jets,
                            const binning *b, const pq_btag_params *p, pq_values *out,
                            pq_err *err)
{
    const double inclusive =
        pq_tagged_cut_least(jets, PQ_FLAVOUR_B, p->bin_working_point);
    double   *column = NULL;
    uint32_t *bin    = NULL;
    size_t    inside = 0;
    pq_tagged some   = {0};
    pq_status st;

    PQ_NEW_UNSET(column, e->n);
    PQ_NEW_UNSET(bin, e->n);
    PQ_TRY(e->columns->read(e->columns->context, b->name, e->n, column, err));
    for (size_t i = 0; i < e->n; i++) {
        bin[i] = bin_of(b, column[i]);
        inside += bin[i] != outside ? 1 : 0;
    }
    PQ_CHECK(inside > 0, PQ_ERR_CONFIG, "bins: no jet has %s in %g..%g", b->name,
             b->edge[0], b->edge[b->n - 1]);
    for (size_t k = 0; k + 1 < b->n; k++) {
        PQ_TRY(pq_tagged_subset(jets, bin, (uint32_t)k, &some, err));
        if (some.n > 0) {
            PQ_TRY(add_bin(&some, b, k, p, inclusive, out, err));
        }
        pq_tagged_free(&some);
    }
cleanup:
    pq_free(column);
    pq_free(bin);
    pq_tagged_free(&some);
    return st;
}

/* Does something with each column of `bins`; `jets` may be NULL. */
typedef pq_status (*on_column)(const pq_evaluation *e, const pq_tagged *jets,
                               const binning *b, const pq_btag_params *p, pq_values *out,
                               pq_err *err);

static pq_status each_column(const pq_evaluation *e, const pq_tagged *jets,
                             const pq_btag_params *params, on_column act, pq_values *out,
                             pq_err *err)
{
    char    **columns = NULL;
    size_t    n       = 0;
    binning   b       = {0};
    pq_status st;

    PQ_CHECK(e->columns != NULL, PQ_ERR_CONFIG,
             "bins: there are no columns beside the events");
    PQ_TRY(pq_text_split(params->bins, ',', &columns, &n, err));
    for (size_t i = 0; i < n; i++) {
        PQ_TRY(read_binning(columns[i], &b, err));
        PQ_TRY(act(e, jets, &b, params, out, err));
        pq_free(b.name);
        b.name = NULL;
    }
cleanup:
    pq_free(b.name);
    pq_free(columns);
    return st;
}

pq_status pq_btag_add_bins(const pq_evaluation *e, const pq_tagged *jets,
                           const pq_btag_params *params, pq_values *out, pq_err *err)
{
    return each_column(e, jets, params, add_column, out, err);
}

static pq_status check_column(const pq_evaluation *e, const pq_tagged *jets,
                              const binning *b, const pq_btag_params *p, pq_values *out,
                              pq_err *err)
{
    double first;

    (void)jets;
    (void)p;
    (void)out;
    return e->columns->read(e->columns->context, b->name, 1, &first, err);
}

pq_status pq_btag_check_bins(const pq_evaluation *e, const pq_btag_params *params,
                             pq_err *err)
{
    return each_column(e, NULL, params, check_column, NULL, err);
}
