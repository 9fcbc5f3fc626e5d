/**
 * @file
 * Lines of a text file, plain or gzip, with marks to return to. For the data
 * room only.
 */
#ifndef PQ_DATA_LINES_H
#define PQ_DATA_LINES_H

#include <zlib.h>

#include "data/layout.h"

enum {
    PQ_LINE_BYTES = 1 << 22, /**< longest line */
    PQ_MARK_ROWS  = 1024     /**< rows between marks */
};

/** An open file; {0} is none. Owns everything. */
typedef struct {
    gzFile   file;
    char    *path;
    char    *text;   /**< the current line, without its end; within the block */
    size_t   length; /**< of it, bytes */
    size_t   number; /**< of the current line, from 1; right when read from the start */
    size_t   n_rows; /**< rows marked so far */
    z_off_t *marks;  /**< place of rows 0, PQ_MARK_ROWS, … */
    size_t   n_marks, room;
    size_t   row; /**< row that the next line is, once rows are marked */
    /* what was read and not yet handed out: have - at bytes of the block */
    char   *block;
    size_t  size, at, have;
    z_off_t base; /**< place of the block's first byte */
    bool    over;
} pq_lines;

pq_status pq_lines_open(const char *path, pq_lines *out, pq_err *err);
void      pq_lines_close(pq_lines *lines);

/** Reads the next line into `text`; *there is false at the end. @retval PQ_ERR_FORMAT Too
 * long, or damaged. */
pq_status pq_lines_next(pq_lines *lines, bool *there, pq_err *err);

/** Place of the next line, to be given to pq_lines_mark once it turned out to be a row.
 */
z_off_t pq_lines_place(pq_lines *lines);

/** Counts a row that began at `place`. */
pq_status pq_lines_mark(pq_lines *lines, z_off_t place, pq_err *err);

/** Goes to the mark at or before a row; lines->row says which row comes next. Reading on
 * from where one is costs nothing. */
pq_status pq_lines_seek(pq_lines *lines, size_t row, pq_err *err);

#endif
