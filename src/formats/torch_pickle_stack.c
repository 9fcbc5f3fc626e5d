#include "formats/torch_pickle_stack.h"

#include <string.h>

#include "core/memory.h"

enum { ITEMS_MAX = 65536 };

/* Makes room for one item more; capacities double. */
static pq_status grow(void **block, size_t n, size_t *capacity, size_t size, pq_err *err)
{
    const size_t wanted = *capacity == 0 ? 64 : 2 * *capacity;
    void        *grown;
    pq_status    st = PQ_OK;

    if (n < *capacity) {
        return PQ_OK;
    }
    grown = pq_recalloc(*block, *capacity, wanted, size);
    PQ_CHECK(grown != NULL, PQ_ERR_NOMEM, "cannot allocate %zu values", wanted);
    *block    = grown;
    *capacity = wanted;
cleanup:
    return st;
}

pq_status pq_pickle_push_index(pq_pickle_machine *m, size_t index)
{
    pq_status st;

    st = grow((void **)&m->stack, m->depth, &m->room, sizeof *m->stack, m->err);
    if (st == PQ_OK) {
        m->stack[m->depth++] = index;
    }
    return st;
}

pq_status pq_pickle_push(pq_pickle_machine *m, pq_pickle_value v)
{
    pq_status st = grow((void **)&m->out.values, m->out.n, &m->capacity,
                        sizeof *m->out.values, m->err);

    if (st != PQ_OK) {
        pq_free(v.items);
        return st;
    }
    m->out.values[m->out.n++] = v;
    return pq_pickle_push_index(m, m->out.n - 1);
}

pq_status pq_pickle_malformed(const pq_pickle_machine *m, const char *what)
{
    return pq_err_set(m->err, PQ_ERR_FORMAT, __FILE__, __LINE__,
                      "the pickle is malformed at byte %zu: %s", m->at, what);
}

pq_status pq_pickle_take(pq_pickle_machine *m, size_t count, const uint8_t **out)
{
    if (count > m->n - m->at) {
        return pq_err_set(m->err, PQ_ERR_FORMAT, __FILE__, __LINE__,
                          "the pickle is truncated: byte %zu of %zu wants %zu more",
                          m->at, m->n, count);
    }
    *out = m->bytes + m->at;
    m->at += count;
    return PQ_OK;
}

pq_status pq_pickle_take_number(pq_pickle_machine *m, size_t count, uint64_t *out)
{
    const uint8_t *b  = NULL;
    pq_status      st = pq_pickle_take(m, count, &b);

    *out = 0;
    for (size_t i = 0; st == PQ_OK && i < count; i++) {
        *out |= (uint64_t)b[i] << (8 * i);
    }
    return st;
}

pq_status pq_pickle_take_text(pq_pickle_machine *m, size_t length_bytes)
{
    const uint8_t *b = NULL;
    uint64_t       n;
    pq_err        *err = m->err;
    pq_status      st;

    PQ_TRY(pq_pickle_take_number(m, length_bytes, &n));
    PQ_CHECK(n <= m->n - m->at, PQ_ERR_FORMAT,
             "the pickle is truncated: a text of %llu bytes at byte %zu of %zu",
             (unsigned long long)n, m->at, m->n);
    PQ_TRY(pq_pickle_take(m, (size_t)n, &b));
    PQ_TRY(pq_pickle_push(m, (pq_pickle_value){.type       = PQ_PICKLE_TEXT,
                                               .text       = (const char *)b,
                                               .text_bytes = (size_t)n}));
cleanup:
    return st;
}

pq_status pq_pickle_push_int(pq_pickle_machine *m, int64_t number)
{
    return pq_pickle_push(m, (pq_pickle_value){.type = PQ_PICKLE_INT, .number = number});
}

pq_status pq_pickle_take_long(pq_pickle_machine *m)
{
    const uint8_t *b = NULL;
    uint64_t       n, value = 0;
    pq_status      st = pq_pickle_take_number(m, 1, &n);

    st = st == PQ_OK ? pq_pickle_take(m, (size_t)n, &b) : st;
    if (st != PQ_OK) {
        return st;
    }
    if (n > 0 && (b[n - 1] & 0x80) != 0) {
        value = UINT64_MAX;
    }
    for (size_t i = n < 8 ? (size_t)n : 8; i-- > 0;) {
        value = value << 8 | b[i];
    }
    return pq_pickle_push_int(m, (int64_t)value);
}

pq_status pq_pickle_take_real(pq_pickle_machine *m)
{
    const uint8_t *b    = NULL;
    uint64_t       bits = 0;
    double         real;
    pq_status      st = pq_pickle_take(m, 8, &b);

    for (size_t i = 0; st == PQ_OK && i < 8; i++) {
        bits = bits << 8 | b[i];
    }
    memcpy(&real, &bits, sizeof real);
    return st == PQ_OK ? pq_pickle_push(
                             m, (pq_pickle_value){.type = PQ_PICKLE_REAL, .real = real})
                       : st;
}

pq_status pq_pickle_pop(pq_pickle_machine *m, size_t *out)
{
    if (m->depth == 0 || m->stack[m->depth - 1] == SIZE_MAX) {
        return pq_pickle_malformed(m, "a value is due on the stack");
    }
    *out = m->stack[--m->depth];
    return PQ_OK;
}

