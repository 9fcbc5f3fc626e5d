#include "formats/onnx_model.h"

#include <string.h>

#include "core/memory.h"

enum { BLOCK_BYTES = 65536, TEXT_BYTES = 4096, FIRST_NAMES = 256 };

/* Memory that lives as long as the model. */
struct block {
    struct block *next;
    size_t        used, size;
};

static void *take(pq_onnx_model *m, size_t count, size_t bytes)
{
    const size_t  head = (sizeof(struct block) + 15) / 16 * 16;
    size_t        n    = 0;
    struct block *b    = m->blocks;

    if (__builtin_mul_overflow(count, bytes, &n) || n > SIZE_MAX - BLOCK_BYTES) {
        return NULL;
    }
    n = (n + 15) / 16 * 16;
    if (b == NULL || b->size - b->used < n) {
        b = pq_calloc(1, head + (n > BLOCK_BYTES ? n : BLOCK_BYTES));
        if (b == NULL) {
            return NULL;
        }
        *b        = (struct block){m->blocks, 0, n > BLOCK_BYTES ? n : BLOCK_BYTES};
        m->blocks = b;
    }
    b->used += n;
    return (char *)b + head + b->used - n;
}

#define TAKE(pointer, count)                                                             \
    do {                                                                                 \
        (pointer) = take(m, (count), sizeof *(pointer));                                 \
        PQ_CHECK((pointer) != NULL, PQ_ERR_NOMEM, "cannot allocate %zu items",           \
                 (size_t)(count));                                                       \
    } while (0)

static pq_status keep_text(pq_onnx_model *m, const pq_wire *w, const char **out,
                           pq_err *err)
{
    char     *text;
    pq_status st;

    PQ_TRY(pq_wire_due(w, PQ_WIRE_BYTES, err));
    PQ_CHECK(w->bytes.n <= TEXT_BYTES, PQ_ERR_FORMAT,
             "a name has %zu bytes; at most %d are read", w->bytes.n, TEXT_BYTES);
    PQ_CHECK(w->bytes.n == 0 || memchr(w->bytes.at, '\0', w->bytes.n) == NULL,
             PQ_ERR_FORMAT, "a name holds a NUL");
    TAKE(text, w->bytes.n + 1);
    if (w->bytes.n > 0) {
        memcpy(text, w->bytes.at, w->bytes.n);
    }
    *out = text;
cleanup:
    return st;
}

/* Number of a name, a new one where it is met first. */
static pq_status number(pq_onnx_model *m, const char *name, size_t *out, pq_err *err)
{
    const json_t *known = json_object_get(m->numbers, name);
    void         *grown;
    pq_status     st = PQ_OK;

    if (known != NULL) {
        *out = (size_t)json_integer_value(known);
        return PQ_OK;
    }
    if (m->n_names == m->room) {
        const size_t room = m->room == 0 ? FIRST_NAMES : 2 * m->room;
        grown             = pq_recalloc(m->names, m->room, room, sizeof *m->names);
        PQ_CHECK(grown != NULL, PQ_ERR_NOMEM, "cannot allocate %zu names", room);
        m->names = grown;
        m->room  = room;
    }
    PQ_CHECK(json_object_set_new_nocheck(m->numbers, name,
                                         json_integer((json_int_t)m->n_names)) == 0,
             PQ_ERR_NOMEM, "cannot allocate a name");
    m->names[m->n_names] = name;
    *out                 = m->n_names++;
cleanup:
    return st;
}

static pq_status keep_name(pq_onnx_model *m, const pq_wire *w, size_t *out, pq_err *err)
{
    const char *text;
    pq_status   st;

    PQ_TRY(keep_text(m, w, &text, err));
    PQ_TRY(number(m, text, out, err));
cleanup:
    return st;
}

static pq_wire message_of(const pq_onnx_model *m, pq_span message)
{
    return (pq_wire){.rest = message, .start = m->map.at};
}

/* Counts the fields of some numbers. */
static pq_status count(const pq_onnx_model *m, pq_span message, size_t n,
                       const unsigned *fields, size_t *counts, pq_err *err)
{
    pq_wire   w  = message_of(m, message);
    pq_status st = PQ_OK;

    memset(counts, 0, n * sizeof *counts);
    while (pq_wire_next(&w, err)) {
        for (size_t i = 0; i < n; i++) {
            counts[i] += w.field == fields[i] ? 1 : 0;
        }
    }
    PQ_TRY(w.st);
    for (size_t i = 0; i < n; i++) {
        PQ_CHECK(counts[i] <= PQ_ONNX_NODES, PQ_ERR_FORMAT,
                 "field %u is there %zu times; at most %d are read", fields[i], counts[i],
                 PQ_ONNX_NODES);
    }
cleanup:
    return st;
}

static pq_status read_attribute(pq_onnx_model *m, pq_span message, pq_onnx_attribute *out,
                                pq_err *err)
{
    pq_wire   w = message_of(m, message);
    pq_status st;

    *out = (pq_onnx_attribute){"", message};
    while (pq_wire_next(&w, err)) {
        if (w.field == 1) {
            PQ_TRY(keep_text(m, &w, &out->name, err));
        }
    }
    PQ_TRY(w.st);
cleanup:
    return st;
}

