/* The verb batch: a sweep as texts for the engine of a site. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/config.h"
#include "cli/submit.h"
#include "core/file.h"
#include "core/memory.h"
#include "core/visible.h"
#include "sweep/jobs.h"
#include "sweep/plan.h"

static const pq_option options[] = {
    PQ_SET_OPTION,
    PQ_AXIS_OPTION,
    {"shards", 0, "N", false, NULL,
     "jobs; default the profile's, or one a cell, at most 50"},
    {"profile", 0, "FILE", false, NULL,
     "what the site wants from its jobs (docs/sweeps.md)"},
    {"output", 'o', "DIR", false, NULL, "results folder, instead of the configuration's"},
    {"dry-run", 0, NULL, false, NULL, "print the texts, write and submit nothing"},
    {"submit", 0, NULL, false, NULL, "submit them, too"},
    {0},
};

static pq_status find_engine(const char *name, const pq_jobs_engine **out, pq_err *err)
{
    pq_text   names = {0};
    pq_status st    = PQ_OK;

    for (const pq_jobs_engine *e = pq_jobs_engines; e->name != NULL; e++) {
        if (strcmp(e->name, name) == 0) {
            *out = e;
            goto cleanup;
        }
        pq_text_add(&names, " %s", e->name);
    }
    PQ_FAIL(PQ_ERR_CONFIG, "batch: '%s' is not one of:%s", name,
            names.text != NULL ? names.text : "");
cleanup:
    pq_text_free(&names);
    return st;
}

/* "run 'c.yaml' -S 'x=1' -o 'results/x' -q". */
static void add_command(const pq_args *args, const char *dir, pq_text *out)
{
    static const char *const repeated[][2] = {{"set", "-S"}, {"axis", "-P"}};

    pq_text_add(out, "run ");
    pq_shell_add(out, pq_args_get(args, 1));
    for (size_t k = 0; k < 2; k++) {
        size_t             n      = 0;
        const char *const *values = pq_args_values(args, repeated[k][0], &n);
        for (size_t i = 0; i < n; i++) {
            pq_text_add(out, " %s ", repeated[k][1]);
            pq_shell_add(out, values[i]);
        }
    }
    pq_text_add(out, " -o ");
    pq_shell_add(out, dir);
    pq_text_add(out, " -q");
}

static void print_files(const pq_jobs_file *files, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        pq_say(stdout, "==> %s\n", files[i].name);
        pq_say_lines(stdout, files[i].text.text);
    }
}

static pq_status write_files(const char *folder, const pq_jobs_file *files, size_t n,
                             pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_folder_make(folder, err));
    for (size_t i = 0; i < n; i++) {
        PQ_TRY(pq_say_file(folder, files[i].name, &files[i].text, err));
    }
cleanup:
    return st;
}

/* Jobs: as asked for, as the profile says, or one a cell. */
static pq_status count_shards(const pq_args *args, const pq_site *site, size_t cells,
                              size_t *out, pq_err *err)
{
    enum { DEFAULT_MAX = 50, SHARDS_MAX = 100000 };
    pq_status st = PQ_OK;

    *out = cells < DEFAULT_MAX ? cells : DEFAULT_MAX;
    if (site->shards != PQ_UNSET) {
        *out = (size_t)site->shards;
    }
    if (pq_args_value(args, "shards") != NULL) {
        PQ_TRY(pq_args_size(args, "shards", 1, SHARDS_MAX, out, err));
    }
cleanup:
    return st;
}

static pq_status handle(const pq_args *args, const pq_jobs_engine *engine,
                        const pq_jobs *b, pq_err *err)
{
    pq_jobs_file files[PQ_JOBS_FILES] = {{0}};
    size_t       n                    = engine->write(b, files);
    pq_status    st                   = PQ_OK;

    for (size_t i = 0; i < n; i++) {
        PQ_CHECK(!files[i].text.failed && files[i].text.text != NULL, PQ_ERR_NOMEM,
                 "cannot allocate a text");
    }
    if (pq_args_flag(args, "dry-run")) {
        print_files(files, n);
        goto cleanup;
    }
    PQ_TRY(write_files(b->texts, files, n, err));
    if (pq_args_flag(args, "submit")) {
        PQ_TRY(pq_submit(b->texts, "submit.sh", engine->needs, err));
    }
cleanup:
    for (size_t i = 0; i < n; i++) {
        pq_text_free(&files[i].text);
    }
    return st;
}

