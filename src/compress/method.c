#include "compress/method.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "core/text.h"

#define X(word) extern const pq_method pq_method_##word;
#include "compress/methods.def"
#undef X

const pq_method *const pq_methods[] = {
#define X(word) &pq_method_##word,
#include "compress/methods.def"
#undef X
    NULL};

enum { METHODS = sizeof pq_methods / sizeof pq_methods[0] - 1 };

const pq_method *pq_method_find(const char *name)
{
    for (size_t i = 0; i < METHODS; i++) {
        if (strcmp(pq_methods[i]->name, name) == 0) {
            return pq_methods[i];
        }
    }
    return NULL;
}

static pq_status unknown_method(const char *name, pq_err *err)
{
    const char *names[METHODS], *near;
    pq_text     known = {0};
    pq_status   st;

    for (size_t i = 0; i < METHODS; i++) {
        names[i] = pq_methods[i]->name;
        pq_text_add(&known, "%s%s", i == 0 ? "" : ", ", names[i]);
    }
    near = pq_nearest(name, names, METHODS);
    st   = near != NULL ? pq_err_set(err, PQ_ERR_CONFIG, __FILE__, __LINE__,
                                     "unknown method '%s'; did you mean '%s'?", name, near)
                        : pq_err_set(err, PQ_ERR_CONFIG, __FILE__, __LINE__,
                                     "unknown method '%s'", name);
    pq_err_hint(err, "methods: %s", known.text != NULL ? known.text : "");
    pq_text_free(&known);
    return st;
}

pq_status pq_stage_create(const char *method, pq_stage *out, pq_err *err)
{
    pq_stage  stage = {.method = pq_method_find(method)};
    pq_status st;

    if (stage.method == NULL) {
        return unknown_method(method, err);
    }
    stage.params = pq_calloc_packed(1, stage.method->params_size);
    PQ_CHECK(stage.params != NULL, PQ_ERR_NOMEM, "cannot allocate parameters");
    PQ_TRY(pq_params_default(stage.method->params, stage.params, err));
    *out  = stage;
    stage = (pq_stage){0};
cleanup:
    pq_stage_free(&stage);
    return st;
}

void pq_stage_free(pq_stage *stage)
{
    if (stage->params != NULL) {
        pq_params_free(stage->method->params, stage->params);
    }
    pq_free(stage->params);
    pq_free(stage->layers);
    pq_free(stage->place);
    *stage = (pq_stage){0};
}

bool pq_draws_always(const void *params)
{
    (void)params;
    return true;
}

bool pq_stage_draws(const pq_stage *stage)
{
    return stage->method->draws != NULL && stage->method->draws(stage->params);
}

pq_status pq_stage_check(const pq_stage *stage, pq_err *err)
{
    pq_status st;

    if (stage->method->check == NULL) {
        return PQ_OK;
    }
    st = stage->method->check(stage->params, err);
    if (st != PQ_OK) {
        pq_err_context(err, "%s", stage->method->name);
    }
    return st;
}

static void replace_all(char *text, char from, char to)
{
    for (; *text != '\0'; text++) {
        *text = *text == from ? to : *text;
    }
}

/* Cuts white space off both ends, in place. */
static char *trim(char *text)
{
    size_t n;

    while (isspace((unsigned char)*text)) {
        text++;
    }
    n = strlen(text);
    while (n > 0 && isspace((unsigned char)text[n - 1])) {
        text[--n] = '\0';
    }
    return text;
}

/* End of a "key=value" item: the next comma outside brackets, or the end of the text. */
static char *item_end(char *text)
{
    int depth = 0;

    for (; *text != '\0' && (*text != ',' || depth > 0); text++) {
        depth += *text == '[' ? 1 : *text == ']' ? -1 : 0;
    }
    return text;
}