static pq_status read_node(pq_onnx_model *m, pq_span message, pq_onnx_node *out,
                           pq_err *err)
{
    enum { IN, OUT, ATTRIBUTE, N };
    const unsigned     fields[N] = {1, 2, 5};
    size_t             n[N], *in, *to;
    pq_onnx_attribute *attributes;
    pq_wire            w = message_of(m, message);
    pq_status          st;

    *out = (pq_onnx_node){.name = "", .op = "", .domain = ""};
    PQ_TRY(count(m, message, N, fields, n, err));
    TAKE(in, n[IN]);
    TAKE(to, n[OUT]);
    TAKE(attributes, n[ATTRIBUTE]);
    out->in         = in;
    out->out        = to;
    out->attributes = attributes;
    while (pq_wire_next(&w, err)) {
        if (w.field == 1) {
            PQ_TRY(keep_name(m, &w, &in[out->n_in++], err));
        } else if (w.field == 2) {
            PQ_TRY(keep_name(m, &w, &to[out->n_out++], err));
        } else if (w.field == 3) {
            PQ_TRY(keep_text(m, &w, &out->name, err));
        } else if (w.field == 4) {
            PQ_TRY(keep_text(m, &w, &out->op, err));
        } else if (w.field == 5) {
            PQ_TRY(pq_wire_due(&w, PQ_WIRE_BYTES, err));
            PQ_TRY(read_attribute(m, w.bytes, &attributes[out->n_attributes++], err));
        } else if (w.field == 7) {
            PQ_TRY(keep_text(m, &w, &out->domain, err));
        }
    }
    PQ_TRY(w.st);
    out->domain = strcmp(out->domain, "ai.onnx") == 0 ? "" : out->domain;
cleanup:
    return st;
}

/* Numbers of a repeated field, packed or one by one. */
static pq_status add_dims(const pq_wire *w, pq_shape *shape, pq_err *err)
{
    pq_span   rest = w->bytes;
    uint64_t  value;
    pq_status st = PQ_OK;

    do {
        if (w->type == PQ_WIRE_VARINT) {
            value = w->value;
        } else {
            PQ_TRY(pq_wire_due(w, PQ_WIRE_BYTES, err));
            if (rest.n == 0) {
                break;
            }
            PQ_TRY(pq_wire_varint(&rest, &value, err));
        }
        PQ_CHECK(shape->ndim < PQ_MAX_DIMS, PQ_ERR_UNSUPPORTED,
                 "an array has more than %d axes", PQ_MAX_DIMS);
        PQ_CHECK(value <= INT64_MAX, PQ_ERR_FORMAT, "axis %zu of an array is %lld long",
                 shape->ndim, (long long)value);
        shape->dim[shape->ndim++] = (size_t)value;
    } while (rest.n > 0);
cleanup:
    return st;
}

/* Header of a TensorProto. Only an initializer's name is one of the graph's: that of a
 * constant within a node is a text, and gets no number among the values. */
static pq_status read_tensor(pq_onnx_model *m, pq_span message, bool named,
                             pq_onnx_tensor *out, pq_err *err)
{
    pq_wire   w = message_of(m, message);
    pq_status st;

    *out = (pq_onnx_tensor){.message = message};
    while (pq_wire_next(&w, err)) {
        if (w.field == 1) {
            PQ_TRY(add_dims(&w, &out->shape, err));
        } else if (w.field == 2) {
            PQ_TRY(pq_wire_due(&w, PQ_WIRE_VARINT, err));
            out->type = w.value <= 1000 ? (int)w.value : -1;
        } else if (w.field == 8 && named) {
            PQ_TRY(keep_name(m, &w, &out->name, err));
        } else if (w.field == 14) {
            PQ_TRY(pq_wire_due(&w, PQ_WIRE_VARINT, err));
            out->external = w.value == 1;
        }
        PQ_CHECK(w.field != 3, PQ_ERR_UNSUPPORTED,
                 "an array stands in segments, which are not read");
    }
    PQ_TRY(w.st);
    PQ_CHECK(pq_shape_count(&out->shape, &out->count), PQ_ERR_FORMAT,
             "array '%s' has too many items", m->names[out->name]);
cleanup:
    return st;
}

pq_status pq_onnx_tensor_keep(pq_onnx_model *m, pq_span message,
                              const pq_onnx_tensor **out, pq_err *err)
{
    pq_onnx_tensor *t;
    pq_status       st;

    TAKE(t, 1);
    PQ_TRY(read_tensor(m, message, false, t, err));
    *out = t;
cleanup:
    return st;
}

