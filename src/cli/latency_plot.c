#include "cli/latency_plot.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "core/file.h"
#include "core/memory.h"
#include "core/temporary.h"
#include "report/gnuplot.h"
#include "report/script.h"

enum { PICTURE_BYTES = 64 << 20 };

/* Number of the format that a path's ending names, or PQ_N_FORMATS. */
static size_t format_of(const char *path)
{
    const char *end = strrchr(path, '.');
    size_t      i   = 0;

    while (i < PQ_N_FORMATS &&
           (end == NULL || strcasecmp(end + 1, pq_picture_formats[i].suffix) != 0)) {
        i++;
    }
    return i;
}

bool pq_latency_plot_may(const char *path)
{
    return format_of(path) < PQ_N_FORMATS;
}

json_t *pq_latency_pairs(const double *shots, size_t n)
{
    json_t *pairs = json_array();
    size_t  from  = 0;

    for (size_t i = 1; i <= n; i++) {
        if (i == n || shots[i] > shots[from]) {
            (void)json_array_append_new(
                pairs, json_pack("[f, I]", 1e9 * shots[from], (json_int_t)(i - from)));
            from = i;
        }
    }
    return pairs;
}

static pq_status put(const char *folder, const char *name, const pq_text *text,
                     pq_err *err)
{
    char     *path = pq_path_join(folder, name);
    pq_status st;

    PQ_CHECK(path != NULL && !text->failed, PQ_ERR_NOMEM, "cannot allocate a plot");
    PQ_TRY(pq_file_write_unsynced(path, text->length > 0 ? text->text : "", text->length,
                                  err));
cleanup:
    pq_free(path);
    return st;
}

/* Data and script in a folder. */
static pq_status write_plot(const pq_calls *calls, const char *folder, size_t format,
                            pq_err *err)
{
    char          nothing[] = "";
    const pq_view view      = {.name      = "latency",
                               .dataset   = nothing,
                               .events    = (double)NAN,
                               .effective = (double)NAN};
    pq_plot       p         = {.v = &view, .data_name = "calls.dat"};
    pq_text       script    = {0};
    pq_status     st;

    PQ_TRY(pq_plot_calls_of(&p, calls, err));
    pq_script_add(&p, format + 1, "calls", &script);
    PQ_TRY(put(folder, "calls.dat", &p.data, err));
    PQ_TRY(put(folder, "calls.gp", &script, err));
cleanup:
    pq_plot_free(&p);
    pq_text_free(&script);
    return st;
}

/* Runs gnuplot there, and takes the picture. */
static pq_status draw(const char *program, const char *folder, size_t format,
                      const char *to, pq_err *err)
{
    char *picture =
        pq_format("%s/calls.%s.tmp", folder, pq_picture_formats[format].suffix);
    char     *bytes   = NULL;
    pq_text   nothing = {0};
    size_t    n       = 0;
    pid_t     process;
    pq_status st;

    PQ_CHECK(picture != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_TRY(put(folder, "calls.log", &nothing, err));
    PQ_TRY(pq_gnuplot_start(program, folder, "calls.gp", "calls.log", &process, err));
    PQ_CHECK(pq_gnuplot_wait(process), PQ_ERR_IO, "%s: gnuplot failed", to);
    PQ_TRY(pq_file_read(picture, PICTURE_BYTES, &bytes, &n, err));
    PQ_TRY(pq_file_write(to, bytes, n, err));
cleanup:
    pq_free(picture);
    pq_free(bytes);
    return st;
}

pq_status pq_latency_plot(const pq_calls *calls, const char *path, bool *drawn,
                          pq_err *err)
{
    const size_t format  = format_of(path);
    char        *program = NULL, *folder = NULL;
    pq_status    st;

    PQ_TRY(pq_gnuplot_find(NULL, &program, err));
    if (program == NULL) {
        *drawn = false;
        goto cleanup;
    }
    PQ_TRY(pq_folder_temporary(&folder, err));
    PQ_TRY(write_plot(calls, folder, format, err));
    PQ_TRY(draw(program, folder, format, path, err));
    *drawn = true;
cleanup:
    pq_folder_drop(&folder);
    pq_free(program);
    return st;
}
