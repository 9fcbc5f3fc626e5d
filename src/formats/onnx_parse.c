/* Messages of ONNX as they stand: texts, names, nodes and headers of constants. */
#include "formats/onnx_parse.h"

#include <string.h>

#include "core/memory.h"

enum { BLOCK_BYTES = 65536, FIRST_NAMES = 256 };

/* Memory that lives as long as the model. */
struct block {
    struct block *next;
    size_t        used, size;
};

void *pq_onnx_take(pq_onnx_model *m, size_t count, size_t bytes)
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

void pq_onnx_give_back(pq_onnx_model *m)
{
    while (m->blocks != NULL) {
        struct block *next = m->blocks->next;
        pq_free(m->blocks);
        m->blocks = next;
    }
}

pq_status pq_onnx_keep_text(pq_onnx_model *m, const pq_wire *w, const char **out,
                            pq_err *err)
{
    char     *text;
    pq_status st;

    PQ_TRY(pq_wire_due(w, PQ_WIRE_BYTES, err));
    PQ_CHECK(w->bytes.n <= PQ_ONNX_TEXT_BYTES, PQ_ERR_FORMAT,
             "a name has %zu bytes; at most %d are read", w->bytes.n, PQ_ONNX_TEXT_BYTES);
    PQ_CHECK(w->bytes.n == 0 || memchr(w->bytes.at, '\0', w->bytes.n) == NULL,
             PQ_ERR_FORMAT, "a name holds a NUL");
    PQ_ONNX_TAKE(m, text, w->bytes.n + 1);
    if (w->bytes.n > 0) {
        memcpy(text, w->bytes.at, w->bytes.n);
    }
    *out = text;
cleanup:
    return st;
}

const char *pq_onnx_domain(const char *name)
{
    return strcmp(name, "ai.onnx") == 0 ? "" : name;
}

pq_status pq_onnx_new_name(pq_onnx_names *names, const char *text, size_t *out,
                           pq_err *err)
{
    void     *grown;
    pq_status st = PQ_OK;

    if (names->n == names->room) {
        const size_t room = names->room == 0 ? FIRST_NAMES : 2 * names->room;
        grown = pq_recalloc(names->text, names->room, room, sizeof *names->text);
        PQ_CHECK(grown != NULL, PQ_ERR_NOMEM, "cannot allocate %zu names", room);
        names->text = grown;
        names->room = room;
    }
    names->text[names->n] = text;
    *out                  = names->n++;
cleanup:
    return st;
}

pq_status pq_onnx_number_of(pq_onnx_names *names, const char *text, size_t *out,
                            pq_err *err)
{
    const json_t *known;
    pq_status     st = PQ_OK;

    if (names->numbers == NULL) {
        names->numbers = json_object();
        PQ_CHECK(names->numbers != NULL, PQ_ERR_NOMEM, "cannot allocate a table");
    }
    known = json_object_get(names->numbers, text);
    if (known != NULL) {
        *out = (size_t)json_integer_value(known);
        return PQ_OK;
    }
    PQ_TRY(pq_onnx_new_name(names, text, out, err));
    PQ_CHECK(json_object_set_new_nocheck(names->numbers, text,
                                         json_integer((json_int_t)*out)) == 0,
             PQ_ERR_NOMEM, "cannot allocate a name");
cleanup:
    return st;
}

void pq_onnx_names_free(pq_onnx_names *names)
{
    json_decref(names->numbers);
    pq_free(names->text);
    *names = (pq_onnx_names){0};
}

pq_status pq_onnx_keep_name(pq_onnx_model *m, pq_onnx_names *names, const pq_wire *w,
                            size_t *out, pq_err *err)
{
    const char *text;
    pq_status   st;

    PQ_TRY(pq_onnx_keep_text(m, w, &text, err));
    PQ_TRY(pq_onnx_number_of(names, text, out, err));
cleanup:
    return st;
}

pq_wire pq_onnx_message(const pq_onnx_model *m, pq_span message)
{
    return (pq_wire){.rest = message, .start = m->map.at};
}

