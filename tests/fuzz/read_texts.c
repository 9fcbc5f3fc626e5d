/* Configurations, manifests of sets and archives. */
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "data/fetch.h"
#include "data/untar.h"
#include "fuzz.h"
#include "sweep/condor_log.h"
#include "sweep/config.h"
#include "sweep/train_config.h"
#include "targets.h"

static pq_status read_sweep(const char *path, pq_err *err)
{
    pq_config *config   = NULL;
    pq_text    problems = {0}, shown = {0};
    pq_status  st = pq_config_read(path, NULL, &config, &problems, err);

    if (st == PQ_OK) {
        pq_config_show(config, NULL, &shown);
    }
    pq_config_free(&config);
    pq_text_free(&problems);
    pq_text_free(&shown);
    return st;
}

static pq_status read_training(const char *path, pq_err *err)
{
    pq_train_config *config   = NULL;
    pq_text          problems = {0}, shown = {0};
    pq_status        st = pq_train_config_read(path, NULL, NULL, &config, &problems, err);

    if (st == PQ_OK) {
        pq_train_config_show(config, &shown);
    }
    pq_train_config_free(&config);
    pq_text_free(&problems);
    pq_text_free(&shown);
    return st;
}

pq_status fuzz_config(const fuzz_input *in, pq_err *err)
{
    return pq_train_config_is(in->first) ? read_training(in->first, err)
                                         : read_sweep(in->first, err);
}

/* The log, and the submit file beside it, anew for the shards of jobs that are held. */
pq_status fuzz_condor(const fuzz_input *in, pq_err *err)
{
    pq_condor_log    log    = {0};
    pq_condor_again *jobs   = NULL;
    char            *submit = NULL, path[512];
    pq_text          anew   = {0};
    size_t           n = 0, bytes = 0;
    pq_status        st;

    PQ_TRY(pq_condor_log_read(in->first, &log, err));
    PQ_NEW(jobs, log.n + 1);
    for (size_t i = 0; i < log.n; i++) {
        if (log.jobs[i].state == PQ_CONDOR_HELD) {
            jobs[n++] = (pq_condor_again){log.jobs[i].shard, log.jobs[i].used_mb};
        }
    }
    if (pq_file_read(fuzz_path(in, "b.sub", path, sizeof path), 1 << 20, &submit, &bytes,
                     NULL) == PQ_OK) {
        PQ_TRY(pq_condor_resubmit(submit, jobs, n, &anew, err));
    }
cleanup:
    pq_text_free(&anew);
    pq_free(submit);
    pq_free(jobs);
    pq_condor_log_free(&log);
    return st;
}

/* The set's own folder is data/ beside the manifests. With the option "whole" all of it
 * is there, and has to open. */
pq_status fuzz_set(const fuzz_input *in, pq_err *err)
{
    pq_set      set = {0}, found = {0}, *all = NULL;
    size_t      n     = 0;
    pq_text     notes = {0};
    pq_dataset *d     = NULL;
    char       *path  = NULL, home[512], whole[FUZZ_FIELD];
    pq_status   st;

    (void)setenv("PQUANT_DATA_DIR", fuzz_path(in, "data", home, sizeof home), 1);
    PQ_TRY(pq_set_read(in->first, &set, err));
    if (pq_sets_read(in->folder, &all, &n, NULL) == PQ_OK) {
        (void)pq_set_find(in->folder, set.name, &found, NULL);
    }
    st = pq_set_fetch(&set, NULL, &path, &notes, err);
    if (st != PQ_OK && fuzz_option(in, "whole", whole) == NULL) {
        st = PQ_OK;
        goto cleanup;
    }
    PQ_TRY(st);
    pq_free(path);
    path = NULL;
    PQ_TRY(pq_set_where(&set, &path, err));
    if (set.layout != NULL && strcmp(set.layout, "none") != 0) {
        PQ_TRY(
            pq_dataset_open(path, &(pq_dataset_options){.layout = set.layout}, &d, err));
    }
cleanup:
    pq_dataset_close(&d);
    pq_text_free(&notes);
    pq_free(path);
    for (size_t i = 0; i < n; i++) {
        pq_set_free(&all[i]);
    }
    pq_free(all);
    pq_set_free(&found);
    pq_set_free(&set);
    return st;
}

pq_status fuzz_archive(const fuzz_input *in, pq_err *err)
{
    char folder[512];

    return pq_untar(in->first, fuzz_path(in, "unpacked", folder, sizeof folder), err);
}
