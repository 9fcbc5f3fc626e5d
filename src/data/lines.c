#include "data/lines.h"

#include <string.h>

#include "core/file.h"
#include "core/memory.h"

enum { START_BYTES = 1 << 18, READ_BYTES = 1 << 17 };

pq_status pq_lines_open(const char *path, pq_lines *out, pq_err *err)
{
    pq_lines  lines = {0};
    pq_status st;

    PQ_STRDUP(lines.path, path);
    PQ_NEW(lines.block, START_BYTES + 1);
    lines.size = START_BYTES;
    lines.file = gzdopen(pq_file_open(path), "rb");
    PQ_CHECK(lines.file != NULL, PQ_ERR_IO, "%s: cannot be opened", path);
    (void)gzbuffer(lines.file, 1U << 18);
    *out  = lines;
    lines = (pq_lines){0};
cleanup:
    pq_lines_close(&lines);
    return st;
}

void pq_lines_close(pq_lines *lines)
{
    if (lines->file != NULL) {
        (void)gzclose(lines->file);
    }
    pq_free(lines->path);
    pq_free(lines->block);
    pq_free(lines->marks);
    *lines = (pq_lines){0};
}

/* Room behind what is not handed out yet, for more of the line that begins there. */
static pq_status make_room(pq_lines *lines, pq_err *err)
{
    const size_t left = lines->have - lines->at;
    pq_status    st   = PQ_OK;

    PQ_CHECK(left + 1 < PQ_LINE_BYTES, PQ_ERR_FORMAT,
             "%s:%zu: the line is longer than %d bytes", lines->path, lines->number + 1,
             PQ_LINE_BYTES);
    memmove(lines->block, lines->block + lines->at, left);
    lines->base += (z_off_t)lines->at;
    lines->at   = 0;
    lines->have = left;
    if (lines->size - left < READ_BYTES) {
        char *grown = pq_recalloc(lines->block, left, 2 * lines->size + 1, 1);
        PQ_CHECK(grown != NULL, PQ_ERR_NOMEM, "cannot allocate a line of %s",
                 lines->path);
        lines->block = grown;
        lines->size *= 2;
    }
cleanup:
    return st;
}

/* Reads on behind what there is. */
static pq_status read_more(pq_lines *lines, pq_err *err)
{
    int         code = Z_OK, n;
    const char *why;
    pq_status   st;

    PQ_TRY(make_room(lines, err));
    n   = gzread(lines->file, lines->block + lines->have, READ_BYTES);
    why = gzerror(lines->file, &code);
    PQ_CHECK(n > 0 || code == Z_OK || code == Z_STREAM_END, PQ_ERR_FORMAT,
             "%s: is truncated or damaged after line %zu: %s", lines->path, lines->number,
             why);
    lines->have += n > 0 ? (size_t)n : 0;
    lines->over = n <= 0;
cleanup:
    return st;
}

/* Where the line that begins at `at` ends: at its newline, or the file's end. */
static pq_status find_end(pq_lines *lines, size_t *end, bool *there, pq_err *err)
{
    size_t    seen = 0;
    pq_status st   = PQ_OK;

    for (;;) {
        const size_t left = lines->have - lines->at;
        const char  *from = lines->block + lines->at;
        const char  *stop = memchr(from + seen, '\n', left - seen);
        if (stop != NULL || lines->over) {
            *there = left > 0;
            *end   = stop != NULL ? (size_t)(stop - from) : left;
            PQ_CHECK(*end + 2 < PQ_LINE_BYTES, PQ_ERR_FORMAT,
                     "%s:%zu: the line is longer than %d bytes", lines->path,
                     lines->number + 1, PQ_LINE_BYTES);
            return PQ_OK;
        }
        seen = left;
        PQ_TRY(read_more(lines, err));
    }
cleanup:
    return st;
}

pq_status pq_lines_next(pq_lines *lines, bool *there, pq_err *err)
{
    size_t    end   = 0;
    bool      start = false;
    pq_status st;

    PQ_TRY(find_end(lines, &end, there, err));
    if (!*there) {
        return PQ_OK;
    }
    start         = lines->base + (z_off_t)lines->at == 0;
    lines->text   = lines->block + lines->at;
    lines->length = end;
    lines->at += end + (lines->at + end < lines->have ? 1 : 0);
    lines->number++;
    while (lines->length > 0 && lines->text[lines->length - 1] == '\r') {
        lines->length--;
    }
    lines->text[lines->length] = '\0';
    if (start && strncmp(lines->text, "\xef\xbb\xbf", 3) == 0) { /* UTF-8's mark */
        lines->text += 3;
        lines->length -= 3;
    }
cleanup:
    return st;
}

z_off_t pq_lines_place(pq_lines *lines)
{
    return lines->base + (z_off_t)lines->at;
}

pq_status pq_lines_mark(pq_lines *lines, z_off_t place, pq_err *err)
{
    pq_status st = PQ_OK;

    if (lines->n_rows % PQ_MARK_ROWS == 0) {
        if (lines->n_marks == lines->room) {
            const size_t room = lines->room == 0 ? 64 : 2 * lines->room;
            z_off_t     *grown =
                pq_recalloc(lines->marks, lines->n_marks, room, sizeof *grown);
            PQ_CHECK(grown != NULL, PQ_ERR_NOMEM, "cannot allocate marks of %s",
                     lines->path);
            lines->marks = grown;
            lines->room  = room;
        }
        lines->marks[lines->n_marks++] = place;
    }
    lines->n_rows++;
    lines->row = lines->n_rows;
cleanup:
    return st;
}

pq_status pq_lines_seek(pq_lines *lines, size_t row, pq_err *err)
{
    const size_t mark = row / PQ_MARK_ROWS;
    pq_status    st   = PQ_OK;

    if (lines->row <= row && row - lines->row < PQ_MARK_ROWS) {
        return PQ_OK;
    }
    PQ_CHECK(mark < lines->n_marks &&
                 gzseek(lines->file, lines->marks[mark], SEEK_SET) >= 0,
             PQ_ERR_IO, "%s: row %zu cannot be found again", lines->path, row);
    lines->base = lines->marks[mark];
    lines->at   = 0;
    lines->have = 0;
    lines->over = false;
    lines->row  = mark * PQ_MARK_ROWS;
cleanup:
    return st;
}
