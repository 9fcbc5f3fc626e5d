/*
 * ONNX: a graph of standard operators, opset 6 to 25, as layers of ours. Weights are
 * turned while they are read; nothing of a file is run.
 */
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "formats/left.h"
#include "formats/model.h"
#include "formats/onnx_export.h"
#include "formats/onnx_import.h"
#include "graph/head.h"

static const pq_onnx_operation *const tables[] = {
    pq_onnx_linear,     pq_onnx_pointwise, pq_onnx_arithmetic, pq_onnx_formulas,
    pq_onnx_norms,      pq_onnx_shapes,    pq_onnx_parts,      pq_onnx_pools,
    pq_onnx_quantizers, pq_onnx_of_qonnx};

enum { HEAD_BYTES = 64 };

/* ModelProto begins with ir_version, field 1, or opset_import, field 8; what it names
 * must be a graph somewhere: that is for the reader to say. */
static bool recognises(const char *path)
{
    uint8_t      start[HEAD_BYTES];
    const size_t n = pq_file_start(path, start, sizeof start), name = strlen(path);

    return (name > 5 && strcmp(path + name - 5, ".onnx") == 0) ||
           (n > 4 && start[0] == 0x08 && start[1] >= 1 && start[1] <= 32 &&
            (start[2] == 0x12 || start[2] == 0x3a || start[2] == 0x42));
}

static const pq_onnx_operation *find_operation(const pq_onnx_node *node)
{
    if (*node->domain != '\0' && strcmp(node->domain, "qonnx.custom_op.general") != 0 &&
        strcmp(node->domain, "finn.custom_op.general") != 0 &&
        strcmp(node->domain, "onnx.brevitas") != 0) {
        return NULL;
    }
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++) {
        for (const pq_onnx_operation *o = tables[t]; o->name != NULL; o++) {
            if (strcmp(o->name, node->op) == 0) {
                return o;
            }
        }
    }
    return NULL;
}

static bool is_listed(const char *list, const char *name)
{
    const size_t n = strlen(name);

    if (list != NULL && strcmp(list, "*") == 0) {
        return true;
    }
    for (const char *at = list; n > 0 && at != NULL && (at = strstr(at, name)) != NULL;
         at += n) {
        if ((at == list || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0')) {
            return true;
        }
    }
    return false;
}

static pq_status convert(pq_onnx_import *im, pq_err *err)
{
    const pq_onnx_node      *n = im->node;
    const pq_onnx_operation *o;
    bool                     done = false;
    pq_status                st;

    PQ_TRY(pq_onnx_fold(im, &done, err));
    if (done) {
        return PQ_OK;
    }
    o = find_operation(n);
    PQ_CHECK(o != NULL, PQ_ERR_UNSUPPORTED, "the operator is not read");
    PQ_CHECK(n->n_in >= o->min_in && n->n_in <= o->max_in, PQ_ERR_FORMAT,
             "it has %zu inputs, not %zu..%zu", n->n_in, o->min_in, o->max_in);
    for (size_t i = 0; i < n->n_attributes; i++) {
        PQ_CHECK(is_listed(o->attributes, n->attributes[i].name), PQ_ERR_UNSUPPORTED,
                 "attribute '%s' is not known", n->attributes[i].name);
    }
    PQ_TRY(o->convert(im, err));
cleanup:
    return st;
}

/* Says which node of which operator. */
static void name_node(const pq_onnx_import *im, pq_err *err)
{
    const pq_onnx_node *n    = im->node;
    const char         *name = *n->name != '\0' ? n->name
                               : n->n_out > 0   ? im->model->names.text[n->out[0]]
                                                : "";

    pq_err_context(err, "node '%s': %s%s%s", name, n->domain,
                   *n->domain != '\0' ? "." : "", n->op);
}

/* Marks the nodes that the output needs, from the last to the first. */
static void mark(const pq_onnx_import *im, size_t output, bool *live, bool *wanted)
{
    const pq_onnx_model *m = im->model;

    wanted[output] = true;
    for (size_t i = m->n_nodes; i-- > 0;) {
        for (size_t k = 0; k < m->nodes[i].n_out; k++) {
            live[i] = live[i] ||
                      (m->nodes[i].out[k] != PQ_ONNX_NONE && wanted[m->nodes[i].out[k]]);
        }
        for (size_t k = 0; live[i] && k < m->nodes[i].n_in; k++) {
            wanted[m->nodes[i].in[k]] = true;
            im->values[m->nodes[i].in[k]].readers++;
        }
    }
    im->values[output].readers++;
}

static pq_status add_constants(pq_onnx_import *im, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; i < im->model->n_tensors; i++) {
        const pq_onnx_tensor *t = &im->model->tensors[i];
        PQ_CHECK(t->name != PQ_ONNX_NONE && im->values[t->name].raw == NULL,
                 PQ_ERR_FORMAT, "constant '%s' is there twice, or has no name",
                 im->model->names.text[t->name]);
        im->values[t->name].raw = t;
    }
cleanup:
    return st;
}

