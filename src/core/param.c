#include "core/param.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

#include "core/memory.h"

static void *field(const pq_param *row, void *values)
{
    return (char *)values + row->offset;
}

static const void *field_const(const pq_param *row, const void *values)
{
    return (const char *)values + row->offset;
}

const pq_param *pq_params_find(const pq_param *table, const char *name)
{
    for (const pq_param *row = table; row != NULL && row->name != NULL; row++) {
        if (strcmp(row->name, name) == 0) {
            return row;
        }
    }
    return NULL;
}

static pq_status check_range(const pq_param *row, double value, pq_err *err)
{
    char      a[32], lo[32], hi[32];
    pq_status st;

    if (row->min == 0.0 && row->max == 0.0) {
        return PQ_OK;
    }
    PQ_CHECK(value >= row->min && value <= row->max, PQ_ERR_RANGE,
             "%s = %s is not in %s..%s", row->name, pq_real_text(value, a, sizeof a),
             pq_real_text(row->min, lo, sizeof lo),
             pq_real_text(row->max, hi, sizeof hi));
cleanup:
    return st;
}

static pq_status set_choice(const pq_param *row, int *out, const char *text, pq_err *err)
{
    pq_text     known = {0};
    size_t      n     = 0;
    const char *near;
    pq_status   st;

    while (row->choices[n] != NULL && strcmp(row->choices[n], text) != 0) {
        pq_text_add(&known, "%s%s", n == 0 ? "" : ", ", row->choices[n]);
        n++;
    }
    near = row->choices[n] == NULL ? pq_nearest(text, row->choices, n) : NULL;
    PQ_CHECK(row->choices[n] != NULL, PQ_ERR_CONFIG, "%s = '%s' is not one of %s%s%s%s",
             row->name, text, known.text, near != NULL ? "; did you mean '" : "",
             near != NULL ? near : "", near != NULL ? "'?" : "");
    *out = (int)n;
cleanup:
    pq_text_free(&known);
    return st;
}

/* Reads "8,4,4" or "[8, 4, 4]". */
static pq_status set_list(const pq_param *row, pq_reals *out, const char *text,
                          pq_err *err)
{
    pq_reals    list = {0};
    const char *p    = text;
    pq_status   st   = PQ_OK;

    while (*p != '\0') {
        char   item[64];
        size_t n = 0;
        while (*p != '\0' && (isspace((unsigned char)*p) || strchr("[],", *p) != NULL)) {
            p++;
        }
        while (*p != '\0' && strchr("],", *p) == NULL && n + 1 < sizeof item) {
            item[n++] = *p++;
        }
        while (n > 0 && isspace((unsigned char)item[n - 1])) {
            n--;
        }
        item[n] = '\0';
        if (n == 0) {
            continue;
        }
        PQ_CHECK(list.n < PQ_LIST_MAX, PQ_ERR_RANGE, "%s has more than %d entries",
                 row->name, PQ_LIST_MAX);
        PQ_CHECK(pq_parse_real(item, row->unit, &list.value[list.n]), PQ_ERR_CONFIG,
                 "%s has an entry '%s' that is not a number", row->name, item);
        PQ_TRY(check_range(row, list.value[list.n], err));
        list.n++;
    }
    *out = list;
cleanup:
    return st;
}

static void unset(const pq_param *row, void *at)
{
    switch (row->type) {
    case PQ_PARAM_INT:
        *(int64_t *)at = PQ_UNSET;
        break;
    case PQ_PARAM_REAL:
        *(double *)at = (double)NAN;
        break;
    case PQ_PARAM_BOOL:
        *(bool *)at = false;
        break;
    case PQ_PARAM_CHOICE:
        *(int *)at = 0;
        break;
    case PQ_PARAM_STRING:
        pq_free(*(char **)at);
        *(char **)at = NULL;
        break;
    case PQ_PARAM_LIST:
        *(pq_reals *)at = (pq_reals){0};
        break;
    }
}

static pq_status set_number(const pq_param *row, void *at, const char *text, pq_err *err)
{
    int64_t   whole;
    double    real;
    pq_status st;

    if (row->type == PQ_PARAM_INT) {
        PQ_CHECK(pq_parse_int(text, &whole), PQ_ERR_CONFIG,
                 "%s = '%s' is not a whole number", row->name, text);
        PQ_TRY(check_range(row, (double)whole, err));
        *(int64_t *)at = whole;
    } else {
        PQ_CHECK(pq_parse_real(text, row->unit, &real) && !isnan(real), PQ_ERR_CONFIG,
                 "%s = '%s' is not a number%s", row->name, text,
                 row->unit == PQ_UNIT_TIME    ? " with a unit of time, such as 10ms"
                 : row->unit == PQ_UNIT_BYTES ? " with a unit of size, such as 4GB"
                                              : "");
        PQ_TRY(check_range(row, real, err));
        *(double *)at = real;
    }
cleanup:
    return st;
}