pq_status pq_onnx_count(const pq_onnx_model *m, pq_span message, size_t n,
                        const unsigned *fields, size_t *counts, pq_err *err)
{
    pq_wire   w  = pq_onnx_message(m, message);
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

pq_status pq_onnx_read_attribute(pq_onnx_model *m, pq_span message,
                                 pq_onnx_attribute *out, pq_err *err)
{
    pq_wire   w = pq_onnx_message(m, message);
    pq_status st;

    *out = (pq_onnx_attribute){"", NULL, message};
    while (pq_wire_next(&w, err)) {
        if (w.field == 1) {
            PQ_TRY(pq_onnx_keep_text(m, &w, &out->name, err));
        } else if (w.field == 21) {
            PQ_TRY(pq_onnx_keep_text(m, &w, &out->reference, err));
            out->reference = *out->reference != '\0' ? out->reference : NULL;
        }
    }
    PQ_TRY(w.st);
cleanup:
    return st;
}

pq_status pq_onnx_read_node(pq_onnx_model *m, pq_onnx_names *names, pq_span message,
                            pq_onnx_node *out, pq_err *err)
{
    enum { IN, OUT, ATTRIBUTE, N };
    const unsigned     fields[N] = {1, 2, 5};
    size_t             n[N], *in, *to;
    pq_onnx_attribute *attributes;
    pq_wire            w = pq_onnx_message(m, message);
    pq_status          st;

    *out = (pq_onnx_node){.name = "", .op = "", .domain = "", .overload = ""};
    PQ_TRY(pq_onnx_count(m, message, N, fields, n, err));
    PQ_ONNX_TAKE(m, in, n[IN]);
    PQ_ONNX_TAKE(m, to, n[OUT]);
    PQ_ONNX_TAKE(m, attributes, n[ATTRIBUTE]);
    out->in         = in;
    out->out        = to;
    out->attributes = attributes;
    while (pq_wire_next(&w, err)) {
        if (w.field == 1) {
            PQ_TRY(pq_onnx_keep_name(m, names, &w, &in[out->n_in++], err));
        } else if (w.field == 2) {
            PQ_TRY(pq_onnx_keep_name(m, names, &w, &to[out->n_out++], err));
        } else if (w.field == 3) {
            PQ_TRY(pq_onnx_keep_text(m, &w, &out->name, err));
        } else if (w.field == 4) {
            PQ_TRY(pq_onnx_keep_text(m, &w, &out->op, err));
        } else if (w.field == 5) {
            PQ_TRY(pq_wire_due(&w, PQ_WIRE_BYTES, err));
            PQ_TRY(pq_onnx_read_attribute(m, w.bytes, &attributes[out->n_attributes++],
                                          err));
        } else if (w.field == 7) {
            PQ_TRY(pq_onnx_keep_text(m, &w, &out->domain, err));
        } else if (w.field == 8) {
            PQ_TRY(pq_onnx_keep_text(m, &w, &out->overload, err));
        }
    }
    PQ_TRY(w.st);
    out->domain = pq_onnx_domain(out->domain);
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

pq_status pq_onnx_read_opset(pq_onnx_model *m, pq_span message, int64_t *out, pq_err *err)
{
    pq_wire     w       = pq_onnx_message(m, message);
    const char *domain  = "";
    int64_t     version = 0;
    pq_status   st;

    while (pq_wire_next(&w, err)) {
        if (w.field == 1) {
            PQ_TRY(pq_onnx_keep_text(m, &w, &domain, err));
        } else if (w.field == 2) {
            PQ_TRY(pq_wire_due(&w, PQ_WIRE_VARINT, err));
            version = (int64_t)w.value;
        }
    }
    PQ_TRY(w.st);
    *out = *pq_onnx_domain(domain) == '\0' ? version : *out;
cleanup:
    return st;
}

pq_status pq_onnx_read_tensor(pq_onnx_model *m, pq_span message, bool named,
                              pq_onnx_tensor *out, pq_err *err)
{
    pq_wire   w = pq_onnx_message(m, message);
    pq_status st;

    *out = (pq_onnx_tensor){.message = message};
    while (pq_wire_next(&w, err)) {
        if (w.field == 1) {
            PQ_TRY(add_dims(&w, &out->shape, err));
        } else if (w.field == 2) {
            PQ_TRY(pq_wire_due(&w, PQ_WIRE_VARINT, err));
            out->type = w.value <= 1000 ? (int)w.value : -1;
        } else if (w.field == 8 && named) {
            PQ_TRY(pq_onnx_keep_name(m, &m->names, &w, &out->name, err));
        } else if (w.field == 14) {
            PQ_TRY(pq_wire_due(&w, PQ_WIRE_VARINT, err));
            out->external = w.value == 1;
        }
        PQ_CHECK(w.field != 3, PQ_ERR_UNSUPPORTED,
                 "an array stands in segments, which are not read");
    }
    PQ_TRY(w.st);
    PQ_CHECK(pq_shape_count(&out->shape, &out->count), PQ_ERR_FORMAT,
             "array '%s' has too many items", m->names.text[out->name]);
cleanup:
    return st;
}

pq_status pq_onnx_tensor_keep(pq_onnx_model *m, pq_span message,
                              const pq_onnx_tensor **out, pq_err *err)
{
    pq_onnx_tensor *t;
    pq_status       st;

    PQ_ONNX_TAKE(m, t, 1);
    PQ_TRY(pq_onnx_read_tensor(m, message, false, t, err));
    *out = t;
cleanup:
    return st;
}
