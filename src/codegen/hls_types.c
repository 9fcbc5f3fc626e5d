/* Types of HLS C++: how many bits values take, and tables of constants. */
#include <math.h>

#include "codegen/hls.h"
#include "core/memory.h"
#include "exec/codes.h"

size_t pq_hls_items(const pq_hls *h, size_t node)
{
    size_t n = 0;

    (void)pq_shape_count(&h->graph->nodes[node].shape, &n);
    return n;
}

/* Bits of a magnitude in units of 2^-fraction; one less for a negative power of two. */
static int bits_of(double magnitude, int fraction, bool negative)
{
    const double units = ldexp(magnitude, fraction);
    int          e     = 0;

    if (units == 0.0) {
        return 0;
    }
    return frexp(units, &e) == 0.5 && negative ? e - 1 : e;
}

int pq_hls_width(const pq_hls_type *t)
{
    const bool is_signed = t->lo < 0.0;
    const int  above     = bits_of(t->hi > 0.0 ? t->hi : 0.0, t->fraction, false);
    const int  below     = is_signed ? bits_of(-t->lo, t->fraction, true) : 0;
    const int  width     = (above > below ? above : below) + (is_signed ? 1 : 0);

    return width > 0 ? width : 1;
}

void pq_hls_type_add(const pq_hls *h, const pq_hls_type *t, pq_text *out)
{
    const pq_quant *q     = t->grid;
    bool            sign  = t->lo < 0.0;
    int             width = pq_hls_width(t);

    if (q != NULL && q->width[0] > 0) { /* SAT_SYM leaves a code out, but not a bit */
        sign  = q->is_signed;
        width = q->width[0];
    }
    pq_text_add(out, "%s_%s(%d, %d, %s, %s)", h->name, sign ? "SIGNED" : "UNSIGNED",
                width, width - t->fraction,
                q != NULL ? pq_rounding_names[q->rounding] : "TRN",
                q != NULL ? pq_overflow_names[q->overflow] : "WRAP");
}

int pq_hls_fraction(double value)
{
    int e = 0, n = 0;

    if (value == 0.0) {
        return 0;
    }
    for (double m = frexp(value, &e); m != trunc(m); m *= 2.0) {
        n++;
    }
    return n - e;
}

pq_hls_type pq_hls_both(const pq_hls_type *a, const pq_hls_type *b)
{
    return (pq_hls_type){.lo = a->lo < b->lo ? a->lo : b->lo,
                         .hi = a->hi > b->hi ? a->hi : b->hi,
                         .fraction =
                             a->fraction > b->fraction ? a->fraction : b->fraction};
}

static pq_status check_grid(const pq_hls *h, size_t node, pq_err *err)
{
    const pq_quant *q  = h->graph->nodes[node].quant;
    pq_status       st = PQ_OK;

    PQ_CHECK(q->scheme == PQ_QUANT_FIXED && q->n == 1, PQ_ERR_UNSUPPORTED,
             "its values are on a grid of scheme %s with %zu scales; HLS C++ holds fixed "
             "point of one width (quantize: format=fixed)",
             pq_quant_scheme_names[q->scheme], q->n);
    PQ_CHECK(q->overflow != PQ_OVERFLOW_WRAP_SM || q->is_signed, PQ_ERR_UNSUPPORTED,
             "its grid is unsigned and overflows by WRAP_SM, which ap_ufixed has not");
cleanup:
    return st;
}

pq_status pq_hls_hold(pq_hls *h, size_t node, const pq_hls_type *exact, pq_err *err)
{
    const pq_quant *q    = h->graph->nodes[node].quant;
    const int       bits = pq_hls_width(exact);
    pq_hls_type    *t    = &h->type[node];
    pq_status       st   = PQ_OK;

    PQ_CHECK(bits <= PQ_HLS_BITS, PQ_ERR_UNSUPPORTED,
             "its values would take %d bits before they are rounded, more than %d", bits,
             PQ_HLS_BITS);
    PQ_CHECK(pq_hls_items(h, node) <= PQ_CODEGEN_STACK / sizeof(double) - h->values,
             PQ_ERR_RANGE,
             "with it the model holds more than %zu values, the most for HLS C++",
             PQ_CODEGEN_STACK / sizeof(double));
    h->values += pq_hls_items(h, node);
    *t = *exact;
    if (q != NULL) {
        PQ_TRY(check_grid(h, node, err));
        *t = (pq_hls_type){.lo       = pq_quant_value(q, 0, pq_quant_least(q, 0)),
                           .hi       = pq_quant_value(q, 0, pq_quant_most(q, 0)),
                           .fraction = pq_quant_fraction_bits(q, 0),
                           .grid     = q};
    }
    pq_text_add(&h->types, "typedef ");
    pq_hls_type_add(h, t, &h->types);
    pq_text_add(&h->types, " v%zu_t;\ntypedef ", node);
    pq_hls_type_add(h, exact, &h->types);
    pq_text_add(&h->types, " v%zu_sum;\n", node);
    pq_text_add(&h->body, "    v%zu_t v%zu[%zu];\n", node, node, pq_hls_items(h, node));
cleanup:
    return st;
}

pq_status pq_hls_table(pq_hls *h, size_t node, char letter, size_t n,
                       const double *values, pq_err *err)
{
    pq_hls_type t  = {0};
    pq_status   st = PQ_OK;

    PQ_CHECK(n <= PQ_CODEGEN_WEIGHTS - h->weights, PQ_ERR_RANGE,
             "the model's tables would hold more than %d numbers, the most for generated "
             "C++",
             PQ_CODEGEN_WEIGHTS);
    h->weights += n;
    for (size_t i = 0; i < n; i++) {
        const pq_hls_type one = {values[i], values[i], pq_hls_fraction(values[i]), NULL};
        t                     = i == 0 ? one : pq_hls_both(&t, &one);
    }
    PQ_CHECK(pq_hls_width(&t) < PQ_HLS_BITS, PQ_ERR_UNSUPPORTED,
             "its weights or biases would take %d bits, more than %d", pq_hls_width(&t),
             PQ_HLS_BITS - 1);
    const int bits = pq_hls_width(&t) + (t.lo < 0.0 ? 0 : 1);
    pq_text_add(&h->tables, "typedef ");
    pq_hls_type_add(h, &t, &h->tables);
    pq_text_add(&h->tables, " t%zu%c_t;\nstatic const %s t%zu%c[%zu] = {", node, letter,
                bits <= 8    ? "signed char"
                : bits <= 16 ? "short"
                : bits <= 32 ? "int"
                             : "long long",
                node, letter, n);
    for (size_t i = 0; i < n; i++) {
        pq_text_add(&h->tables, "%s%lld,", i % 16 == 0 ? "\n    " : " ",
                    (long long)ldexp(values[i], t.fraction));
    }
    pq_text_add(&h->tables, "\n};\n");
cleanup:
    return st;
}
