#include "formats/onnx_wire.h"

#include <string.h>

enum { VARINT_BYTES = 10 };

pq_status pq_wire_varint(pq_span *rest, uint64_t *out, pq_err *err)
{
    uint64_t  value = 0;
    size_t    i     = 0;
    pq_status st;

    for (;; i++) {
        PQ_CHECK(i < rest->n && i < VARINT_BYTES, PQ_ERR_FORMAT,
                 "a number is cut off or longer than %d bytes", VARINT_BYTES);
        value |= (uint64_t)(rest->at[i] & 0x7fU) << (7 * i);
        if (rest->at[i] < 0x80) {
            break;
        }
    }
    rest->at += i + 1;
    rest->n -= i + 1;
    *out = value;
cleanup:
    return st;
}

/* Takes n bytes off the front. */
static pq_status take(pq_span *rest, uint64_t n, pq_span *out, pq_err *err)
{
    pq_status st;

    PQ_CHECK(n <= rest->n, PQ_ERR_FORMAT, "a field of %llu bytes has only %zu left",
             (unsigned long long)n, rest->n);
    *out = (pq_span){rest->at, (size_t)n};
    rest->at += n;
    rest->n -= (size_t)n;
cleanup:
    return st;
}

static pq_status read_field(pq_wire *w, pq_err *err)
{
    uint64_t  tag, n;
    pq_status st;

    PQ_TRY(pq_wire_varint(&w->rest, &tag, err));
    PQ_CHECK(tag >> 3 >= 1 && tag >> 3 <= 536870911, PQ_ERR_FORMAT,
             "field number %llu is not in 1..536870911", (unsigned long long)(tag >> 3));
    w->field = (unsigned)(tag >> 3);
    w->value = 0;
    w->bytes = (pq_span){0};
    switch (tag & 7) {
    case PQ_WIRE_VARINT:
        PQ_TRY(pq_wire_varint(&w->rest, &w->value, err));
        break;
    case PQ_WIRE_FIXED64:
        PQ_TRY(take(&w->rest, 8, &w->bytes, err));
        memcpy(&w->value, w->bytes.at, 8);
        break;
    case PQ_WIRE_FIXED32:
        PQ_TRY(take(&w->rest, 4, &w->bytes, err));
        memcpy(&w->value, w->bytes.at, 4);
        break;
    case PQ_WIRE_BYTES:
        PQ_TRY(pq_wire_varint(&w->rest, &n, err));
        PQ_TRY(take(&w->rest, n, &w->bytes, err));
        break;
    default:
        PQ_FAIL(PQ_ERR_FORMAT, "field %u has type %u, which is not read", w->field,
                (unsigned)(tag & 7));
    }
    w->type = (pq_wire_type)(tag & 7);
cleanup:
    return st;
}

bool pq_wire_next(pq_wire *w, pq_err *err)
{
    const uint8_t *at = w->rest.at;

    if (w->rest.n == 0) {
        return false;
    }
    w->st = read_field(w, err);
    if (w->st != PQ_OK && w->start != NULL) {
        pq_err_context(err, "byte %zu", (size_t)(at - w->start));
    }
    return w->st == PQ_OK;
}

pq_status pq_wire_due(const pq_wire *w, pq_wire_type type, pq_err *err)
{
    pq_status st;

    PQ_CHECK(w->type == type, PQ_ERR_FORMAT, "field %u has type %d, not %d", w->field,
             (int)w->type, (int)type);
cleanup:
    return st;
}

static void put_varint(pq_text *out, uint64_t value)
{
    char   bytes[VARINT_BYTES];
    size_t n = 0;

    do {
        bytes[n++] = (char)((value & 0x7f) | (value > 0x7f ? 0x80U : 0U));
        value >>= 7;
    } while (value > 0);
    pq_text_add_bytes(out, bytes, n);
}

static void put_tag(pq_text *out, unsigned field, pq_wire_type type)
{
    put_varint(out, (uint64_t)field << 3 | (uint64_t)type);
}

void pq_wire_put_int(pq_text *out, unsigned field, int64_t value)
{
    put_tag(out, field, PQ_WIRE_VARINT);
    put_varint(out, (uint64_t)value);
}

void pq_wire_put_float(pq_text *out, unsigned field, float value)
{
    char bytes[4];

    put_tag(out, field, PQ_WIRE_FIXED32);
    memcpy(bytes, &value, 4);
    pq_text_add_bytes(out, bytes, 4);
}

void pq_wire_put_bytes(pq_text *out, unsigned field, const void *bytes, size_t n)
{
    put_tag(out, field, PQ_WIRE_BYTES);
    put_varint(out, n);
    pq_text_add_bytes(out, bytes, n);
}

void pq_wire_put_text(pq_text *out, unsigned field, const char *text)
{
    pq_wire_put_bytes(out, field, text, strlen(text));
}

void pq_wire_put_message(pq_text *out, unsigned field, pq_text *message)
{
    pq_wire_put_bytes(out, field, message->text != NULL ? message->text : "",
                      message->length);
    out->failed = out->failed || message->failed;
    pq_text_free(message);
}
