#include "sweep/condor_log.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "core/visible.h"

enum { LOG_BYTES_MAX = 1 << 28, JOBS_MAX = 100000 };

/* Codes of events. */
enum {
    SUBMITTED   = 0,
    RUNS        = 1,
    EVICTED     = 4,
    ENDED       = 5,
    SIZE        = 6,
    SHADOW      = 7,
    ABORTED     = 9,
    HELD        = 12,
    RELEASED    = 13,
    DISCONNECTS = 22,
    RECONNECTS  = 23,
    NO_RETURN   = 24
};

/* A log while it is read. */
typedef struct {
    pq_condor_log  log;
    size_t         room;
    json_t        *places; /* of jobs by "cluster.process" */
    pq_condor_job *job;    /* of the event that is read, or NULL */
    long           event;
    bool           any; /* an event was found */
} reading;

static pq_status find_job(reading *r, long cluster, long process, pq_err *err)
{
    char          key[64];
    const json_t *place;
    pq_status     st = PQ_OK;

    (void)snprintf(key, sizeof key, "%ld.%ld", cluster, process);
    place = json_object_get(r->places, key);
    if (place != NULL) {
        r->job = &r->log.jobs[json_integer_value(place)];
        return PQ_OK;
    }
    PQ_CHECK(r->log.n < JOBS_MAX, PQ_ERR_FORMAT, "names more than %d jobs", JOBS_MAX);
    if (r->log.n == r->room) {
        pq_condor_job *jobs =
            pq_recalloc(r->log.jobs, r->room, 2 * r->room + 64, sizeof *jobs);
        PQ_CHECK(jobs != NULL, PQ_ERR_NOMEM, "cannot allocate jobs");
        r->log.jobs = jobs;
        r->room     = 2 * r->room + 64;
    }
    PQ_CHECK(json_object_set_new(r->places, key, json_integer((json_int_t)r->log.n)) == 0,
             PQ_ERR_NOMEM, "cannot allocate jobs");
    r->job  = &r->log.jobs[r->log.n++];
    *r->job = (pq_condor_job){.cluster = cluster, .process = process, .shard = process};
cleanup:
    return st;
}

static pq_condor_state state_after(long event, pq_condor_state now)
{
    switch (event) {
    case SUBMITTED:
    case EVICTED:
    case SHADOW:
    case RELEASED:
    case NO_RETURN:
        return PQ_CONDOR_IDLE;
    case RUNS:
    case RECONNECTS:
        return PQ_CONDOR_RUNNING;
    case ENDED:
        return PQ_CONDOR_ENDED;
    case ABORTED:
        return PQ_CONDOR_REMOVED;
    case HELD:
        return PQ_CONDOR_HELD;
    default:
        return now;
    }
}

/* "012 (123.007.000) 2026-11-29 07:10:00 Job was held."; false where it is no such line.
 */
static bool read_head(reading *r, const char *line, pq_status *st, pq_err *err)
{
    long cluster, process;
    int  used = 0;

    if (strspn(line, "0123456789") != 3 || line[3] != ' ' ||
        sscanf(line, "%3ld (%9ld.%9ld.%*9d) %n", &r->event, &cluster, &process, &used) !=
            3 ||
        used == 0) {
        return false;
    }
    r->any = true;
    r->job = NULL;
    if (cluster >= 0 && process >= 0) { /* else of the cluster as a whole */
        *st = find_job(r, cluster, process, err);
    }
    if (*st == PQ_OK && r->job != NULL) {
        r->job->state = state_after(r->event, r->job->state);
        if (r->event == HELD) {
            r->job->reason[0] = '\0';
            r->job->hold_code = 0;
        } else if (r->event == ENDED) {
            r->job->exit_code = -1;
        }
    }
    return true;
}

/* Number behind a word, or `otherwise`. */
static long number_after(const char *line, const char *word, long otherwise)
{
    const char *at = strstr(line, word);
    long        x  = otherwise;

    return at != NULL && sscanf(at + strlen(word), "%9ld", &x) == 1 ? x : otherwise;
}