/* Dimension: its value, or -1. */
static pq_status read_dimension(const pq_onnx_model *m, pq_span message, int64_t *out,
                                pq_err *err)
{
    pq_wire   w = message_of(m, message);
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
    pq_wire               w       = message_of(m, message);
    pq_status             st;

    while (pq_wire_next(&w, err)) {
        if (level == 0 && w.field == 1) {
            PQ_TRY(keep_name(m, &w, &out->name, err));
        } else if (level == 2 && w.field == 1 && w.type == PQ_WIRE_VARINT) {
            out->type = w.value <= 1000 ? (int)w.value : -1;
        } else if (w.field == inner[level] && w.type == PQ_WIRE_BYTES) {
            if (level < 3) {
                out->shaped = out->shaped || level == 2;
                PQ_TRY(read_port(m, w.bytes, level + 1, out, err));
            } else {
                PQ_CHECK(out->ndim < PQ_MAX_DIMS, PQ_ERR_UNSUPPORTED,
                         "'%s' has more than %d axes", m->names[out->name], PQ_MAX_DIMS);
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
        PQ_TRY(read_node(m, w->bytes, &m->nodes[m->n_nodes++], err));
        break;
    case 5:
        PQ_TRY(read_tensor(m, w->bytes, true, &m->tensors[m->n_tensors++], err));
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
    pq_wire        w = message_of(m, message);
    pq_status      st;

    PQ_CHECK(m->nodes == NULL, PQ_ERR_FORMAT, "the file has more than one graph");
    PQ_TRY(count(m, message, N, fields, n, err));
    TAKE(m->nodes, n[NODE] + 1);
    TAKE(m->tensors, n[TENSOR]);
    TAKE(m->inputs, n[INPUT]);
    TAKE(m->outputs, n[OUTPUT]);
    while (pq_wire_next(&w, err)) {
        PQ_TRY(graph_field(m, &w, err));
    }
    PQ_TRY(w.st);
cleanup:
    return st;
}

/* OperatorSetIdProto; only the standard operators' version matters. */
static pq_status read_opset(pq_onnx_model *m, pq_span message, pq_err *err)
{
    pq_wire     w       = message_of(m, message);
    const char *domain  = "";
    int64_t     version = 0;
    pq_status   st;

    while (pq_wire_next(&w, err)) {
        if (w.field == 1) {
            PQ_TRY(keep_text(m, &w, &domain, err));
        } else if (w.field == 2) {
            PQ_TRY(pq_wire_due(&w, PQ_WIRE_VARINT, err));
            version = (int64_t)w.value;
        }
    }
    PQ_TRY(w.st);
    if (*domain == '\0' || strcmp(domain, "ai.onnx") == 0) {
        m->opset = version;
    }
cleanup:
    return st;
}

/* StringStringEntryProto */
static pq_status read_metadata(pq_onnx_model *m, pq_span message, pq_err *err)
{
    pq_wire     w    = message_of(m, message);
    const char *key  = "";
    pq_span     text = {0};
    pq_status   st;

    while (pq_wire_next(&w, err)) {
        if (w.field == 1) {
            PQ_TRY(keep_text(m, &w, &key, err));
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
        PQ_TRY(keep_text(m, w, &m->producer, err));
        break;
    case 3:
        PQ_TRY(keep_text(m, w, &m->producer_version, err));
        break;
    case 7:
        PQ_TRY(pq_wire_due(w, PQ_WIRE_BYTES, err));
        PQ_TRY(read_graph(m, w->bytes, err));
        break;
    case 8:
        PQ_TRY(pq_wire_due(w, PQ_WIRE_BYTES, err));
        PQ_TRY(read_opset(m, w->bytes, err));
        break;
    case 14:
        PQ_TRY(pq_wire_due(w, PQ_WIRE_BYTES, err));
        PQ_TRY(read_metadata(m, w->bytes, err));
        break;
    default: /* training graphs and functions are of use only to nodes that name them */
        break;
    }
cleanup:
    return st;
}

static pq_status read_model(pq_onnx_model *m, pq_err *err)
{
    pq_wire   w = message_of(m, (pq_span){m->map.at, m->map.n});
    size_t    none;
    pq_status st;

    m->producer = m->producer_version = "";
    m->numbers                        = json_object();
    m->metadata                       = json_object();
    m->beside                         = json_object();
    PQ_CHECK(m->numbers != NULL && m->metadata != NULL && m->beside != NULL, PQ_ERR_NOMEM,
             "cannot allocate a table");
    PQ_TRY(number(m, "", &none, err));
    while (pq_wire_next(&w, err)) {
        PQ_TRY(model_field(m, &w, err));
    }
    PQ_TRY(w.st);
    PQ_CHECK(m->nodes != NULL, PQ_ERR_FORMAT, "the file holds no graph");
    PQ_CHECK(m->opset >= PQ_ONNX_OPSET_LEAST && m->opset <= PQ_ONNX_OPSET_MOST,
             PQ_ERR_UNSUPPORTED, "opset %lld of the operators is not in %d..%d",
             (long long)m->opset, PQ_ONNX_OPSET_LEAST, PQ_ONNX_OPSET_MOST);
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
    while (m->blocks != NULL) {
        struct block *next = m->blocks->next;
        pq_free(m->blocks);
        m->blocks = next;
    }
    json_decref(m->numbers);
    json_decref(m->metadata);
    json_decref(m->beside);
    pq_free(m->names);
    pq_map_close(&m->map);
    *m = (pq_onnx_model){0};
}
