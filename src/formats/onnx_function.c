/* Functions of a model's own, as they stand in the file. */
#include "formats/onnx_function.h"

#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "formats/onnx_parse.h"

enum { KEY_BYTES = 3 * PQ_ONNX_TEXT_BYTES + 64 };

/* Texts may hold anything: their lengths tell them apart. */
static void write_key(const char *domain, const char *name, const char *overload,
                      char key[KEY_BYTES])
{
    (void)snprintf(key, KEY_BYTES, "%zu %zu %s%s%s", strlen(domain), strlen(name), domain,
                   name, overload);
}

static pq_status function_field(pq_onnx_model *m, const pq_wire *w, pq_onnx_function *f,
                                pq_err *err)
{
    pq_status st = PQ_OK;

    if (w->field == 7 || w->field == 9 || w->field == 11) {
        PQ_TRY(pq_wire_due(w, PQ_WIRE_BYTES, err));
    }
    switch (w->field) {
    case 1:
        PQ_TRY(pq_onnx_keep_text(m, w, &f->name, err));
        break;
    case 4:
        PQ_TRY(pq_onnx_keep_name(m, &f->names, w, &f->in[f->n_in++], err));
        break;
    case 5:
        PQ_TRY(pq_onnx_keep_name(m, &f->names, w, &f->out[f->n_out++], err));
        break;
    case 6:
        PQ_TRY(pq_onnx_keep_text(m, w, &f->attributes[f->n_attributes++], err));
        break;
    case 7:
        PQ_TRY(pq_onnx_read_node(m, &f->names, w->bytes, &f->nodes[f->n_nodes++], err));
        break;
    case 9:
        PQ_TRY(pq_onnx_read_opset(m, w->bytes, &f->opset, err));
        break;
    case 10:
        PQ_TRY(pq_onnx_keep_text(m, w, &f->domain, err));
        f->domain = pq_onnx_domain(f->domain);
        break;
    case 11:
        PQ_TRY(pq_onnx_read_attribute(m, w->bytes, &f->defaults[f->n_defaults++], err));
        break;
    case 13:
        PQ_TRY(pq_onnx_keep_text(m, w, &f->overload, err));
        break;
    default:
        break;
    }
cleanup:
    return st;
}

static pq_status read_function(pq_onnx_model *m, pq_span message, pq_onnx_function *f,
                               pq_err *err)
{
    enum { INPUT, OUTPUT, ATTRIBUTE, NODE, DEFAULT, N };
    const unsigned fields[N] = {4, 5, 6, 7, 11};
    size_t         n[N], none;
    pq_wire        w = pq_onnx_message(m, message);
    pq_status      st;

    f->domain = f->name = f->overload = "";
    PQ_TRY(pq_onnx_number_of(&f->names, "", &none, err));
    PQ_TRY(pq_onnx_count(m, message, N, fields, n, err));
    PQ_ONNX_TAKE(m, f->in, n[INPUT]);
    PQ_ONNX_TAKE(m, f->out, n[OUTPUT]);
    PQ_ONNX_TAKE(m, f->attributes, n[ATTRIBUTE]);
    PQ_ONNX_TAKE(m, f->nodes, n[NODE]);
    PQ_ONNX_TAKE(m, f->defaults, n[DEFAULT]);
    while (pq_wire_next(&w, err)) {
        PQ_TRY(function_field(m, &w, f, err));
    }
    PQ_TRY(w.st);
    PQ_CHECK(f->opset == 0 ||
                 (f->opset >= PQ_ONNX_OPSET_LEAST && f->opset <= PQ_ONNX_OPSET_MOST),
             PQ_ERR_UNSUPPORTED, "opset %lld of the operators is not in %d..%d",
             (long long)f->opset, PQ_ONNX_OPSET_LEAST, PQ_ONNX_OPSET_MOST);
cleanup:
    if (st != PQ_OK) {
        pq_err_context(err, "function '%s.%s'", f->domain, f->name);
    }
    return st;
}

static pq_status add_to_index(pq_onnx_functions *in, size_t k, pq_err *err)
{
    const pq_onnx_function *f = &in->list[k];
    char                    key[KEY_BYTES];
    pq_status               st;

    write_key(f->domain, f->name, f->overload, key);
    PQ_CHECK(json_object_get(in->index, key) == NULL, PQ_ERR_FORMAT,
             "function '%s.%s' is there twice", f->domain, f->name);
    PQ_CHECK(json_object_set_new_nocheck(in->index, key, json_integer((json_int_t)k)) ==
                 0,
             PQ_ERR_NOMEM, "cannot allocate a name");
cleanup:
    return st;
}

pq_status pq_onnx_read_functions(pq_onnx_functions *in, pq_err *err)
{
    const unsigned field = 25;
    const pq_span  all   = {in->m->map.at, in->m->map.n};
    pq_wire        w     = pq_onnx_message(in->m, all);
    size_t         n     = 0;
    pq_status      st;

    PQ_TRY(pq_onnx_count(in->m, all, 1, &field, &n, err));
    if (n == 0) {
        return PQ_OK;
    }
    in->index = json_object();
    PQ_CHECK(in->index != NULL, PQ_ERR_NOMEM, "cannot allocate a table");
    PQ_NEW(in->list, n);
    while (pq_wire_next(&w, err)) {
        if (w.field == field) {
            const size_t k = in->n++;
            PQ_TRY(pq_wire_due(&w, PQ_WIRE_BYTES, err));
            PQ_TRY(read_function(in->m, w.bytes, &in->list[k], err));
            PQ_TRY(add_to_index(in, k, err));
        }
    }
    PQ_TRY(w.st);
cleanup:
    return st;
}

pq_onnx_function *pq_onnx_called(const pq_onnx_functions *in, const pq_onnx_node *node)
{
    const json_t *at = NULL;
    char          key[KEY_BYTES];

    if (*node->domain != '\0') {
        write_key(node->domain, node->op, node->overload, key);
        at = json_object_get(in->index, key);
    }
    return at != NULL ? &in->list[json_integer_value(at)] : NULL;
}

const pq_onnx_attribute *pq_onnx_find_attribute(const pq_onnx_attribute *list, size_t n,
                                                const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i].name, name) == 0) {
            return &list[i];
        }
    }
    return NULL;
}

bool pq_onnx_declares(const pq_onnx_function *f, const char *name)
{
    bool found = pq_onnx_find_attribute(f->defaults, f->n_defaults, name) != NULL;

    for (size_t i = 0; i < f->n_attributes; i++) {
        found = found || strcmp(f->attributes[i], name) == 0;
    }
    return found;
}

void pq_onnx_functions_free(pq_onnx_functions *in)
{
    for (size_t i = 0; i < in->n; i++) {
        pq_onnx_names_free(&in->list[i].names);
    }
    pq_free(in->list);
    json_decref(in->index);
    *in = (pq_onnx_functions){0};
}
