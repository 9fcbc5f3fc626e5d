/* Attributes of a node: AttributeProto's f 2, i 3, s 4, t 5, floats 7, ints 8. */
#include <string.h>

#include "formats/onnx_model.h"

enum { FLOAT = 2, INT, TEXT, TENSOR, FLOATS = 7, INTS = 8 };

static const pq_onnx_attribute *find(const pq_onnx_node *node, const char *name)
{
    for (size_t i = 0; i < node->n_attributes; i++) {
        if (strcmp(node->attributes[i].name, name) == 0) {
            return &node->attributes[i];
        }
    }
    return NULL;
}

bool pq_onnx_has(const pq_onnx_node *node, const char *name)
{
    return find(node, name) != NULL;
}

/* Goes to the next of the fields of one number; fields of other values are refused, as
 * they say that the attribute has another type. */
static pq_status next(pq_wire *w, const char *name, unsigned field, bool *more,
                      pq_err *err)
{
    pq_status st;

    do {
        *more = pq_wire_next(w, err);
        PQ_TRY(w->st);
        PQ_CHECK(!*more || w->field == field || w->field < FLOAT || w->field > 11,
                 PQ_ERR_FORMAT, "attribute '%s' has another type than is due", name);
    } while (*more && w->field != field);
cleanup:
    return st;
}

/* The last field of a number, as a message counts; an attribute without it is 0. */
static pq_status last(const pq_onnx_node *node, const char *name, unsigned field,
                      pq_wire_type type, bool *found, pq_wire *out, pq_err *err)
{
    const pq_onnx_attribute *a    = find(node, name);
    pq_wire                  w    = {.rest = a != NULL ? a->message : (pq_span){0}};
    bool                     more = true;
    pq_status                st   = PQ_OK;

    *found = a != NULL;
    *out   = (pq_wire){.type = type};
    while (a != NULL) {
        PQ_TRY(next(&w, name, field, &more, err));
        if (!more) {
            break;
        }
        PQ_TRY(pq_wire_due(&w, type, err));
        *out = w;
    }
cleanup:
    return st;
}

pq_status pq_onnx_int(const pq_onnx_node *node, const char *name, int64_t fallback,
                      int64_t *out, pq_err *err)
{
    pq_wire   w;
    bool      found;
    pq_status st;

    PQ_TRY(last(node, name, INT, PQ_WIRE_VARINT, &found, &w, err));
    *out = found ? (int64_t)w.value : fallback;
cleanup:
    return st;
}

static double real_of(const pq_wire *w)
{
    const uint32_t bits = (uint32_t)w->value;
    float          f;

    memcpy(&f, &bits, sizeof f);
    return (double)f;
}

pq_status pq_onnx_real(const pq_onnx_node *node, const char *name, double fallback,
                       double *out, pq_err *err)
{
    pq_wire   w;
    bool      found;
    pq_status st;

    PQ_TRY(last(node, name, FLOAT, PQ_WIRE_FIXED32, &found, &w, err));
    *out = found ? real_of(&w) : fallback;
cleanup:
    return st;
}

pq_status pq_onnx_text(const pq_onnx_node *node, const char *name, const char *fallback,
                       char *out, size_t size, pq_err *err)
{
    pq_wire   w;
    bool      found;
    pq_span   text = {(const uint8_t *)fallback, strlen(fallback)};
    pq_status st;

    PQ_TRY(last(node, name, TEXT, PQ_WIRE_BYTES, &found, &w, err));
    text = found ? w.bytes : text;
    PQ_CHECK(text.n < size && (text.n == 0 || memchr(text.at, '\0', text.n) == NULL),
             PQ_ERR_FORMAT, "attribute '%s' has %zu bytes, or a NUL in them", name,
             text.n);
    if (text.n > 0) {
        memcpy(out, text.at, text.n);
    }
    out[text.n] = '\0';
cleanup:
    return st;
}

pq_status pq_onnx_ints(const pq_onnx_node *node, const char *name, size_t most,
                       int64_t *out, size_t *n, pq_err *err)
{
    const pq_onnx_attribute *a    = find(node, name);
    pq_wire                  w    = {.rest = a != NULL ? a->message : (pq_span){0}};
    bool                     more = true;
    uint64_t                 value;
    pq_status                st = PQ_OK;

    *n = 0;
    while (a != NULL) {
        PQ_TRY(next(&w, name, INTS, &more, err));
        if (!more) {
            break;
        }
        while (w.type == PQ_WIRE_VARINT || w.bytes.n > 0) {
            value = w.value;
            if (w.type != PQ_WIRE_VARINT) {
                PQ_TRY(pq_wire_due(&w, PQ_WIRE_BYTES, err));
                PQ_TRY(pq_wire_varint(&w.bytes, &value, err));
            }
            PQ_CHECK(*n < most, PQ_ERR_FORMAT, "attribute '%s' has more than %zu numbers",
                     name, most);
            out[(*n)++] = (int64_t)value;
            if (w.type == PQ_WIRE_VARINT) {
                break;
            }
        }
    }
cleanup:
    return st;
}

pq_status pq_onnx_reals(const pq_onnx_node *node, const char *name, pq_tensor **out,
                        pq_err *err)
{
    const pq_onnx_attribute *a    = find(node, name);
    const pq_span            all  = a != NULL ? a->message : (pq_span){0};
    pq_tensor               *t    = NULL;
    bool                     more = true;
    size_t                   n    = 0;
    pq_status                st   = PQ_OK;

    for (int pass = 0; a != NULL && pass < 2; pass++) {
        pq_wire w = {.rest = all};
        if (pass == 1) {
            PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(n), &t, err));
            n = 0;
        }
        for (;;) {
            PQ_TRY(next(&w, name, FLOATS, &more, err));
            if (!more) {
                break;
            }
            PQ_CHECK(w.bytes.n % 4 == 0, PQ_ERR_FORMAT, "attribute '%s' is cut off",
                     name);
            for (size_t i = 0; i < w.bytes.n / 4; i++, n++) {
                float f;
                memcpy(&f, w.bytes.at + 4 * i, sizeof f);
                if (pass == 1) {
                    pq_f64(t)[n] = (double)f;
                }
            }
        }
    }
    *out = t;
    t    = NULL;
cleanup:
    pq_tensor_free(&t);
    return st;
}

pq_status pq_onnx_attribute_tensor(const pq_onnx_node *node, const char *name,
                                   pq_span *out, pq_err *err)
{
    pq_wire   w;
    bool      found;
    pq_status st;

    PQ_TRY(last(node, name, TENSOR, PQ_WIRE_BYTES, &found, &w, err));
    *out = found ? w.bytes : (pq_span){0};
cleanup:
    return st;
}
