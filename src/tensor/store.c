#include "tensor/store.h"

#include <string.h>

#include "core/memory.h"
#include "tensor/quant_inside.h"

enum { MOST_GROUP = 64, HEAD = 2 /* bytes of a pattern's, or block's, two numbers */ };

const char *const pq_store_names[] = {"dense",   "bitmap", "csr",
                                      "pattern", "blocks", NULL};

/* A pattern N, M or a block I, O; other forms have none. */
typedef struct {
    size_t a, b;
} pair;

typedef struct {
    size_t rows, columns;
} matrix;

static const pair blocks[] = {{1, 4},  {1, 8}, {1, 16}, {1, 32}, {4, 4},
                              {4, 16}, {8, 8}, {16, 1}, {16, 4}, {16, 16}};
enum { BLOCKS = sizeof blocks / sizeof *blocks };

static matrix matrix_of(const pq_shape *shape)
{
    const size_t rows = shape->ndim > 0 ? shape->dim[0] : 1;
    size_t       n    = 0;

    (void)pq_shape_count(shape, &n);
    return (matrix){rows, rows > 0 ? n / rows : 0};
}

/* Fewest bits that hold 0 .. most. */
static unsigned bits_for(size_t most)
{
    unsigned bits = 0;

    while (most >> bits != 0) {
        bits++;
    }
    return bits;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t to_bytes(size_t bits)
{
    return bits / 8 + (bits % 8 != 0 ? 1 : 0);
}

static bool bit_of(const uint8_t *bits, size_t i)
{
    return (bits[i / 8] >> i % 8 & 1) != 0;
}

static void set_bit(uint8_t *bits, size_t i)
{
    bits[i / 8] |= (uint8_t)(1u << i % 8);
}

static size_t nonzero(const float *x, size_t n)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++) {
        count += x[i] != 0.0F ? 1 : 0;
    }
    return count;
}

/* Most items that are not 0 in a group of M: N. */
static size_t most_of(const float *x, matrix m, size_t M)
{
    size_t most = 0;

    for (size_t r = 0; r < m.rows; r++) {
        for (size_t c = 0; c < m.columns; c += M) {
            const size_t n = nonzero(x + r * m.columns + c, least(M, m.columns - c));
            most           = n > most ? n : most;
        }
    }
    return most;
}

/* Items of a row that a pattern stores. */
static size_t slots_of(size_t columns, pair p)
{
    return columns / p.b * p.a + least(p.a, columns % p.b);
}

static bool block_is_zero(const float *x, matrix m, size_t r, size_t c, pair p)
{
    for (size_t i = r; i < least(r + p.b, m.rows); i++) {
        if (nonzero(x + i * m.columns + c, least(p.a, m.columns - c)) > 0) {
            return false;
        }
    }
    return true;
}

/* Blocks, and items of those that are stored. */
static size_t count_blocks(const float *x, matrix m, pair p, size_t *items)
{
    size_t n = 0;

    *items = 0;
    for (size_t r = 0; r < m.rows; r += p.b) {
        for (size_t c = 0; c < m.columns; c += p.a, n++) {
            *items += block_is_zero(x, m, r, c, p)
                          ? 0
                          : least(p.b, m.rows - r) * least(p.a, m.columns - c);
        }
    }
    return n;
}

static size_t index_bytes(matrix m, pq_store_form form, pair p, size_t stored)
{
    switch (form) {
    case PQ_STORE_BITMAP:
        return to_bytes(m.rows * m.columns);
    case PQ_STORE_CSR:
        return to_bytes(m.rows * bits_for(m.columns) +
                        stored * bits_for(m.columns > 0 ? m.columns - 1 : 0));
    case PQ_STORE_PATTERN:
        return HEAD + to_bytes(stored * bits_for(p.b - 1));
    case PQ_STORE_BLOCKS:
        return HEAD +
               to_bytes(((m.rows + p.b - 1) / p.b) * ((m.columns + p.a - 1) / p.a));
    case PQ_STORE_DENSE:
    case PQ_STORE_FORMS:
        break;
    }
    return 0;
}