/* Values above the last mark, and drops it; they stay in the stack's memory. */
static pq_status pop_mark(pq_pickle_machine *m, const size_t **items, size_t *n)
{
    size_t i = m->depth;

    while (i > 0 && m->stack[i - 1] != SIZE_MAX) {
        i--;
    }
    if (i == 0) {
        return pq_pickle_malformed(m, "a mark is due on the stack");
    }
    *items   = m->stack + i;
    *n       = m->depth - i;
    m->depth = i - 1;
    return PQ_OK;
}

pq_status pq_pickle_push_list(pq_pickle_machine *m, pq_pickle_type type,
                              const size_t *items, size_t n)
{
    pq_pickle_value v   = {.type = type, .n = n};
    pq_err         *err = m->err;
    pq_status       st  = PQ_OK;

    if (n > 0) {
        PQ_NEW(v.items, n);
        memcpy(v.items, items, n * sizeof *items);
    }
    return pq_pickle_push(m, v);
cleanup:
    return st;
}

pq_status pq_pickle_tuple(pq_pickle_machine *m, size_t count, bool marked)
{
    const size_t *items = NULL;
    size_t        n     = count;
    pq_status     st;

    if (marked) {
        st = pop_mark(m, &items, &n);
        return st == PQ_OK ? pq_pickle_push_list(m, PQ_PICKLE_LIST, items, n) : st;
    }
    for (size_t i = 0; i < count; i++) {
        if (m->depth < count || m->stack[m->depth - 1 - i] == SIZE_MAX) {
            return pq_pickle_malformed(m, "values of a tuple are due on the stack");
        }
    }
    m->depth -= count;
    return pq_pickle_push_list(m, PQ_PICKLE_LIST, m->stack + m->depth, n);
}

/* Appends items to the list or dict on top of the stack. */
static pq_status extend(pq_pickle_machine *m, pq_pickle_type type, const size_t *items,
                        size_t n)
{
    pq_pickle_value *v;
    size_t          *grown;

    if (m->depth == 0 || m->stack[m->depth - 1] == SIZE_MAX ||
        m->out.values[m->stack[m->depth - 1]].type != type ||
        (type == PQ_PICKLE_DICT && n % 2 != 0)) {
        return pq_pickle_malformed(m, type == PQ_PICKLE_DICT
                                          ? "a dict and pairs for it are due"
                                          : "a list is due");
    }
    v = &m->out.values[m->stack[m->depth - 1]];
    if (v->n + n > ITEMS_MAX) { /* growing one by one takes the square of it */
        return pq_pickle_malformed(m, "a list or dict of more than 65536 items");
    }
    if (n == 0) {
        return PQ_OK;
    }
    grown = pq_recalloc(v->items, v->n, v->n + n, sizeof *grown);
    if (grown == NULL) {
        return pq_err_set(m->err, PQ_ERR_NOMEM, __FILE__, __LINE__,
                          "cannot allocate %zu values", v->n + n);
    }
    memcpy(grown + v->n, items, n * sizeof *items);
    v->items = grown;
    v->n += n;
    return PQ_OK;
}

pq_status pq_pickle_extend_marked(pq_pickle_machine *m, pq_pickle_type type)
{
    const size_t *items;
    size_t        n;
    pq_status     st = pop_mark(m, &items, &n);

    return st == PQ_OK ? extend(m, type, items, n) : st;
}

pq_status pq_pickle_extend_by(pq_pickle_machine *m, pq_pickle_type type, size_t count)
{
    size_t    items[2];
    pq_status st = PQ_OK;

    for (size_t i = count; st == PQ_OK && i-- > 0;) {
        st = pq_pickle_pop(m, &items[i]);
    }
    return st == PQ_OK ? extend(m, type, items, count) : st;
}

pq_status pq_pickle_put(pq_pickle_machine *m, uint64_t place)
{
    size_t *grown;

    if (m->depth == 0 || m->stack[m->depth - 1] == SIZE_MAX || place >= m->n) {
        return pq_pickle_malformed(
            m, "a value to remember is due, and a place within the pickle");
    }
    if (place >= m->memo_n) {
        const size_t wanted = (size_t)place < 256 ? 256 : 2 * (size_t)place;
        grown               = pq_recalloc(m->memo, m->memo_n, wanted, sizeof *grown);
        if (grown == NULL) {
            return pq_err_set(m->err, PQ_ERR_NOMEM, __FILE__, __LINE__,
                              "cannot allocate %zu places", wanted);
        }
        for (size_t i = m->memo_n; i < wanted; i++) {
            grown[i] = SIZE_MAX;
        }
        m->memo   = grown;
        m->memo_n = wanted;
    }
    m->memo[place] = m->stack[m->depth - 1];
    m->memo_count++;
    return PQ_OK;
}

pq_status pq_pickle_put_numbered(pq_pickle_machine *m, size_t bytes)
{
    uint64_t  place;
    pq_status st = pq_pickle_take_number(m, bytes, &place);

    return st == PQ_OK ? pq_pickle_put(m, place) : st;
}

pq_status pq_pickle_recall(pq_pickle_machine *m, size_t bytes)
{
    uint64_t  place;
    pq_status st = pq_pickle_take_number(m, bytes, &place);

    if (st != PQ_OK) {
        return st;
    }
    if (place >= m->memo_n || m->memo[place] == SIZE_MAX) {
        return pq_pickle_malformed(m, "nothing was remembered under this number");
    }
    return pq_pickle_push_index(m, m->memo[place]);
}