static void read_more(reading *r, const char *line)
{
    pq_condor_job *job = r->job;
    long           mb  = 0;

    if (job == NULL) {
        return;
    }
    line += strspn(line, " \t");
    if (r->event == SUBMITTED) {
        job->shard    = number_after(line, "shard=", job->shard);
        job->asked_mb = number_after(line, "memory=", job->asked_mb);
    } else if (r->event == SIZE && strstr(line, "MemoryUsage of job (MB)") != NULL &&
               sscanf(line, "%9ld", &mb) == 1) {
        job->used_mb = mb > job->used_mb ? mb : job->used_mb;
    } else if (r->event == ENDED && strncmp(line, "(1) Normal", 10) == 0) {
        job->exit_code = number_after(line, "return value ", 0);
    } else if (r->event == HELD && strncmp(line, "Code ", 5) == 0) {
        job->hold_code = number_after(line, "Code ", 0);
    } else if (r->event == HELD && job->reason[0] == '\0') {
        (void)snprintf(job->reason, sizeof job->reason, "%s", line);
        pq_utf8_cut(job->reason);
    }
}

pq_status pq_condor_log_read(const char *path, pq_condor_log *out, pq_err *err)
{
    reading   r     = {.places = json_object()};
    char     *bytes = NULL, *rest, *line;
    size_t    n     = 0;
    pq_status st    = PQ_OK;

    PQ_CHECK(r.places != NULL, PQ_ERR_NOMEM, "cannot allocate jobs");
    PQ_TRY(pq_file_read(path, LOG_BYTES_MAX, &bytes, &n, err));
    rest = bytes;
    while ((line = strsep(&rest, "\n")) != NULL && st == PQ_OK) {
        line[strcspn(line, "\r")] = '\0';
        if (strcmp(line, "...") == 0) {
            r.job = NULL;
        } else if (!read_head(&r, line, &st, err)) {
            read_more(&r, line);
        }
    }
    if (st != PQ_OK) {
        pq_err_context(err, "%s", path);
        goto cleanup;
    }
    PQ_CHECK(r.any, PQ_ERR_FORMAT, "%s: no event of HTCondor stands in it", path);
    *out  = r.log;
    r.log = (pq_condor_log){0};
cleanup:
    json_decref(r.places);
    pq_free(bytes);
    pq_condor_log_free(&r.log);
    return st;
}

void pq_condor_log_free(pq_condor_log *log)
{
    pq_free(log->jobs);
    *log = (pq_condor_log){0};
}

bool pq_condor_for_memory(const pq_condor_job *job)
{
    return job->state == PQ_CONDOR_HELD && (job->hold_code == 26 || job->hold_code == 34);
}

static bool starts(const char *line, size_t n, const char *word)
{
    return n >= strlen(word) && strncmp(line, word, strlen(word)) == 0;
}

pq_status pq_condor_resubmit(const char *submit, const pq_condor_again *jobs, size_t n,
                             pq_text *out, pq_err *err)
{
    unsigned  seen = 0;
    pq_status st   = PQ_OK;

    for (const char *at = submit; *at != '\0';) {
        const size_t length = strcspn(at, "\n");
        if (starts(at, length, "memory_mb = ")) {
            seen |= 1U; /* comes with each job */
        } else if (starts(at, length, "shard = ")) {
            seen |= 2U;
        } else if (starts(at, length, "queue ")) {
            pq_text_add(out, "queue shard, memory_mb from (\n");
            for (size_t i = 0; i < n; i++) {
                pq_text_add(out, "  %ld, %ld\n", jobs[i].shard, jobs[i].memory_mb);
            }
            pq_text_add(out, ")\n");
            seen |= 4U;
        } else {
            pq_text_add(out, "%.*s\n", (int)length, at);
        }
        at += length + (at[length] == '\n');
    }
    PQ_CHECK(seen == 7, PQ_ERR_FORMAT,
             "is no submit file of `pquant batch condor`: it lacks memory_mb, shard or "
             "queue");
cleanup:
    return st;
}
