/* The verb rerun: jobs of HTCondor that are held, submitted anew with more memory. */
#include <stdlib.h>
#include <string.h>

#include "cli/condor.h"
#include "cli/submit.h"
#include "cli/verb.h"
#include "core/file.h"
#include "core/memory.h"
#include "core/visible.h"

enum { SUBMIT_BYTES_MAX = 1 << 20, SHOWN = 10 };

static const double MB = 1e6, MEMORY_MAX_MB = 1e9;

static const pq_option options[] = {
    {"held", 0, NULL, false, NULL, "the jobs of HTCondor that are held now"},
    {"memory", 0, "+N|N", false, NULL,
     "memory of each: so much more than it asked for or took, or so much: +1GB, 6GB"},
    {"dry-run", 0, NULL, false, NULL, "print the texts, write and submit nothing"},
    {"submit", 0, NULL, false, NULL, "submit them, too"},
    {0},
};

const char *const pq_condor_words[PQ_CONDOR_STATES] = {"waiting", "running", "held",
                                                       "ended", "removed"};

pq_status pq_condor_of(const char *dir, pq_condor_log *out, bool *there, pq_err *err)
{
    char     *path = pq_format("%s/batch/condor.log", dir);
    pq_status st   = PQ_OK;

    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    *there = pq_file_exists(path);
    if (*there) {
        PQ_TRY(pq_condor_log_read(path, out, err));
    }
cleanup:
    pq_free(path);
    return st;
}

size_t pq_condor_count(const pq_condor_log *log, pq_condor_state state)
{
    size_t n = 0;

    for (size_t i = 0; i < log->n; i++) {
        n += log->jobs[i].state == state;
    }
    return n;
}

void pq_condor_print(const char *dir, const pq_condor_log *log)
{
    size_t shown = 0, memory = 0;

    pq_say(stdout, "HTCondor: %zu jobs:", log->n);
    for (int s = 0; s < PQ_CONDOR_STATES; s++) {
        pq_say(stdout, "%s %zu %s", s > 0 ? "," : "", pq_condor_count(log, s),
               pq_condor_words[s]);
    }
    pq_say(stdout, "\n");
    for (size_t i = 0; i < log->n; i++) {
        const pq_condor_job *job = &log->jobs[i];
        memory += pq_condor_for_memory(job);
        if (job->state == PQ_CONDOR_HELD && shown++ < SHOWN) {
            pq_say(stdout, "held: job %ld.%ld, shard %ld: code %ld: %s\n", job->cluster,
                   job->process, job->shard, job->hold_code, job->reason);
        }
    }
    if (shown > SHOWN) {
        pq_say(stdout, "held: %zu more\n", shown - SHOWN);
    }
    if (shown > 0) {
        pq_say(stdout, "again: pquant rerun %s --held%s --submit\n", dir,
               memory > 0 ? " --memory +1GB" : "");
    }
}

/* "+1GB" or "6GB", in MB. */
static pq_status read_memory(const char *text, bool *more, double *mb, pq_err *err)
{
    pq_status st = PQ_OK;

    *more = text[0] == '+';
    PQ_CHECK(pq_parse_real(text + *more, PQ_UNIT_BYTES, mb) && *mb >= MB &&
                 *mb <= MEMORY_MAX_MB * MB && text[*more] != '+' && text[*more] != '-',
             PQ_ERR_CONFIG,
             "--memory: '%s' is neither N nor +N with N in 1MB..1000TB: "
             "+1GB, 6GB",
             text);
    *mb /= MB;
cleanup:
    return st;
}

/* Shards of held jobs with their memory; of one that is held twice the larger. */
static pq_status choose(const pq_condor_log *log, const char *memory,
                        pq_condor_again *jobs, size_t *n, pq_err *err)
{
    bool      more = false;
    double    mb   = 0.0;
    pq_status st   = PQ_OK;

    if (memory != NULL) {
        PQ_TRY(read_memory(memory, &more, &mb, err));
    }
    for (size_t i = 0; i < log->n; i++) {
        const pq_condor_job *job = &log->jobs[i];
        const long most = job->used_mb > job->asked_mb ? job->used_mb : job->asked_mb;
        long   due = memory == NULL ? job->asked_mb : more ? most + (long)mb : (long)mb;
        size_t k   = 0;
        if (job->state != PQ_CONDOR_HELD) {
            continue;
        }
        PQ_CHECK(memory != NULL || !pq_condor_for_memory(job), PQ_ERR_CONFIG,
                 "job %ld.%ld is held for its memory (code %ld): give --memory +1GB",
                 job->cluster, job->process, job->hold_code);
        PQ_CHECK(due >= 1, PQ_ERR_CONFIG,
                 "job %ld.%ld: the log does not tell its memory: give --memory 4GB",
                 job->cluster, job->process);
        while (k < *n && jobs[k].shard != job->shard) {
            k++;
        }
        if (k == *n) {
            jobs[(*n)++] = (pq_condor_again){job->shard, due};
        } else if (due > jobs[k].memory_mb) {
            jobs[k].memory_mb = due;
        }
    }
cleanup:
    return st;
}