/* Bytes with a pattern or block. */
static size_t bytes_with(const pq_quant *q, const pq_tensor *t, pq_store_form form,
                         pair p)
{
    const matrix   m    = matrix_of(&t->shape);
    const unsigned bits = pq_pack_item_bits(q, 0);
    size_t stored = m.rows * (form == PQ_STORE_PATTERN ? slots_of(m.columns, p) : 0);

    if (form == PQ_STORE_BLOCKS) {
        (void)count_blocks(pq_f32(t), m, p, &stored);
    }
    return index_bytes(m, form, p, stored) + to_bytes(stored * bits);
}

/* The pattern or block of least bytes. */
static size_t find_pair(const pq_quant *q, const pq_tensor *t, pq_store_form form,
                        pair *out)
{
    const matrix m    = matrix_of(&t->shape);
    size_t       best = SIZE_MAX;

    for (size_t k = 0; k < BLOCKS && form == PQ_STORE_BLOCKS; k++) {
        const size_t bytes = bytes_with(q, t, form, blocks[k]);
        *out               = bytes < best ? blocks[k] : *out;
        best               = least(bytes, best);
    }
    for (size_t M = 2; M <= MOST_GROUP && form == PQ_STORE_PATTERN; M *= 2) {
        const pair   p     = {most_of(pq_f32(t), m, M), M};
        const size_t bytes = bytes_with(q, t, form, p);
        *out               = bytes < best ? p : *out;
        best               = least(bytes, best);
    }
    return best;
}

size_t pq_store_bytes(const pq_quant *q, const pq_tensor *t, pq_store_form form)
{
    const bool one_width = q == NULL || q->scheme != PQ_QUANT_FIXED || q->n == 1;
    size_t     bytes;
    pair       p;

    if (form <= PQ_STORE_BITMAP) {
        return pq_quant_packed_bytes(q, t, form == PQ_STORE_BITMAP);
    }
    if (form == PQ_STORE_CSR) {
        const matrix m   = matrix_of(&t->shape);
        const size_t map = to_bytes(t->count);
        bytes = index_bytes(m, form, (pair){0, 0}, nonzero(pq_f32(t), t->count)) +
                pq_quant_packed_bytes(q, t, true) - map;
    } else {
        bytes = one_width ? find_pair(q, t, form, &p) : SIZE_MAX;
    }
    return t->count / PQ_STORE_ITEMS_A_BYTE <= bytes ? bytes : SIZE_MAX;
}

pq_store_form pq_store_least(const pq_quant *q, const pq_tensor *t, size_t *bytes)
{
    pq_store_form form = PQ_STORE_DENSE;

    *bytes = pq_store_bytes(q, t, form);
    for (pq_store_form f = PQ_STORE_BITMAP; f < PQ_STORE_FORMS; f++) {
        const size_t with = pq_store_bytes(q, t, f);
        form              = with < *bytes ? f : form;
        *bytes            = least(with, *bytes);
    }
    return form;
}

/* Marks the N items of a group that are stored: those not 0, then the first zeros. */
static void mark_group(const float *x, size_t first, size_t n, size_t N, uint8_t *stored)
{
    size_t zeros = N - nonzero(x + first, n);

    for (size_t i = first; i < first + n; i++) {
        if (x[i] != 0.0F || zeros > 0) {
            zeros -= x[i] != 0.0F ? 0 : 1;
            set_bit(stored, i);
        }
    }
}

static void mark_block(matrix m, size_t r, size_t c, pair p, uint8_t *stored)
{
    for (size_t i = r; i < least(r + p.b, m.rows); i++) {
        for (size_t k = c; k < least(c + p.a, m.columns); k++) {
            set_bit(stored, i * m.columns + k);
        }
    }
}

static void write_csr(const float *x, matrix m, uint8_t *index, uint8_t *stored)
{
    const unsigned count = bits_for(m.columns), column = bits_for(m.columns - 1);
    size_t         at = 0, place = m.rows * count;

    for (size_t r = 0; r < m.rows; r++, at += count) {
        const float *row = x + r * m.columns;
        pq_pack_write(index, at, count, (uint32_t)nonzero(row, m.columns));
        for (size_t c = 0; c < m.columns; c++) {
            if (row[c] != 0.0F) {
                pq_pack_write(index, place, column, (uint32_t)c);
                place += column;
                set_bit(stored, r * m.columns + c);
            }
        }
    }
}