/* Absolute path of what lies below the current folder. */
static char *absolute(const char *folder, const char *dir)
{
    char *path = pq_path_join(folder, dir);
    char *out  = path != NULL ? pq_path_join(path, "batch") : NULL;

    pq_free(path);
    return out;
}

/* Job files have no way to quote: what stands in their heads must be plain. */
static pq_status check_plain(const char *what, const char *text, pq_err *err)
{
    pq_status st;

    PQ_CHECK(
        strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                     "._-+=@/") == strlen(text),
        PQ_ERR_CONFIG,
        "batch: %s '%s' has characters that job files cannot hold: letters, digits and "
        "._-+=@/ are due",
        what, text);
cleanup:
    return st;
}

static pq_status batch(const pq_args *args, int *exit_code, pq_err *err)
{
    const pq_jobs_engine *engine  = NULL;
    pq_config            *config  = NULL;
    pq_cells              cells   = {0};
    pq_site               site    = {0};
    pq_text               command = {0};
    char                 *folder = getcwd(NULL, 0), *texts = NULL; /* from libc */
    char                  program[4096] = "";
    const char           *inputs[2]     = {NULL};
    pq_jobs               b;
    pq_status             st;

    (void)exit_code;
    PQ_CHECK(folder != NULL &&
                 readlink("/proc/self/exe", program, sizeof program - 1) > 0,
             PQ_ERR_IO, "cannot find out where this program is");
    PQ_TRY(find_engine(pq_args_get(args, 0), &engine, err));
    PQ_TRY(pq_site_read(pq_args_value(args, "profile"), &site, err));
    if (site.data_prefix != NULL && pq_folder_exists(site.data_prefix)) {
        (void)setenv("PQUANT_DATA_DIR", site.data_prefix, 1); /* as the jobs will see */
    }
    PQ_TRY(pq_args_config_at(args, 1, &config, err));
    PQ_TRY(pq_cells_plan(config, pq_args_value(args, "output"), &cells, err));
    texts = absolute(folder, cells.dir);
    PQ_CHECK(texts != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    if (engine->plain) {
        PQ_TRY(check_plain("the folder", texts, err));
        PQ_TRY(check_plain("the name", config->name, err));
    }
    add_command(args, cells.dir, &command);
    PQ_CHECK(!command.failed, PQ_ERR_NOMEM, "cannot allocate a command");
    inputs[0] = pq_args_get(args, 1);
    inputs[1] = cells.data;
    b         = (pq_jobs){.name     = config->name,
                          .program  = site.program != NULL                 ? site.program
                                      : strcmp(engine->name, "reana") == 0 ? "pquant"
                                                                           : program,
                          .folder   = folder,
                          .texts    = texts,
                          .command  = command.text,
                          .latency  = config->latency.wanted,
                          .n_inputs = 2,
                          .inputs   = inputs,
                          .results  = cells.dir,
                          .site     = &site};
    PQ_TRY(count_shards(args, &site, cells.n, &b.shards, err));
    PQ_TRY(handle(args, engine, &b, err));
cleanup:
    pq_text_free(&command);
    pq_free(texts);
    free(folder);
    pq_site_free(&site);
    pq_cells_free(&cells);
    pq_config_free(&config);
    return st;
}

const pq_verb pq_verb_batch = {
    .name      = "batch",
    .summary   = "write what a site's engine needs to run a sweep in shards, into "
                 "DIR/batch: job scripts, and submit.sh",
    .arguments = "slurm|condor|mpi|parallel|reana CONFIG",
    .min_args  = 2,
    .max_args  = 2,
    .options   = options,
    .example   = "pquant batch slurm configs/quickstart.yaml --shards 8 --dry-run",
    .run       = batch,
};
