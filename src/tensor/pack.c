#include <string.h>

#include "core/memory.h"
#include "tensor/quant_inside.h"

/* Bits of item i; those of a fixed-point code are its own. */
unsigned pq_pack_item_bits(const pq_quant *q, size_t i)
{
    if (q == NULL) {
        return 32;
    }
    return q->scheme == PQ_QUANT_FIXED ? q->width[i] : (unsigned)q->bits;
}

static size_t scale_index(const pq_quant *q, const pq_tensor *t, size_t item)
{
    return q == NULL ? 0 : pq_quant_index(q, &t->shape, item);
}

/* Whether a tensor's item, or the bit of a bitmap, says that it is stored. */
static bool is_kept(const pq_tensor *t, const uint8_t *bitmap, size_t item)
{
    return bitmap != NULL ? (bitmap[item / 8] >> item % 8 & 1) != 0
                          : pq_f32(t)[item] != 0.0f;
}

static size_t packed_bytes(const pq_quant *q, const pq_tensor *t, bool sparse,
                           const uint8_t *bitmap)
{
    const bool one_width = q == NULL || q->scheme != PQ_QUANT_FIXED || q->n == 1;
    size_t     bits      = 0;

    if (one_width && !sparse) {
        bits = t->count * pq_pack_item_bits(q, 0);
    }
    for (size_t i = 0; (!one_width || sparse) && i < t->count; i++) {
        bits += !sparse || is_kept(t, bitmap, i)
                    ? pq_pack_item_bits(q, scale_index(q, t, i))
                    : 0;
    }
    return (bits + 7) / 8 + (sparse ? (t->count + 7) / 8 : 0);
}

size_t pq_quant_packed_bytes(const pq_quant *q, const pq_tensor *t, bool sparse)
{
    return packed_bytes(q, t, sparse, NULL);
}

/* Little-endian bit order, `bits` <= 32; the bytes were zero. */
void pq_pack_write(uint8_t *bytes, size_t at, unsigned bits, uint32_t word)
{
    for (unsigned done = 0; done < bits;) {
        const unsigned shift = (unsigned)((at + done) % 8);
        const unsigned take  = bits - done < 8 - shift ? bits - done : 8 - shift;
        const uint32_t part  = word >> done & ((1u << take) - 1);
        bytes[(at + done) / 8] |= (uint8_t)(part << shift);
        done += take;
    }
}

uint32_t pq_pack_read(const uint8_t *bytes, size_t at, unsigned bits)
{
    uint32_t word = 0;

    for (unsigned done = 0; done < bits;) {
        const unsigned shift = (unsigned)((at + done) % 8);
        const unsigned take  = bits - done < 8 - shift ? bits - done : 8 - shift;
        word |= (bytes[(at + done) / 8] >> shift & ((1u << take) - 1)) << done;
        done += take;
    }
    return word;
}

static uint32_t encode(const pq_quant *q, size_t i, float value)
{
    uint32_t word;

    if (q == NULL) {
        memcpy(&word, &value, sizeof word);
        return word;
    }
    switch (q->scheme) {
    case PQ_QUANT_FLOAT16:
        return pq_f16_from_f32(value);
    case PQ_QUANT_BFLOAT16:
        return pq_bf16_from_f32(value);
    case PQ_QUANT_NF4:
        return pq_nf4_code(value, q->scale[i]);
    case PQ_QUANT_INTEGER:
    case PQ_QUANT_FIXED:
        break;
    }
    return (uint32_t)(pq_quant_code(q, i, value) - pq_quant_least(q, i));
}

static float decode(const pq_quant *q, size_t i, uint32_t word)
{
    float value;

    if (q == NULL) {
        memcpy(&value, &word, sizeof value);
        return value;
    }
    switch (q->scheme) {
    case PQ_QUANT_FLOAT16:
        return pq_f32_from_f16((uint16_t)word);
    case PQ_QUANT_BFLOAT16:
        return pq_f32_from_bf16((uint16_t)word);
    case PQ_QUANT_NF4:
        return pq_nf4_level(word) * q->scale[i];
    case PQ_QUANT_INTEGER:
    case PQ_QUANT_FIXED:
        break;
    }
    return (float)((int32_t)word + pq_quant_least(q, i) - q->zero_point[i]) * q->scale[i];
}

void pq_pack_codes(const pq_quant *q, const pq_tensor *t, const uint8_t *stored,
                   size_t at, uint8_t *packed)
{
    for (size_t i = 0; i < t->count; i++) {
        if (stored == NULL || is_kept(t, stored, i)) {
            const size_t   index = scale_index(q, t, i);
            const unsigned bits  = pq_pack_item_bits(q, index);
            pq_pack_write(packed, at, bits, encode(q, index, pq_f32(t)[i]));
            at += bits;
        }
    }
}

pq_status pq_unpack_codes(const pq_quant *q, const uint8_t *packed, size_t at,
                          const uint8_t *stored, pq_tensor *t, pq_err *err)
{
    float    *x  = pq_f32(t);
    pq_status st = PQ_OK;

    for (size_t i = 0; i < t->count; i++) {
        const size_t   index = scale_index(q, t, i);
        const unsigned bits  = pq_pack_item_bits(q, index);
        uint32_t       word;
        if (stored != NULL && !is_kept(t, stored, i)) {
            x[i] = 0.0f;
            continue;
        }
        word = pq_pack_read(packed, at, bits);
        PQ_CHECK(q == NULL || !pq_quant_has_codes(q) ||
                     word <=
                         (uint32_t)(pq_quant_most(q, index) - pq_quant_least(q, index)),
                 PQ_ERR_FORMAT, "code %u of item %zu is not in 0..%d", word, i,
                 pq_quant_most(q, index) - pq_quant_least(q, index));
        x[i] = decode(q, index, word);
        at += bits;
    }
cleanup:
    return st;
}