static void write_pattern(const float *x, matrix m, pair p, uint8_t *index,
                          uint8_t *stored)
{
    const unsigned bits = bits_for(p.b - 1);
    size_t         at   = 8 * (size_t)HEAD;

    for (size_t r = 0; r < m.rows; r++) {
        for (size_t c = 0; c < m.columns; c += p.b) {
            const size_t first = r * m.columns + c, n = least(p.b, m.columns - c);
            mark_group(x, first, n, least(p.a, n), stored);
            for (size_t i = 0; i < n; i++) {
                if (bit_of(stored, first + i)) {
                    pq_pack_write(index, at, bits, (uint32_t)i);
                    at += bits;
                }
            }
        }
    }
}

static void write_blocks(const float *x, matrix m, pair p, uint8_t *index,
                         uint8_t *stored)
{
    size_t at = 8 * (size_t)HEAD;

    for (size_t r = 0; r < m.rows; r += p.b) {
        for (size_t c = 0; c < m.columns; c += p.a, at++) {
            if (!block_is_zero(x, m, r, c, p)) {
                set_bit(index, at);
                mark_block(m, r, c, p, stored);
            }
        }
    }
}

pq_status pq_store_pack(const pq_quant *q, const pq_tensor *t, pq_store_form form,
                        uint8_t **out, size_t *bytes, pq_err *err)
{
    const matrix m      = matrix_of(&t->shape);
    uint8_t     *packed = NULL, *stored = NULL;
    pair         p = {0, 0};
    size_t       total, kept = 0;
    pq_status    st;

    if (form <= PQ_STORE_BITMAP) {
        return pq_quant_pack(q, t, form == PQ_STORE_BITMAP, out, bytes, err);
    }
    total = pq_store_bytes(q, t, form);
    assert(total != SIZE_MAX);
    PQ_NEW(packed, total);
    PQ_NEW(stored, to_bytes(t->count));
    if (form == PQ_STORE_CSR) {
        write_csr(pq_f32(t), m, packed, stored);
    } else {
        (void)find_pair(q, t, form, &p);
        packed[0] = (uint8_t)p.a;
        packed[1] = (uint8_t)p.b;
        (form == PQ_STORE_PATTERN ? write_pattern : write_blocks)(pq_f32(t), m, p, packed,
                                                                  stored);
    }
    for (size_t i = 0; i < t->count; i++) {
        kept += bit_of(stored, i) ? 1 : 0;
    }
    pq_pack_codes(q, t, stored, index_bytes(m, form, p, kept) * 8, packed);
    *out   = packed;
    *bytes = total;
    packed = NULL;
cleanup:
    pq_free(packed);
    pq_free(stored);
    return st;
}

/* Places of n items in a group, or columns of a row: ascending, below `end`. */
static pq_status read_places(const uint8_t *index, size_t *at, unsigned bits, size_t n,
                             size_t first, size_t end, uint8_t *stored, pq_err *err)
{
    size_t    next = 0;
    pq_status st   = PQ_OK;

    for (size_t i = 0; i < n; i++, *at += bits) {
        const size_t place = pq_pack_read(index, *at, bits);
        PQ_CHECK(place >= next && place < end, PQ_ERR_FORMAT,
                 "item %zu of the index is at %zu, not in %zu..%zu", i, place, next,
                 end - 1);
        next = place + 1;
        set_bit(stored, first + place);
    }
cleanup:
    return st;
}

static pq_status too_short(size_t bytes, size_t due, pq_err *err)
{
    pq_status st = PQ_OK;

    PQ_CHECK(bytes >= due, PQ_ERR_FORMAT,
             "packed weight has %zu bytes, its index alone %zu", bytes, due);
cleanup:
    return st;
}

