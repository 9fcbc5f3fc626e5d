/* A whole sweep from the text of its configuration. */
#include "api/inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/memory.h"
#include "core/text.h"
#include "report/report.h"
#include "sweep/made.h"
#include "sweep/run.h"

/* Tables, plots and page, as the program makes them. */
static pq_status finish(void *context, const pq_sweep_summary *summary,
                        const json_t *results, const pq_results_count *count, pq_err *err)
{
    pq_report_summary report = {0};
    pq_status         st     = PQ_OK;

    (void)context;
    if (!summary->made) {
        PQ_TRY(pq_report_make(summary->dir, results, count, NULL, &report, err));
        if (report.note[0] == '\0') {
            pq_made_note(summary->dir, summary->made_of);
        }
    }
cleanup:
    return st;
}

/* The text as a file, which the reader of configurations wants: places in messages are
 * those of the text. */
static pq_status write_text(const char *yaml, char *path, pq_err *err)
{
    const int    fd = mkstemps(path, 5);
    const size_t n  = strlen(yaml);
    size_t       at = 0;
    pq_status    st;

    PQ_CHECK(fd >= 0, PQ_ERR_IO, "%s: cannot be made", path);
    while (at < n) {
        const ssize_t wrote = write(fd, yaml + at, n - at);
        PQ_CHECK(wrote > 0, PQ_ERR_IO, "%s: cannot be written", path);
        at += (size_t)wrote;
    }
cleanup:
    if (fd >= 0) {
        (void)close(fd);
    }
    return st;
}

char *pquant_sweep(const char *yaml, const char *dir, const pquant_options *options)
{
    const pquant_options o    = pq_api_options(options);
    pq_err              *err  = pq_api_begin();
    const char          *base = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
    char                *path = pq_format("%s/pquant-XXXXXX.yaml", base), *out = NULL;
    pq_config           *config  = NULL;
    pq_sweep_summary     summary = {0};
    pq_api_watch         watch;
    pq_sweep_options     how = {.dir = dir, .jobs = o.threads, .finish = finish};
    pq_status            st;

    pq_api_watch_start(&watch, &o);
    how.progress = &watch.progress;
    PQ_TRY(pq_api_check(&o, err));
    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_TRY(write_text(yaml, path, err));
    PQ_TRY(pq_config_read(path, NULL, &config, NULL, err));
    config->latency.processes = 1; /* whatever program this is, it cannot be started again
                                      to measure: records and keys say one */
    PQ_TRY(pq_sweep_run(config, &how, &summary, err));
    PQ_CHECK(summary.failed == 0, PQ_ERR_NUMERIC, "%zu of %zu cells failed; see %s",
             summary.failed, summary.cells, summary.table);
    out         = summary.dir;
    summary.dir = NULL;
cleanup:
    (void)st;
    if (path != NULL) {
        (void)remove(path);
    }
    pq_free(path);
    pq_sweep_summary_free(&summary);
    pq_config_free(&config);
    return out;
}
