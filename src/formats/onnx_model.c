#include "formats/onnx_parse.h"

#include <string.h>

#include "core/memory.h"

/* Dimension: its value, or -1. */
static pq_status read_dimension(const pq_onnx_model *m, pq_span message, int64_t *out,
                                pq_err *err)
{
    pq_wire   w = pq_onnx_message(m, message);
    pq_status st;

    *out = -1;
    while (pq_wire_next(&w, err)) {
        if (w.field == 1 && w.type == PQ_WIRE_VARINT && w.value >= 1 &&
            w.value <= INT32_MAX) {
            *out = (int64_t)w.value;
        }
    }
    PQ_TRY(w.st);
cleanup:
    return st;
}

/* ValueInfoProto > TypeProto > Tensor > TensorShapeProto > Dimension: each a message in
 * field 1 or 2 of the one before. `level` counts them down. */
static pq_status read_port(pq_onnx_model *m, pq_span message, int level,
                           pq_onnx_port *out, pq_err *err)
{
    static const unsigned inner[] = {2, 1, 2, 1};
    pq_wire               w       = pq_onnx_message(m, message);
    pq_status             st;

    while (pq_wire_next(&w, err)) {
        if (level == 0 && w.field == 1) {
            PQ_TRY(pq_onnx_keep_name(m, &m->names, &w, &out->name, err));
        } else if (level == 2 && w.field == 1 && w.type == PQ_WIRE_VARINT) {
            out->type = w.value <= 1000 ? (int)w.value : -1;
        } else if (w.field == inner[level] && w.type == PQ_WIRE_BYTES) {
            if (level < 3) {
                out->shaped = out->shaped || level == 2;
                PQ_TRY(read_port(m, w.bytes, level + 1, out, err));
            } else {
                PQ_CHECK(out->ndim < PQ_MAX_DIMS, PQ_ERR_UNSUPPORTED,
                         "'%s' has more than %d axes", m->names.text[out->name],
                         PQ_MAX_DIMS);
                PQ_TRY(read_dimension(m, w.bytes, &out->dim[out->ndim], err));
                out->ndim++;
            }
        }
    }
    PQ_TRY(w.st);
cleanup:
    return st;
}

static pq_status graph_field(pq_onnx_model *m, const pq_wire *w, pq_err *err)
{
    pq_status st = PQ_OK;

    if (w->field == 1 || w->field == 5 || w->field == 11 || w->field == 12) {
        PQ_TRY(pq_wire_due(w, PQ_WIRE_BYTES, err));
    }
    switch (w->field) {
    case 1:
        PQ_TRY(pq_onnx_read_node(m, &m->names, w->bytes, &m->nodes[m->n_nodes++], err));
        break;
    case 5:
        PQ_TRY(pq_onnx_read_tensor(m, w->bytes, true, &m->tensors[m->n_tensors++], err));
        break;
    case 11:
        PQ_TRY(read_port(m, w->bytes, 0, &m->inputs[m->n_inputs++], err));
        break;
    case 12:
        PQ_TRY(read_port(m, w->bytes, 0, &m->outputs[m->n_outputs++], err));
        break;
    default:
        PQ_CHECK(w->field != 15, PQ_ERR_UNSUPPORTED,
                 "the graph has sparse initializers, which are not read");
    }
cleanup:
    return st;
}

static pq_status read_graph(pq_onnx_model *m, pq_span message, pq_err *err)
{
    enum { NODE, TENSOR, INPUT, OUTPUT, N };
    const unsigned fields[N] = {1, 5, 11, 12};
    size_t         n[N];
    pq_wire        w = pq_onnx_message(m, message);
    pq_status      st;

    PQ_CHECK(m->nodes == NULL, PQ_ERR_FORMAT, "the file has more than one graph");
    PQ_TRY(pq_onnx_count(m, message, N, fields, n, err));
    PQ_ONNX_TAKE(m, m->nodes, n[NODE] + 1);
    PQ_ONNX_TAKE(m, m->tensors, n[TENSOR]);
    PQ_ONNX_TAKE(m, m->inputs, n[INPUT]);
    PQ_ONNX_TAKE(m, m->outputs, n[OUTPUT]);
    while (pq_wire_next(&w, err)) {
        PQ_TRY(graph_field(m, &w, err));
    }
    PQ_TRY(w.st);
cleanup:
    return st;
}