size_t pq_pack_code_bytes(const pq_quant *q, const pq_tensor *t, const uint8_t *stored)
{
    return packed_bytes(q, t, true, stored) - (t->count + 7) / 8;
}

pq_status pq_quant_pack(const pq_quant *q, const pq_tensor *t, bool sparse, uint8_t **out,
                        size_t *bytes, pq_err *err)
{
    size_t    total;
    uint8_t  *packed;
    pq_status st;

    if (q != NULL) {
        PQ_TRY(pq_quant_check(q, &t->shape, err));
    }
    total = packed_bytes(q, t, sparse, NULL);
    PQ_NEW(packed, total);
    for (size_t i = 0; sparse && i < t->count; i++) {
        if (pq_f32(t)[i] != 0.0f) {
            packed[i / 8] |= (uint8_t)(1u << i % 8);
        }
    }
    pq_pack_codes(q, t, sparse ? packed : NULL, sparse ? (t->count + 7) / 8 * 8 : 0,
                  packed);
    *out   = packed;
    *bytes = total;
cleanup:
    return st;
}

pq_status pq_quant_unpack(const pq_quant *q, const uint8_t *packed, size_t bytes,
                          bool sparse, pq_tensor *t, pq_err *err)
{
    const size_t map = sparse ? (t->count + 7) / 8 : 0;
    size_t       due;
    pq_status    st;

    if (q != NULL) {
        PQ_TRY(pq_quant_check(q, &t->shape, err));
    }
    PQ_CHECK(bytes >= map, PQ_ERR_FORMAT,
             "packed weight has %zu bytes, its bitmap alone %zu", bytes, map);
    due = packed_bytes(q, t, sparse, packed);
    PQ_CHECK(bytes == due, PQ_ERR_FORMAT, "packed weight has %zu bytes where %zu are due",
             bytes, due);
    PQ_TRY(pq_unpack_codes(q, packed, map * 8, sparse ? packed : NULL, t, err));
cleanup:
    return st;
}

/* --- widths of fixed point --- */

enum { HEAD = 4, MOST_WIDTH_BITS = 6 };

/* Least value of a list, and the bits of the largest above it. */
typedef struct {
    int      least;
    unsigned bits;
} span;

typedef int (*width_of)(const pq_quant *q, size_t at);

/* Of an index without width any value up to -f does: one that can be set. */
static int integer_bits(const pq_quant *q, size_t at)
{
    const int whole = pq_quant_integer_bits(q, at);

    return whole < 23 ? whole : 23;
}

static const width_of lists[2] = {integer_bits, pq_quant_fraction_bits};

static span span_of(const pq_quant *q, width_of list)
{
    span s    = {list(q, 0), 0};
    int  most = s.least;

    for (size_t i = 1; i < q->n; i++) {
        const int v = list(q, i);
        s.least     = v < s.least ? v : s.least;
        most        = v > most ? v : most;
    }
    while ((most - s.least) >> s.bits != 0) {
        s.bits++;
    }
    return s;
}

size_t pq_quant_widths_bytes(const pq_quant *q)
{
    return q->n == 1
               ? 2
               : HEAD + (q->n * (span_of(q, lists[0]).bits + span_of(q, lists[1]).bits) +
                         7) /
                            8;
}

pq_status pq_quant_pack_widths(const pq_quant *q, uint8_t **out, size_t *bytes,
                               pq_err *err)
{
    const size_t total =
        pq_quant_widths_bytes(q) < HEAD ? HEAD : pq_quant_widths_bytes(q);
    size_t    at     = HEAD * 8;
    uint8_t  *packed = NULL;
    pq_status st;

    PQ_NEW(packed, total);
    for (size_t k = 0; k < 2; k++) {
        const span s      = span_of(q, lists[k]);
        packed[2 * k]     = (uint8_t)s.least;
        packed[2 * k + 1] = (uint8_t)s.bits;
        for (size_t i = 0; i < q->n; i++, at += s.bits) {
            pq_pack_write(packed, at, s.bits, (uint32_t)(lists[k](q, i) - s.least));
        }
    }
    *out   = packed;
    *bytes = total;
cleanup:
    return st;
}

pq_status pq_quant_unpack_widths(const uint8_t *packed, size_t bytes, pq_quant *q,
                                 pq_err *err)
{
    size_t    at = HEAD * 8, due;
    pq_status st;

    PQ_CHECK(bytes >= HEAD && packed[1] <= MOST_WIDTH_BITS &&
                 packed[3] <= MOST_WIDTH_BITS,
             PQ_ERR_FORMAT, "packed widths are damaged");
    due = HEAD + (q->n * ((size_t)packed[1] + packed[3]) + 7) / 8;
    PQ_CHECK(bytes == due, PQ_ERR_FORMAT,
             "packed widths have %zu bytes where %zu are due", bytes, due);
    for (size_t i = 0; i < q->n; i++, at += packed[1]) {
        const size_t second = HEAD * 8 + q->n * packed[1] + i * packed[3];
        PQ_TRY(pq_quant_set_fixed(
            q, i, (int8_t)packed[0] + (int)pq_pack_read(packed, at, packed[1]),
            (int8_t)packed[2] + (int)pq_pack_read(packed, second, packed[3]), err));
    }
    st = PQ_OK;
cleanup:
    return st;
}
