/* Writes a graph as ONNX: opset 20, IR 9. */
#include "formats/onnx_export.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "formats/left.h"

enum { OPSET = 20, IR_VERSION = 9, MAX_BYTES = 0x7fffffff };

/* hls4ml makes identifiers of C++ of the names. */
static void make_word(const pq_onnx_export *ex, char *name)
{
    for (; ex->form == PQ_ONNX_AS_QONNX && name != NULL && *name != '\0'; name++) {
        *name = isalnum((unsigned char)*name) ? *name : '_';
    }
}

char *pq_onnx_name(pq_onnx_export *ex, const char *what)
{
    char *name = NULL;

    do { /* a layer may be called anything */
        pq_free(name);
        name = pq_format(ex->form == PQ_ONNX_AS_QONNX ? "%s_%s%zu" : "%s:%s%zu",
                         ex->graph->nodes[ex->at].name, what, ex->made++);
        make_word(ex, name);
    } while (name != NULL && pq_graph_find(ex->graph, name) != SIZE_MAX);
    return name;
}

void pq_onnx_begin(pq_onnx_export *ex, const char *op, size_t n, const char *const *in,
                   const char *out)
{
    for (size_t i = 0; i < n; i++) {
        pq_wire_put_text(&ex->node, 1, in[i]);
    }
    pq_wire_put_text(&ex->node, 2, out);
    pq_wire_put_text(&ex->node, 3, out);
    pq_wire_put_text(&ex->node, 4, op);
}

/* AttributeProto: its name, then what `put` gave, then its type. */
static void end_attribute(pq_onnx_export *ex, const char *name, int type, pq_text *value)
{
    pq_text a = {0};

    pq_wire_put_text(&a, 1, name);
    pq_text_add_bytes(&a, value->text != NULL ? value->text : "", value->length);
    pq_wire_put_int(&a, 20, type);
    a.failed = a.failed || value->failed;
    pq_text_free(value);
    pq_wire_put_message(&ex->node, 5, &a);
}

void pq_onnx_put_domain(pq_onnx_export *ex, const char *domain)
{
    pq_wire_put_text(&ex->node, 7, domain);
}

void pq_onnx_put_int(pq_onnx_export *ex, const char *name, int64_t value)
{
    pq_text v = {0};

    pq_wire_put_int(&v, 3, value);
    end_attribute(ex, name, 2, &v);
}

void pq_onnx_put_real(pq_onnx_export *ex, const char *name, double value)
{
    pq_text v = {0};

    pq_wire_put_float(&v, 2, (float)value);
    end_attribute(ex, name, 1, &v);
}

void pq_onnx_put_text(pq_onnx_export *ex, const char *name, const char *value)
{
    pq_text v = {0};

    pq_wire_put_text(&v, 4, value);
    end_attribute(ex, name, 3, &v);
}

void pq_onnx_put_ints(pq_onnx_export *ex, const char *name, size_t n,
                      const int64_t *values)
{
    pq_text v = {0};

    for (size_t i = 0; i < n; i++) {
        pq_wire_put_int(&v, 8, values[i]);
    }
    end_attribute(ex, name, 7, &v);
}

void pq_onnx_end(pq_onnx_export *ex)
{
    pq_wire_put_message(&ex->out, 1, &ex->node);
}

void pq_onnx_put_constant(pq_onnx_export *ex, const char *name, int type,
                          const pq_shape *shape, const void *bytes, size_t n)
{
    pq_text t = {0};

    for (size_t i = 0; i < shape->ndim; i++) {
        pq_wire_put_int(&t, 1, (int64_t)shape->dim[i]);
    }
    pq_wire_put_int(&t, 2, type);
    pq_wire_put_text(&t, 8, name);
    pq_wire_put_bytes(&t, 9, bytes, n);
    pq_wire_put_message(&ex->out, 5, &t);
}