static pq_status add_nodes(pq_onnx_import *im, const bool *live, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; i < im->model->n_nodes; i++) {
        if (!live[i]) {
            continue;
        }
        im->node = &im->model->nodes[i];
        st       = convert(im, err);
        if (st != PQ_OK) {
            name_node(im, err);
            goto cleanup;
        }
    }
cleanup:
    return st;
}

/* Whether a value stands as we hold images: the channels, ONNX's axis 1, last. */
static bool is_image(const pq_onnx_import *im, const pq_onnx_value *v)
{
    bool found = im->images;

    for (size_t i = 0; i < im->graph->n_nodes; i++) {
        found = found || is_listed("conv2d max_pool avg_pool",
                                   im->graph->nodes[i].layer->kind->name);
    }
    for (size_t i = 0; i < v->n_axes; i++) {
        found = found && v->axis[i] == (i + 1 < v->n_axes ? (int)i + 2 : 1);
    }
    return found && v->n_axes + 1 == v->ndim;
}

static pq_status set_output(pq_onnx_import *im, size_t output, pq_err *err)
{
    const pq_onnx_value *v    = &im->values[output];
    const char          *name = im->model->names.text[output];
    pq_status            st;

    PQ_CHECK(v->active && v->part == PQ_ONNX_WHOLE && v->quant == NULL,
             PQ_ERR_UNSUPPORTED, "output '%s' is no activations that its input makes",
             name);
    PQ_CHECK(v->batch == 0, PQ_ERR_UNSUPPORTED,
             "output '%s' has its batch on axis %zu, not the first", name, v->batch);
    PQ_CHECK(v->dim[0] == 1, PQ_ERR_UNSUPPORTED,
             "output '%s' has %zu rows of each event along the batch; an event has one",
             name, v->dim[0]);
    PQ_CHECK(v->order == NULL, PQ_ERR_UNSUPPORTED,
             "output '%s' is an image flattened channel by channel, which pquant holds "
             "row by row",
             name);
    PQ_CHECK(pq_onnx_is_straight(v) || is_image(im, v), PQ_ERR_UNSUPPORTED,
             "output '%s' would have to be transposed, for which there is no layer",
             name);
    im->graph->output = v->node;
    pq_graph_drop_unread(im->graph); /* made for what is now said otherwise */
cleanup:
    return st;
}

/* What pquant left in the file's metadata, as JSON; NULL without it. */
static json_t *left_by_us(const pq_onnx_model *m, const char *key)
{
    const char *text = json_string_value(json_object_get(m->metadata, key));

    return text != NULL ? json_loads(text, 0, NULL) : NULL;
}

static pq_status note_origin(pq_onnx_import *im, pq_err *err)
{
    const pq_onnx_model *m        = im->model;
    json_t              *steps    = left_by_us(m, "pquant.provenance");
    json_t              *classes  = left_by_us(m, "pquant.class_names");
    json_t              *features = left_by_us(m, "pquant.feature_names");
    json_t              *note = json_pack("{s:s, s:I, s:I}", "read", "onnx", "ir_version",
                                          (json_int_t)m->ir_version, "opset", (json_int_t)m->opset);
    pq_status            st;

    PQ_TRY(pq_left_take(im->graph, steps, classes, features, err));
    PQ_CHECK(note != NULL, PQ_ERR_NOMEM, "cannot allocate a note");
    (void)json_object_set_new(note, "producer", json_string(m->producer));
    (void)json_object_set_new(note, "producer_version", json_string(m->producer_version));
    st   = pq_graph_note(im->graph, note, err);
    note = NULL;
    PQ_TRY(st);
cleanup:
    json_decref(steps);
    json_decref(classes);
    json_decref(features);
    json_decref(note);
    return st;
}