static pq_status read_csr(const uint8_t *packed, size_t bytes, matrix m, uint8_t *stored,
                          pq_err *err)
{
    const unsigned count = bits_for(m.columns), column = bits_for(m.columns - 1);
    size_t         all = 0, at = m.rows * count;
    pq_status      st;

    PQ_TRY(too_short(bytes, to_bytes(at), err));
    for (size_t r = 0; r < m.rows; r++) {
        all += pq_pack_read(packed, r * count, count);
    }
    PQ_TRY(too_short(bytes, index_bytes(m, PQ_STORE_CSR, (pair){0, 0}, all), err));
    for (size_t r = 0; r < m.rows; r++) {
        PQ_TRY(read_places(packed, &at, column, pq_pack_read(packed, r * count, count),
                           r * m.columns, m.columns, stored, err));
    }
cleanup:
    return st;
}

static pq_status read_pattern(const uint8_t *packed, size_t bytes, matrix m, pair p,
                              uint8_t *stored, pq_err *err)
{
    size_t    at = 8 * (size_t)HEAD;
    pq_status st;

    PQ_CHECK(p.b >= 2 && p.b <= MOST_GROUP && p.a <= p.b, PQ_ERR_FORMAT,
             "a pattern of %zu of every %zu is not N of every 2..%d", p.a, p.b,
             (int)MOST_GROUP);
    PQ_TRY(too_short(bytes,
                     index_bytes(m, PQ_STORE_PATTERN, p, m.rows * slots_of(m.columns, p)),
                     err));
    for (size_t r = 0; r < m.rows; r++) {
        for (size_t c = 0; c < m.columns; c += p.b) {
            const size_t n = least(p.b, m.columns - c);
            PQ_TRY(read_places(packed, &at, bits_for(p.b - 1), least(p.a, n),
                               r * m.columns + c, n, stored, err));
        }
    }
cleanup:
    return st;
}

static pq_status read_blocks(const uint8_t *packed, size_t bytes, matrix m, pair p,
                             uint8_t *stored, pq_err *err)
{
    size_t    at = 8 * (size_t)HEAD;
    pq_status st;

    PQ_CHECK(p.a >= 1 && p.b >= 1, PQ_ERR_FORMAT, "blocks of %zu by %zu hold nothing",
             p.a, p.b);
    PQ_TRY(too_short(bytes, index_bytes(m, PQ_STORE_BLOCKS, p, 0), err));
    for (size_t r = 0; r < m.rows; r += p.b) {
        for (size_t c = 0; c < m.columns; c += p.a, at++) {
            if (bit_of(packed, at)) {
                mark_block(m, r, c, p, stored);
            }
        }
    }
cleanup:
    return st;
}

pq_status pq_store_unpack(const pq_quant *q, const uint8_t *packed, size_t bytes,
                          pq_store_form form, pq_tensor *t, pq_err *err)
{
    const matrix m      = matrix_of(&t->shape);
    uint8_t     *stored = NULL;
    pair         p      = {0, 0};
    size_t       kept   = 0, index, due;
    pq_status    st;

    if (form <= PQ_STORE_BITMAP) {
        return pq_quant_unpack(q, packed, bytes, form == PQ_STORE_BITMAP, t, err);
    }
    if (q != NULL) {
        PQ_TRY(pq_quant_check(q, &t->shape, err));
    }
    PQ_TRY(too_short(bytes, form == PQ_STORE_CSR ? 0 : HEAD, err));
    PQ_NEW(stored, to_bytes(t->count));
    if (form == PQ_STORE_CSR) {
        PQ_TRY(read_csr(packed, bytes, m, stored, err));
    } else {
        p = (pair){packed[0], packed[1]};
        PQ_TRY((form == PQ_STORE_PATTERN ? read_pattern : read_blocks)(packed, bytes, m,
                                                                       p, stored, err));
    }
    for (size_t i = 0; i < t->count; i++) {
        kept += bit_of(stored, i) ? 1 : 0;
    }
    index = index_bytes(m, form, p, kept);
    due   = index + pq_pack_code_bytes(q, t, stored);
    PQ_CHECK(bytes == due, PQ_ERR_FORMAT, "packed weight has %zu bytes where %zu are due",
             bytes, due);
    PQ_TRY(pq_unpack_codes(q, packed, index * 8, stored, t, err));
cleanup:
    pq_free(stored);
    return st;
}
