/* What every call begins with: the error of this thread, options, progress. */
#include "api/inside.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/memory.h"

_Static_assert((int)PQUANT_INTERRUPTED == (int)PQ_ERR_INTERRUPTED &&
                   (int)PQUANT_NO_MEMORY == (int)PQ_ERR_NOMEM &&
                   (int)PQUANT_BAD_CONFIG == (int)PQ_ERR_CONFIG,
               "pquant_status is pq_status by another name");

enum { MOST_THREADS = 1024 };

static _Thread_local pq_err last;

pq_err *pq_api_begin(void)
{
    last = (pq_err){0};
    return &last;
}

const char *pquant_version(void)
{
    return PQ_VERSION;
}

const char *pquant_error(void)
{
    return last.message;
}

pquant_status pquant_error_status(void)
{
    return (pquant_status)last.code;
}

const char *pquant_error_hint(void)
{
    return last.hint;
}

/* A number and the colon behind it, or 0. */
static int number_at(const char **at)
{
    char      *end;
    const long n = isdigit((unsigned char)**at) ? strtol(*at, &end, 10) : 0;

    if (n <= 0 || n > 1 << 30 || *end != ':') {
        return 0;
    }
    *at = end + 1;
    return (int)n;
}

int pquant_error_place(char *file, size_t size, int *line, int *column)
{
    const char *end = strchr(last.message, ':');

    *line   = 0;
    *column = 0;
    file[0] = '\0';
    if (end == NULL || end == last.message ||
        (memchr(last.message, '.', (size_t)(end - last.message)) == NULL &&
         memchr(last.message, '/', (size_t)(end - last.message)) == NULL) ||
        memchr(last.message, ' ', (size_t)(end - last.message)) != NULL) {
        return 0;
    }
    pq_snprintf(file, size, "%.*s", (int)(end - last.message), last.message);
    end++;
    *line   = number_at(&end);
    *column = *line > 0 ? number_at(&end) : 0;
    return 1;
}

void pquant_text_free(char *text)
{
    pq_free(text);
}

pquant_model *pq_api_wrap(pq_graph *graph, pq_err *err)
{
    pquant_model *model = NULL;
    pq_status     st;

    PQ_NEW(model, 1);
    model->graph = graph;
    graph        = NULL;
cleanup:
    (void)st;
    pq_graph_free(&graph);
    return model;
}

pquant_options pq_api_options(const pquant_options *options)
{
    pquant_options own = {0};

    if (options != NULL) {
        memcpy(&own, options, options->size < sizeof own ? options->size : sizeof own);
    }
    own.size = sizeof own;
    own.seed = own.seed != 0 ? own.seed : 42;
    return own;
}

pq_status pq_api_check(const pquant_options *options, pq_err *err)
{
    pq_status st;

    PQ_CHECK(options->threads <= MOST_THREADS, PQ_ERR_RANGE,
             "threads = %zu is not in 0..%d", options->threads, MOST_THREADS);
cleanup:
    return st;
}

static void tell(void *context, const char *what, size_t done, size_t total,
                 const char *note)
{
    pq_api_watch *w   = context;
    const double  now = pq_clock_wall_s();

    if (w->options->progress == NULL || (done < total && now - w->told_s < 0.05)) {
        return;
    }
    w->told_s = now;
    if (w->options->progress(w->options->context, what, done, total, note) != 0) {
        if (w->options->cancel != NULL) {
            *w->options->cancel = 1;
        } else {
            w->stop = 1;
        }
    }
}

void pq_api_watch_start(pq_api_watch *watch, const pquant_options *options)
{
    *watch =
        (pq_api_watch){.options  = options,
                       .progress = {.report  = tell,
                                    .context = watch,
                                    .stop    = options->cancel != NULL
                                                   ? (volatile sig_atomic_t *)options->cancel
                                                   : &watch->stop}};
}
