/**
 * @file
 * Protocol Buffers as bytes: fields of a message, read in place and written. Nothing is
 * allocated by what a file says of itself, and a message within a message is only
 * entered where its meaning is known, so that depth is that of the code.
 *
 * Source: protobuf.dev/programming-guides/encoding.
 */
#ifndef PQ_FORMATS_ONNX_WIRE_H
#define PQ_FORMATS_ONNX_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"
#include "core/text.h"

/** Bytes in a file; borrowed. */
typedef struct {
    const uint8_t *at;
    size_t         n;
} pq_span;

typedef enum {
    PQ_WIRE_VARINT  = 0,
    PQ_WIRE_FIXED64 = 1,
    PQ_WIRE_BYTES   = 2,
    PQ_WIRE_FIXED32 = 5,
} pq_wire_type;

/** A message that is read field by field. */
typedef struct {
    pq_span        rest;  /**< what follows the field */
    const uint8_t *start; /**< of the file, for messages; NULL = unknown */
    unsigned       field; /**< number of the field at hand */
    pq_wire_type   type;
    uint64_t       value; /**< of a number */
    pq_span        bytes; /**< of a text, a message or packed numbers */
    pq_status      st;    /**< why the last pq_wire_next found none; PQ_OK: the end */
} pq_wire;

/** Goes to the next field, or tells that there is none: at the end, or where the message
 * breaks (`st`, PQ_ERR_FORMAT, with the byte of the file). */
bool pq_wire_next(pq_wire *w, pq_err *err);

/** Whether the field at hand is of this type. @retval PQ_ERR_FORMAT  With its number. */
pq_status pq_wire_due(const pq_wire *w, pq_wire_type type, pq_err *err);

/** Takes a varint off the front of packed numbers. @retval PQ_ERR_FORMAT  Cut off. */
pq_status pq_wire_varint(pq_span *rest, uint64_t *out, pq_err *err);

/* Writing: appends a field. */

void pq_wire_put_int(pq_text *out, unsigned field, int64_t value);
void pq_wire_put_float(pq_text *out, unsigned field, float value);
void pq_wire_put_bytes(pq_text *out, unsigned field, const void *bytes, size_t n);
void pq_wire_put_text(pq_text *out, unsigned field, const char *text);

/** Appends a message and empties it. */
void pq_wire_put_message(pq_text *out, unsigned field, pq_text *message);

#endif
