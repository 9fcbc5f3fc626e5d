/**
 * @file
 * Stack, memory and bytes of the pickle machine: what its instructions are made of. For
 * torch_pickle.c only. All fail as pq_pickle_read does.
 */
#ifndef PQ_FORMATS_TORCH_PICKLE_STACK_H
#define PQ_FORMATS_TORCH_PICKLE_STACK_H

#include "formats/torch_pickle.h"

/** A machine at work; owns `out`, `stack` and `memo`. */
typedef struct {
    const uint8_t *bytes; /**< [n] */
    size_t         n, at;
    pq_pickle      out;
    size_t         capacity;
    size_t        *stack, depth, room; /**< indices of values; SIZE_MAX is a mark */
    size_t        *memo, memo_n;       /**< SIZE_MAX: empty */
    size_t         memo_count;         /**< for MEMOIZE */
    pq_err        *err;
} pq_pickle_machine;

/** Says what is wrong, with the byte; PQ_ERR_FORMAT. */
pq_status pq_pickle_malformed(const pq_pickle_machine *m, const char *what);

/** The next `count` bytes; borrowed. */
pq_status pq_pickle_take(pq_pickle_machine *m, size_t count, const uint8_t **out);

/** Little-endian unsigned number of count <= 8 bytes. */
pq_status pq_pickle_take_number(pq_pickle_machine *m, size_t count, uint64_t *out);

/* Read one value and push it. */

/** A text behind its length of so many bytes. */
pq_status pq_pickle_take_text(pq_pickle_machine *m, size_t length_bytes);

/** LONG1: signed, any length; what does not fit 64 bits is kept modulo 2^64. */
pq_status pq_pickle_take_long(pq_pickle_machine *m);

/** Big-endian double. */
pq_status pq_pickle_take_real(pq_pickle_machine *m);

/** Pushes an index of a value that is there, or SIZE_MAX: a mark. */
pq_status pq_pickle_push_index(pq_pickle_machine *m, size_t index);

/** Pushes a new value; takes its items, also on failure. */
pq_status pq_pickle_push(pq_pickle_machine *m, pq_pickle_value v);
pq_status pq_pickle_push_int(pq_pickle_machine *m, int64_t number);

/** Pushes a new value with a copy of the items. */
pq_status pq_pickle_push_list(pq_pickle_machine *m, pq_pickle_type type,
                              const size_t *items, size_t n);

pq_status pq_pickle_pop(pq_pickle_machine *m, size_t *out);

/** Tuple of everything above the mark, or of the last `count` values. */
pq_status pq_pickle_tuple(pq_pickle_machine *m, size_t count, bool marked);

/** Appends what is above the mark, or the last `count` <= 2 values, to the list or dict
 * below them. */
pq_status pq_pickle_extend_marked(pq_pickle_machine *m, pq_pickle_type type);
pq_status pq_pickle_extend_by(pq_pickle_machine *m, pq_pickle_type type, size_t count);

/** Remembers the top of the stack under a number, which may be read from so many bytes; a
 * pickle cannot name more places than it has bytes. */
pq_status pq_pickle_put(pq_pickle_machine *m, uint64_t place);
pq_status pq_pickle_put_numbered(pq_pickle_machine *m, size_t bytes);

/** Pushes what was remembered under a number of so many bytes. */
pq_status pq_pickle_recall(pq_pickle_machine *m, size_t bytes);

#endif
