#include "data/lines.h"

#include <string.h>

#include "core/file.h"
#include "core/memory.h"

pq_status pq_lines_open(const char *path, pq_lines *out, pq_err *err)
{
    pq_lines  lines = {0};
    pq_status st;

    PQ_STRDUP(lines.path, path);
    PQ_NEW(lines.text, PQ_LINE_BYTES);
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
    pq_free(lines->text);
    pq_free(lines->marks);
    *lines = (pq_lines){0};
}

pq_status pq_lines_next(pq_lines *lines, bool *there, pq_err *err)
{
    int         code  = Z_OK;
    const bool  start = gztell(lines->file) == 0;
    size_t      n;
    const char *why;
    pq_status   st;

    *there = gzgets(lines->file, lines->text, PQ_LINE_BYTES) != NULL;
    why    = gzerror(lines->file, &code);
    PQ_CHECK(*there || code == Z_OK || code == Z_STREAM_END, PQ_ERR_FORMAT,
             "%s: is truncated or damaged after line %zu: %s", lines->path, lines->number,
             why);
    if (!*there) {
        return PQ_OK;
    }
    lines->number++;
    n = strlen(lines->text);
    PQ_CHECK(n + 1 < PQ_LINE_BYTES, PQ_ERR_FORMAT,
             "%s:%zu: the line is longer than %d bytes", lines->path, lines->number,
             PQ_LINE_BYTES);
    while (n > 0 && (lines->text[n - 1] == '\n' || lines->text[n - 1] == '\r')) {
        lines->text[--n] = '\0';
    }
    if (start && strncmp(lines->text, "\xef\xbb\xbf", 3) == 0) { /* UTF-8's mark */
        memmove(lines->text, lines->text + 3, n - 3 + 1);
    }
cleanup:
    return st;
}

z_off_t pq_lines_place(pq_lines *lines)
{
    return gztell(lines->file);
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
    lines->row = mark * PQ_MARK_ROWS;
cleanup:
    return st;
}