/* Sets "key=value"; `seen` has a bit for each row of the table that was set before. */
static pq_status set_item(pq_stage *stage, char *item, uint64_t *seen, pq_err *err)
{
    const pq_param *table  = stage->method->params, *row;
    char           *equals = strchr(item, '='), *key, *value;
    pq_status       st;

    PQ_CHECK(equals != NULL, PQ_ERR_CONFIG, "'%s' is not key=value", trim(item));
    *equals = '\0';
    key     = trim(item);
    value   = trim(equals + 1);
    row     = pq_params_find(table, key);
    if (strcmp(key, "layers") == 0) {
        PQ_CHECK(stage->layers == NULL, PQ_ERR_CONFIG, "layers is given twice");
        PQ_CHECK(*value != '\0', PQ_ERR_CONFIG, "layers is empty");
        PQ_STRDUP(stage->layers, value);
        replace_all(stage->layers, '|', ',');
        return PQ_OK;
    }
    PQ_CHECK(row == NULL || (*seen >> (row - table) & 1) == 0, PQ_ERR_CONFIG,
             "%s is given twice", key);
    if (row != NULL && row->type == PQ_PARAM_STRING && *value == '[' &&
        value[strlen(value) - 1] == ']') { /* brackets around a text with commas */
        value[strlen(value) - 1] = '\0';
        value++;
    }
    PQ_TRY(pq_params_set(table, stage->params, key, value, err));
    *seen |= (uint64_t)1 << (row - table);
cleanup:
    return st;
}

static pq_status set_items(pq_stage *stage, const char *text, pq_err *err)
{
    uint64_t  seen  = 0;
    char     *items = NULL;
    pq_status st    = PQ_OK;

    PQ_STRDUP(items, text);
    for (char *p = items, *end; *p != '\0'; p = end) {
        end = item_end(p);
        if (*end != '\0') {
            *end++ = '\0';
        }
        PQ_TRY(set_item(stage, p, &seen, err));
    }
cleanup:
    pq_free(items);
    return st;
}

pq_status pq_stage_parse(const char *text, pq_stage *out, pq_err *err)
{
    const char *colon = strchr(text, ':');
    const int   n     = (int)(colon != NULL ? (size_t)(colon - text) : strlen(text));
    char       *name  = pq_format("%.*s", n, text);
    pq_stage    stage = {0};
    pq_status   st;

    PQ_CHECK(name != NULL, PQ_ERR_NOMEM, "cannot allocate a string");
    PQ_TRY(pq_stage_create(trim(name), &stage, err));
    if (colon != NULL) {
        st = set_items(&stage, colon + 1, err);
        if (st != PQ_OK) {
            pq_err_context(err, "%s", stage.method->name);
            goto cleanup;
        }
    }
    PQ_TRY(pq_stage_check(&stage, err));
    *out  = stage;
    stage = (pq_stage){0};
cleanup:
    pq_stage_free(&stage);
    pq_free(name);
    return st;
}

void pq_stage_print(const pq_stage *stage, pq_text *out)
{
    const char *layers = stage->layers != NULL ? stage->layers : "*";

    pq_text_add(out, "%s: layers=", stage->method->name);
    for (; *layers != '\0'; layers++) {
        pq_text_add(out, "%c", *layers == ',' ? '|' : *layers);
    }
    if (stage->method->params != NULL) {
        pq_text_add(out, ", ");
        pq_params_print(stage->method->params, stage->params, out);
    }
}

pq_status pq_task_change(pq_compress_task *task, const char *layer, double error,
                         const char *fmt, ...)
{
    pq_err *err = NULL; /* methods add their own context; out of memory says enough */
    pq_layer_change *grown =
        pq_recalloc(task->changes, task->n_changes, task->n_changes + 1, sizeof *grown);
    va_list   args;
    pq_status st;

    PQ_CHECK(grown != NULL, PQ_ERR_NOMEM, "cannot allocate %zu changes",
             task->n_changes + 1);
    task->changes           = grown;
    pq_layer_change *change = &grown[task->n_changes++];

    change->error = error;
    snprintf(change->layer, sizeof change->layer, "%s", layer);
    va_start(args, fmt);
    pq_vsnprintf(change->what, sizeof change->what, fmt, args);
    va_end(args);
cleanup:
    return st;
}

void pq_change_add(pq_layer_change *change, const char *fmt, ...)
{
    const size_t n = strlen(change->what);
    va_list      args;

    va_start(args, fmt);
    pq_vsnprintf(change->what + n, sizeof change->what - n, fmt, args);
    va_end(args);
}

void pq_change_miss(pq_layer_change *change, const char *asked, double due,
                    double reached)
{
    (void)pq_snprintf(change->missed, sizeof change->missed, "%s %.6g not reached: %.4g",
                      asked, due, reached);
    pq_change_add(change, "; %s", change->missed);
}
