/**
 * @file
 * Bytes between the process that reads a file of HDF5 and the one that wants it: frames
 * of a mark, a length and a content. What comes in is checked as a file's would be.
 */
#ifndef PQ_IO_HDF5_WIRE_H
#define PQ_IO_HDF5_WIRE_H

#include "core/text.h"
#include "io/hdf5.h"

/** What a frame is. */
typedef enum {
    PQ_H5_FINE      = 'f', /**< the answer, or a piece of it */
    PQ_H5_FAILED    = 'e', /**< a status, a sentence and a hint */
    PQ_H5_TOO_LARGE = 'm', /**< the child is at the end of its memory */
    PQ_H5_WHY       = 'w', /**< a question: why a dataset cannot be read */
    PQ_H5_TEXTS     = 't', /**< … texts of a dataset */
    PQ_H5_COLUMNS   = 'c', /**< … names of its columns */
    PQ_H5_ROWS      = 'r', /**< … values of rows */
    PQ_H5_CELLS     = 'k', /**< … columns of rows */
} pq_h5_mark;

/** A content that is read from its start; `bad` once it was shorter than it said. */
typedef struct {
    const char *bytes;
    size_t      left;
    bool        bad;
} pq_h5_cursor;

void        pq_h5_put_number(pq_text *to, uint64_t value);
void        pq_h5_put_text(pq_text *to, const char *text);
void        pq_h5_put_error(pq_text *to, const pq_err *err); /**< a status, two texts */
uint64_t    pq_h5_take_number(pq_h5_cursor *from);
const char *pq_h5_take_text(pq_h5_cursor *from); /**< "" when bad; lives in the content */
/** n bytes; NULL when bad. */
const char *pq_h5_take_bytes(pq_h5_cursor *from, size_t n);

/** Sends one frame; false when nobody listens any more. */
bool pq_h5_send(int fd, pq_h5_mark mark, const void *bytes, size_t n);

/** Sends and reads exactly n bytes. `seconds`: longest wait for the next of them, 0 is
 * for ever. */
bool pq_h5_read_bytes(int fd, void *bytes, size_t n, size_t seconds);

/** How a frame starts. */
typedef struct {
    uint64_t mark, n;
} pq_h5_head;

#endif