static pq_status set_row(const pq_param *row, void *values, const char *text, pq_err *err)
{
    void     *at = field(row, values);
    char     *copy;
    pq_status st = PQ_OK;

    if (text == NULL || (row->fallback == NULL && strcmp(text, "none") == 0)) {
        unset(row, at);
        return PQ_OK;
    }
    switch (row->type) {
    case PQ_PARAM_INT:
    case PQ_PARAM_REAL:
        PQ_TRY(set_number(row, at, text, err));
        break;
    case PQ_PARAM_BOOL:
        PQ_CHECK(pq_parse_bool(text, at), PQ_ERR_CONFIG, "%s = '%s' is not true or false",
                 row->name, text);
        break;
    case PQ_PARAM_CHOICE:
        PQ_TRY(set_choice(row, at, text, err));
        break;
    case PQ_PARAM_STRING:
        PQ_STRDUP(copy, text);
        pq_free(*(char **)at);
        *(char **)at = copy;
        break;
    case PQ_PARAM_LIST:
        PQ_TRY(set_list(row, at, text, err));
        break;
    }
cleanup:
    return st;
}

pq_status pq_params_default(const pq_param *table, void *values, pq_err *err)
{
    pq_status st = PQ_OK;

    for (const pq_param *row = table; row != NULL && row->name != NULL; row++) {
        PQ_TRY(set_row(row, values, row->fallback, err));
    }
cleanup:
    return st;
}

pq_status pq_params_set(const pq_param *table, void *values, const char *name,
                        const char *text, pq_err *err)
{
    const char     *names[64];
    size_t          n   = 0;
    const pq_param *row = pq_params_find(table, name);
    const char     *near;
    pq_status       st;

    for (const pq_param *r = table; r != NULL && r->name != NULL && n < 64; r++) {
        names[n++] = r->name;
    }
    near = row == NULL ? pq_nearest(name, names, n) : NULL;
    PQ_CHECK(row != NULL, PQ_ERR_CONFIG, "unknown parameter '%s'%s%s%s", name,
             near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
             near != NULL ? "'?" : "");
    PQ_TRY(set_row(row, values, text, err));
cleanup:
    return st;
}

void pq_param_print(const pq_param *row, const void *values, pq_text *out)
{
    const void *at = field_const(row, values);
    char        number[32];

    switch (row->type) {
    case PQ_PARAM_INT:
        if (*(const int64_t *)at == PQ_UNSET) {
            pq_text_add(out, "none");
        } else {
            pq_text_add(out, "%lld", (long long)*(const int64_t *)at);
        }
        break;
    case PQ_PARAM_REAL:
        pq_text_add(out, "%s",
                    isnan(*(const double *)at)
                        ? "none"
                        : pq_real_text(*(const double *)at, number, sizeof number));
        break;
    case PQ_PARAM_BOOL:
        pq_text_add(out, "%s", *(const bool *)at ? "true" : "false");
        break;
    case PQ_PARAM_CHOICE:
        pq_text_add(out, "%s", row->choices[*(const int *)at]);
        break;
    case PQ_PARAM_STRING:
        pq_text_add(out, "%s", *(char *const *)at != NULL ? *(char *const *)at : "none");
        break;
    case PQ_PARAM_LIST: {
        const pq_reals *list = at;
        pq_text_add(out, "[");
        for (size_t i = 0; i < list->n; i++) {
            pq_text_add(out, "%s%s", i == 0 ? "" : ", ",
                        pq_real_text(list->value[i], number, sizeof number));
        }
        pq_text_add(out, "]");
        break;
    }
    }
}

void pq_params_print(const pq_param *table, const void *values, pq_text *out)
{
    for (const pq_param *row = table; row != NULL && row->name != NULL; row++) {
        const char *text = row->type == PQ_PARAM_STRING
                               ? *(char *const *)field_const(row, values)
                               : NULL;
        const bool  cuts = text != NULL && strchr(text, ',') != NULL;
        pq_text_add(out, "%s%s=%s", row == table ? "" : ", ", row->name, cuts ? "[" : "");
        pq_param_print(row, values, out);
        pq_text_add(out, "%s", cuts ? "]" : "");
    }
}

pq_status pq_params_copy(const pq_param *table, const void *from, void *to, pq_err *err)
{
    pq_status st = PQ_OK;

    for (const pq_param *row = table; row != NULL && row->name != NULL; row++) {
        const void *at = field_const(row, from);
        switch (row->type) {
        case PQ_PARAM_INT:
            *(int64_t *)field(row, to) = *(const int64_t *)at;
            break;
        case PQ_PARAM_REAL:
            *(double *)field(row, to) = *(const double *)at;
            break;
        case PQ_PARAM_BOOL:
            *(bool *)field(row, to) = *(const bool *)at;
            break;
        case PQ_PARAM_CHOICE:
            *(int *)field(row, to) = *(const int *)at;
            break;
        case PQ_PARAM_STRING:
            PQ_TRY(set_row(row, to, *(char *const *)at, err));
            break;
        case PQ_PARAM_LIST:
            *(pq_reals *)field(row, to) = *(const pq_reals *)at;
            break;
        }
    }
cleanup:
    return st;
}

void pq_params_free(const pq_param *table, void *values)
{
    for (const pq_param *row = table; row != NULL && row->name != NULL; row++) {
        if (row->type == PQ_PARAM_STRING) {
            unset(row, field(row, values));
        }
    }
}