/* The chosen output, as an index of names. */
static pq_status choose(const pq_onnx_model *m, const char *output, size_t *out,
                        pq_err *err)
{
    const char **names = NULL;
    size_t       which = 0;
    pq_status    st;

    PQ_CHECK(m->n_outputs > 0, PQ_ERR_FORMAT, "the model has no output");
    PQ_NEW(names, m->n_outputs);
    for (size_t i = 0; i < m->n_outputs; i++) {
        names[i] = m->names.text[m->outputs[i].name];
    }
    PQ_TRY(pq_model_choose(m->n_outputs, names, output, &which, err));
    *out = m->outputs[which].name;
cleanup:
    pq_free(names);
    return st;
}

static pq_status build(pq_onnx_import *im, const char *name, pq_err *err)
{
    const pq_onnx_model *m    = im->model;
    bool                *live = NULL, *wanted = NULL;
    size_t               output;
    pq_status            st;

    PQ_NEW(im->values, m->names.n);
    PQ_NEW(live, m->n_nodes);
    PQ_NEW(wanted, m->names.n);
    PQ_TRY(choose(m, name, &output, err));
    mark(im, output, live, wanted);
    PQ_TRY(add_constants(im, err));
    for (size_t i = 0; i < m->n_inputs; i++) { /* constants may stand among them */
        if (im->values[m->inputs[i].name].raw == NULL && wanted[m->inputs[i].name]) {
            PQ_TRY(pq_onnx_add_input(im, &m->inputs[i], err));
        }
    }
    PQ_CHECK(im->graph->n_nodes > 0, PQ_ERR_FORMAT,
             "the output depends on no input of the model");
    PQ_TRY(add_nodes(im, live, err));
    PQ_TRY(set_output(im, output, err));
    PQ_TRY(note_origin(im, err));
cleanup:
    pq_free(live);
    pq_free(wanted);
    return st;
}

static void free_values(pq_onnx_import *im)
{
    for (size_t i = 0; im->values != NULL && i < im->model->names.n; i++) {
        pq_tensor_free(&im->values[i].folded);
        pq_free(im->values[i].order);
        pq_quant_free(&im->values[i].quant);
        pq_quant_free(&im->values[i].wide);
    }
    pq_free(im->values);
}

pq_status pq_onnx_load_output(const char *path, const char *arch, const char *output,
                              pq_graph **out, pq_err *err)
{
    pq_onnx_model  model = {0};
    pq_onnx_import im    = {.model = &model};
    pq_status      st;

    PQ_CHECK(arch == NULL, PQ_ERR_CONFIG,
             "an ONNX file holds its architecture; --arch is not for it");
    PQ_TRY(pq_onnx_open(path, &model, err));
    PQ_TRY(pq_graph_create(&im.graph, err));
    PQ_TRY(build(&im, output, err));
    *out     = im.graph;
    im.graph = NULL;
cleanup:
    if (st != PQ_OK) {
        pq_err_context(err, "%s", path);
    }
    free_values(&im);
    pq_graph_free(&im.graph);
    pq_onnx_close(&model);
    return st;
}

pq_status pq_onnx_load(const char *path, const char *arch, pq_graph **out, pq_err *err)
{
    return pq_onnx_load_output(path, arch, NULL, out, err);
}

const pq_model_format pq_model_format_onnx = {
    .name        = "onnx",
    .summary     = "ONNX graph of standard operators, opset 6 to 25",
    .source      = "onnx.ai, onnx.proto and Operators.md",
    .recognises  = recognises,
    .load        = pq_onnx_load,
    .load_output = pq_onnx_load_output,
    .save        = pq_onnx_save,
};