static pq_status put_named(pq_onnx_export *ex, const char *what, int type,
                           const pq_shape *shape, const void *bytes, size_t n,
                           char **name, pq_err *err)
{
    pq_status st;

    *name = pq_onnx_name(ex, what);
    PQ_CHECK(*name != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    pq_onnx_put_constant(ex, *name, type, shape, bytes, n);
cleanup:
    return st;
}

pq_status pq_onnx_put_floats(pq_onnx_export *ex, const char *what, const pq_tensor *t,
                             char **name, pq_err *err)
{
    return put_named(ex, what, PQ_ONNX_FLOAT, &t->shape, pq_f32(t), 4 * t->count, name,
                     err);
}

pq_status pq_onnx_put_number(pq_onnx_export *ex, const char *what, float value,
                             char **name, pq_err *err)
{
    return put_named(ex, what, PQ_ONNX_FLOAT, &(pq_shape){0}, &value, 4, name, err);
}

pq_status pq_onnx_put_list(pq_onnx_export *ex, const char *what, size_t n,
                           const int64_t *values, char **name, pq_err *err)
{
    return put_named(ex, what, PQ_ONNX_INT64, &PQ_SHAPE(n), values, 8 * n, name, err);
}

void pq_onnx_gives(pq_onnx_export *ex, int layout, char *name)
{
    ex->value[ex->at][layout] = name;
}

pq_status pq_onnx_input(pq_onnx_export *ex, size_t k, int layout, const char **out,
                        pq_err *err)
{
    static const int64_t to[PQ_ONNX_LAYOUTS][4] = {{0, 2, 3, 1}, {0, 3, 1, 2}};
    const size_t         node                   = ex->graph->nodes[ex->at].inputs[k];
    char               **have                   = ex->value[node];
    pq_status            st;

    if (have[layout] == NULL) {
        const char *from = have[1 - layout];
        have[layout]     = pq_onnx_name(ex, "axes");
        PQ_CHECK(have[layout] != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
        pq_onnx_begin(ex, "Transpose", 1, &from, have[layout]);
        pq_onnx_put_ints(ex, "perm", 4, to[layout]);
        pq_onnx_end(ex);
    }
    *out = have[layout];
    st   = PQ_OK;
cleanup:
    return st;
}

/* ValueInfoProto of floats [batch, shape]. */
static void put_port(pq_onnx_export *ex, unsigned field, const char *name,
                     const pq_shape *shape)
{
    pq_text port = {0}, type = {0}, tensor = {0}, dims = {0}, d = {0};

    pq_wire_put_text(&d, 2, "batch");
    pq_wire_put_message(&dims, 1, &d);
    for (size_t i = 0; i < shape->ndim; i++) {
        pq_wire_put_int(&d, 1, (int64_t)shape->dim[i]);
        pq_wire_put_message(&dims, 1, &d);
    }
    pq_wire_put_int(&tensor, 1, PQ_ONNX_FLOAT);
    pq_wire_put_message(&tensor, 2, &dims);
    pq_wire_put_message(&type, 1, &tensor);
    pq_wire_put_text(&port, 1, name);
    pq_wire_put_message(&port, 2, &type);
    pq_wire_put_message(&ex->out, field, &port);
}

/* (x - mean) / std in front of everything. */
static pq_status put_scaler(pq_onnx_export *ex, char **name, pq_err *err)
{
    const pq_tensor *t[]  = {ex->graph->scaler_mean, ex->graph->scaler_std};
    const char      *op[] = {"Sub", "Div"};
    pq_status        st   = PQ_OK;

    for (size_t i = 0; i < 2 && t[0] != NULL; i++) {
        char *constant = NULL, *next = NULL;
        st   = pq_onnx_put_floats(ex, "scaler", t[i], &constant, err);
        next = pq_onnx_name(ex, "scaled");
        if (st == PQ_OK && next != NULL) {
            pq_onnx_begin(ex, op[i], 2, (const char *const[]){*name, constant}, next);
            pq_onnx_end(ex);
        }
        pq_free(constant);
        pq_free(*name);
        *name = next;
        PQ_CHECK(st == PQ_OK && next != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    }
cleanup:
    return st;
}

static pq_status put_input(pq_onnx_export *ex, pq_err *err)
{
    const pq_node *n    = &ex->graph->nodes[ex->at];
    char          *name = NULL;
    pq_status      st;

    PQ_STRDUP(name, n->name);
    make_word(ex, name);
    put_port(ex, 11, name, &n->shape);
    PQ_TRY(put_scaler(ex, &name, err));
    pq_onnx_gives(ex, PQ_ONNX_OURS, name);
    name = NULL;
cleanup:
    pq_free(name);
    return st;
}

/* The output keeps our axes, under a name that nothing else has. */
static pq_status put_output(pq_onnx_export *ex, pq_err *err)
{
    const pq_node *n      = &ex->graph->nodes[ex->graph->output];
    const int64_t  ours[] = {0, 2, 3, 1};
    char         **have   = ex->value[ex->graph->output];
    const bool     turned = have[PQ_ONNX_OURS] == NULL;
    const char    *from   = have[turned ? PQ_ONNX_IMAGE : PQ_ONNX_OURS];
    char          *name   = NULL;
    pq_status      st;

    ex->at = ex->graph->output;
    if (ex->form == PQ_ONNX_AS_QONNX && !turned && n->n_inputs > 0) {
        put_port(ex, 12, from, &n->shape); /* hls4ml takes no Identity at the end */
        return PQ_OK;
    }
    name = pq_onnx_name(ex, "output");
    PQ_CHECK(name != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    pq_onnx_begin(ex, turned ? "Transpose" : "Identity", 1, &from, name);
    if (turned) {
        pq_onnx_put_ints(ex, "perm", 4, ours);
    }
    pq_onnx_end(ex);
    put_port(ex, 12, name, &n->shape);
cleanup:
    pq_free(name);
    return st;
}

static pq_status put_nodes(pq_onnx_export *ex, pq_err *err)
{
    pq_status st = PQ_OK;

    for (ex->at = 0; ex->at < ex->graph->n_nodes; ex->at++) {
        const pq_node *n = &ex->graph->nodes[ex->at];
        st = n->n_inputs == 0 ? put_input(ex, err) : pq_onnx_put_layer(ex, err);
        if (st == PQ_OK && n->quant != NULL) {
            st = pq_onnx_put_grid(ex, err);
        }
        if (st != PQ_OK) {
            pq_err_context(err, "layer '%s' (%s) cannot be written as ONNX", n->name,
                           n->layer->kind->name);
            goto cleanup;
        }
    }
    PQ_TRY(put_output(ex, err));
cleanup:
    return st;
}

static void put_metadata(pq_text *model, const char *key, json_t *value)
{
    char *text = value != NULL ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    pq_text m  = {0};

    if (text != NULL) {
        pq_wire_put_text(&m, 1, key);
        pq_wire_put_text(&m, 2, text);
        pq_wire_put_message(model, 14, &m);
    }
    model->failed = model->failed || (value != NULL && text == NULL);
    free(text);
    json_decref(value);
}

static void put_model(pq_onnx_export *ex, pq_text *model)
{
    const pq_graph *g   = ex->graph;
    pq_text         set = {0};

    pq_wire_put_text(&ex->out, 2, "pquant");
    pq_wire_put_int(model, 1, IR_VERSION);
    pq_wire_put_text(model, 2, "pquant");
    pq_wire_put_text(model, 3, PQ_VERSION);
    pq_wire_put_message(model, 7, &ex->out);
    pq_wire_put_text(&set, 1, "");
    pq_wire_put_int(&set, 2, OPSET);
    pq_wire_put_message(model, 8, &set);
    if (ex->form == PQ_ONNX_AS_QONNX) {
        pq_wire_put_text(&set, 1, PQ_ONNX_QONNX_DOMAIN);
        pq_wire_put_int(&set, 2, 1);
        pq_wire_put_message(model, 8, &set);
    }
    put_metadata(model, "pquant.provenance", json_incref(g->provenance));
    put_metadata(model, "pquant.class_names",
                 pq_left_texts(g->n_classes, g->class_names));
    put_metadata(model, "pquant.feature_names",
                 pq_left_texts(g->n_features, g->feature_names));
}

pq_status pq_onnx_save(const pq_graph *graph, const char *path, pq_err *err)
{
    return pq_onnx_save_as(graph, PQ_ONNX_AS_CODES, path, err);
}

static bool has_grids(const pq_graph *graph)
{
    for (size_t i = 0; i < graph->n_nodes; i++) {
        if (graph->nodes[i].quant != NULL) {
            return true;
        }
    }
    return false;
}

pq_status pq_onnx_save_as(const pq_graph *graph, pq_onnx_form form, const char *path,
                          pq_err *err)
{
    pq_onnx_export ex    = {.graph = graph, .form = form, .grids = has_grids(graph)};
    pq_text        model = {0};
    pq_status      st;

    PQ_NEW(ex.value, graph->n_nodes);
    PQ_TRY(put_nodes(&ex, err));
    put_model(&ex, &model);
    PQ_CHECK(!model.failed, PQ_ERR_NOMEM, "cannot allocate a file of %zu bytes",
             model.length);
    PQ_CHECK(model.length <= MAX_BYTES, PQ_ERR_UNSUPPORTED,
             "%s: would have %zu bytes; ONNX files have at most %d", path, model.length,
             MAX_BYTES);
    PQ_TRY(pq_file_write(path, model.text, model.length, err));
cleanup:
    for (size_t i = 0; ex.value != NULL && i < graph->n_nodes; i++) {
        pq_free(ex.value[i][PQ_ONNX_OURS]);
        pq_free(ex.value[i][PQ_ONNX_IMAGE]);
    }
    pq_free(ex.value);
    pq_text_free(&ex.out);
    pq_text_free(&ex.node);
    pq_text_free(&model);
    return st;
}