/* StringStringEntryProto */
static pq_status read_metadata(pq_onnx_model *m, pq_span message, pq_err *err)
{
    pq_wire     w    = pq_onnx_message(m, message);
    const char *key  = "";
    pq_span     text = {0};
    pq_status   st;

    while (pq_wire_next(&w, err)) {
        if (w.field == 1) {
            PQ_TRY(pq_onnx_keep_text(m, &w, &key, err));
        } else if (w.field == 2) {
            PQ_TRY(pq_wire_due(&w, PQ_WIRE_BYTES, err));
            text = w.bytes;
        }
    }
    PQ_TRY(w.st);
    /* What is no text is no note of ours either. */
    (void)json_object_set_new(
        m->metadata, key,
        json_stringn(text.at != NULL ? (const char *)text.at : "", text.n));
cleanup:
    return st;
}

static pq_status model_field(pq_onnx_model *m, const pq_wire *w, pq_err *err)
{
    pq_status st = PQ_OK;

    switch (w->field) {
    case 1:
        PQ_TRY(pq_wire_due(w, PQ_WIRE_VARINT, err));
        m->ir_version = (int64_t)w->value;
        break;
    case 2:
        PQ_TRY(pq_onnx_keep_text(m, w, &m->producer, err));
        break;
    case 3:
        PQ_TRY(pq_onnx_keep_text(m, w, &m->producer_version, err));
        break;
    case 7:
        PQ_TRY(pq_wire_due(w, PQ_WIRE_BYTES, err));
        PQ_TRY(read_graph(m, w->bytes, err));
        break;
    case 8:
        PQ_TRY(pq_wire_due(w, PQ_WIRE_BYTES, err));
        PQ_TRY(pq_onnx_read_opset(m, w->bytes, &m->opset, err));
        break;
    case 14:
        PQ_TRY(pq_wire_due(w, PQ_WIRE_BYTES, err));
        PQ_TRY(read_metadata(m, w->bytes, err));
        break;
    default: /* functions: pq_onnx_inline; training graphs are not for inference */
        break;
    }
cleanup:
    return st;
}

static pq_status read_model(pq_onnx_model *m, pq_err *err)
{
    pq_wire   w = pq_onnx_message(m, (pq_span){m->map.at, m->map.n});
    size_t    none;
    pq_status st;

    m->producer = m->producer_version = "";
    m->metadata                       = json_object();
    m->beside                         = json_object();
    PQ_CHECK(m->metadata != NULL && m->beside != NULL, PQ_ERR_NOMEM,
             "cannot allocate a table");
    PQ_TRY(pq_onnx_number_of(&m->names, "", &none, err));
    while (pq_wire_next(&w, err)) {
        PQ_TRY(model_field(m, &w, err));
    }
    PQ_TRY(w.st);
    PQ_CHECK(m->nodes != NULL, PQ_ERR_FORMAT, "the file holds no graph");
    PQ_CHECK(m->opset >= PQ_ONNX_OPSET_LEAST && m->opset <= PQ_ONNX_OPSET_MOST,
             PQ_ERR_UNSUPPORTED, "opset %lld of the operators is not in %d..%d",
             (long long)m->opset, PQ_ONNX_OPSET_LEAST, PQ_ONNX_OPSET_MOST);
    for (size_t i = 0; i < m->n_nodes; i++) {
        m->nodes[i].opset = m->opset;
    }
    PQ_TRY(pq_onnx_inline(m, err));
cleanup:
    return st;
}

pq_status pq_onnx_open(const char *path, pq_onnx_model *out, pq_err *err)
{
    pq_onnx_model m = {.path = path};
    pq_status     st;

    PQ_TRY(pq_map_open(path, &m.map, err));
    PQ_TRY(read_model(&m, err));
    *out = m;
    m    = (pq_onnx_model){0};
cleanup:
    pq_onnx_close(&m);
    return st;
}

void pq_onnx_close(pq_onnx_model *m)
{
    pq_onnx_give_back(m);
    json_decref(m->metadata);
    json_decref(m->beside);
    pq_onnx_names_free(&m->names);
    pq_map_close(&m->map);
    *m = (pq_onnx_model){0};
}