static void add_script(const pq_condor_log *log, const char *batch, pq_text *out)
{
    pq_text_add(out, "#!/usr/bin/env bash\nset -e\ncondor_rm");
    for (size_t i = 0; i < log->n; i++) {
        if (log->jobs[i].state == PQ_CONDOR_HELD) {
            pq_text_add(out, " %ld.%ld", log->jobs[i].cluster, log->jobs[i].process);
        }
    }
    pq_text_add(out, "\ncondor_submit %s",
                strncmp(batch, "/eos/", 5) == 0 ? "-spool " : "");
    pq_shell_add(out, batch);
    pq_text_add(out, "/rerun.sub\n");
}

static pq_status write_again(const pq_args *args, const pq_condor_log *log,
                             const pq_condor_again *jobs, size_t n, pq_err *err)
{
    char     *batch = pq_path_join(pq_args_get(args, 0), "batch"), *whole = NULL;
    char     *path = NULL, *submit = NULL;
    size_t    bytes    = 0;
    pq_text   texts[2] = {{0}, {0}};
    pq_status st;

    PQ_CHECK(batch != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    whole = realpath(batch, NULL); /* from libc */
    PQ_CHECK(whole != NULL, PQ_ERR_NOT_FOUND, "%s: is not there", batch);
    path = pq_path_join(whole, "sweep.sub");
    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_TRY(pq_file_read(path, SUBMIT_BYTES_MAX, &submit, &bytes, err));
    st = pq_condor_resubmit(submit, jobs, n, &texts[0], err);
    if (st != PQ_OK) {
        pq_err_context(err, "%s", path);
        goto cleanup;
    }
    add_script(log, whole, &texts[1]);
    PQ_CHECK(!texts[0].failed && !texts[1].failed, PQ_ERR_NOMEM,
             "cannot allocate a text");
    if (pq_args_flag(args, "dry-run")) {
        pq_say(stdout, "==> rerun.sub\n");
        pq_say_lines(stdout, texts[0].text);
        pq_say(stdout, "==> rerun.sh\n");
        pq_say_lines(stdout, texts[1].text);
        goto cleanup;
    }
    PQ_TRY(pq_say_file(whole, "rerun.sub", &texts[0], err));
    PQ_TRY(pq_say_file(whole, "rerun.sh", &texts[1], err));
    if (pq_args_flag(args, "submit")) {
        PQ_TRY(pq_submit(whole, "rerun.sh", "condor_submit", err));
    }
cleanup:
    pq_text_free(&texts[0]);
    pq_text_free(&texts[1]);
    pq_free(submit);
    pq_free(path);
    pq_free(batch);
    free(whole);
    return st;
}

static pq_status rerun(const pq_args *args, int *exit_code, pq_err *err)
{
    pq_condor_log    log   = {0};
    pq_condor_again *jobs  = NULL;
    size_t           n     = 0;
    bool             there = false;
    pq_status        st;

    PQ_CHECK(pq_args_flag(args, "held"), PQ_ERR_CONFIG,
             "rerun: --held is due (cells that failed: `pquant run` with the same "
             "configuration computes them again)");
    PQ_TRY(pq_condor_of(pq_args_get(args, 0), &log, &there, err));
    PQ_CHECK(there, PQ_ERR_NOT_FOUND,
             "%s/batch/condor.log: is not there (with -spool it comes by "
             "condor_transfer_data)",
             pq_args_get(args, 0));
    PQ_NEW(jobs, log.n + 1);
    PQ_TRY(choose(&log, pq_args_value(args, "memory"), jobs, &n, err));
    if (n == 0) {
        *exit_code = PQ_EXIT_NOTHING;
        PQ_FAIL(PQ_ERR_CONFIG, "no job is held");
    }
    PQ_TRY(write_again(args, &log, jobs, n, err));
cleanup:
    pq_free(jobs);
    pq_condor_log_free(&log);
    return st;
}

const pq_verb pq_verb_rerun = {
    .name      = "rerun",
    .summary   = "jobs of HTCondor that are held (batch/condor.log of a results folder): "
                 "removed and submitted anew, with other memory",
    .arguments = "DIR",
    .min_args  = 1,
    .max_args  = 1,
    .options   = options,
    .example   = "pquant rerun results/quickstart --held --memory +1GB --dry-run",
    .run       = rerun,
};
