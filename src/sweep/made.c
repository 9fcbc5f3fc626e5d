#include "sweep/made.h"

#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/memory.h"
#include "sweep/stamp.h"

enum { NOTE_BYTES_MAX = 1024 };

/* The program by its stamp: another version may make other tables. */
static void add_program(pq_hash *h)
{
    char     text[PQ_HASH_TEXT];
    pq_stamp s;

    pq_stamp_start(&s);
    pq_stamp_add(&s, "/proc/self/exe");
    pq_stamp_end(&s, text);
    pq_hash_text(h, text);
}

void pq_made_hash(const pq_cells *cells, const pq_text *plan, pq_shelf *shelf,
                  char out[PQ_HASH_TEXT])
{
    const size_t sizes   = cells->config->latency.batch.n;
    bool         settled = true;
    pq_hash      h;

    pq_hash_start(&h);
    add_program(&h);
    pq_hash_bytes(&h, plan->text, plan->length);
    for (size_t i = 0; i < cells->n; i++) {
        const pq_cell *cell = &cells->cells[i];
        settled             = pq_shelf_stamp(shelf, cell->eval, &h) && settled;
        for (size_t b = 0; cell->latency != NULL && b < sizes; b++) {
            settled = pq_shelf_stamp(shelf, cell->latency[b], &h) && settled;
        }
    }
    pq_hash_end(&h, out);
    if (!settled) {
        out[0] = '\0';
    }
}

static void add_file(pq_stamp *s, const char *dir, const char *name)
{
    char *path = pq_path_join(dir, name);

    if (path != NULL) {
        pq_stamp_add(s, path);
    }
    pq_free(path);
}

/* Stamps of all that was made. */
static void hash_outputs(const char *dir, char out[PQ_HASH_TEXT])
{
    static const char *const files[] = {"table.csv", "table.md", "table.tex",
                                        "results.sqlite", "report.html"};
    char                    *plots = pq_path_join(dir, "plots"), **names = NULL;
    size_t                   n = 0;
    pq_stamp                 s;

    pq_stamp_start(&s);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        add_file(&s, dir, files[i]);
    }
    if (plots != NULL && pq_folder_exists(plots) &&
        pq_folder_list(plots, "", &names, &n, NULL) == PQ_OK) {
        for (size_t i = 0; i < n; i++) {
            add_file(&s, plots, names[i]);
            pq_free(names[i]);
        }
    }
    pq_free(names);
    pq_free(plots);
    pq_stamp_end(&s, out);
}

/* What stands in the note; NULL when out of memory. */
static char *note_of(const char *dir, const char *hash)
{
    char outputs[PQ_HASH_TEXT];

    hash_outputs(dir, outputs);
    return pq_format("%s %s\n", hash, outputs);
}

bool pq_made_is(const char *dir, const char *hash)
{
    char  *path = pq_path_join(dir, ".made"), *due = NULL, *is = NULL;
    size_t n    = 0;
    bool   same = false;

    if (path != NULL && *hash != '\0' &&
        pq_file_read(path, NOTE_BYTES_MAX, &is, &n, NULL) == PQ_OK) {
        due  = note_of(dir, hash);
        same = due != NULL && strcmp(is, due) == 0;
    }
    pq_free(path);
    pq_free(due);
    pq_free(is);
    return same;
}

void pq_made_note(const char *dir, const char *hash)
{
    char *path = pq_path_join(dir, ".made"), *note = NULL;

    if (path != NULL && *hash != '\0') {
        note = note_of(dir, hash);
        if (note == NULL || pq_file_write(path, note, strlen(note), NULL) != PQ_OK) {
            (void)unlink(path);
        }
    }
    pq_free(path);
    pq_free(note);
}
