/* The verbs around a sweep: run, status, merge, report. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <jansson.h>

#include "cli/condor.h"
#include "cli/config.h"
#include "cli/history.h"
#include "cli/shard.h"
#include "core/file.h"
#include "core/memory.h"
#include "report/report.h"
#include "store/json.h"
#include "store/lock.h"
#include "store/record.h"
#include "store/results.h"
#include "store/table.h"
#include "sweep/config.h"
#include "sweep/made.h"
#include "sweep/merge.h"
#include "sweep/plan.h"
#include "sweep/run.h"

static const pq_option run_options[] = {
    PQ_SET_OPTION,
    PQ_AXIS_OPTION,
    {"jobs", 'j', "N", false, "1", "cells at once; does not change the results"},
    {"output", 'o', "DIR", false, NULL, "results folder, instead of the configuration's"},
    {"only", 0, "GLOB|EXPRESSION", false, NULL,
     "only cells whose label matches, e.g. 'svd*', or of which it is true, e.g. "
     "'pipeline==svd && rank<=8'"},
    {"shard", 0, "I/N|mpi", false, NULL,
     "only part I of N, from 0, without tables; mpi: rank and size that mpirun or srun "
     "give"},
    {"collect", 0, NULL, false, NULL, "compute nothing: tables of what is there"},
    {"phase", 0, "all|eval|latency", false, "all", "which part to run"},
    {"force", 0, NULL, false, NULL, "compute cells that are done, too"},
    {"format", 0, "table|json|csv", false, "table", "what to print at the end"},
    {0},
};

static const pq_option status_options[] = {
    {"format", 0, "table|json", false, "table", "how to print"},
    {0},
};

static size_t terminal_width(void)
{
    struct winsize w = {0};

    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col >= 40 ? w.ws_col : 100;
}

static pq_status print_csv(const char *dir, pq_err *err)
{
    char     *path  = pq_path_join(dir, "table.csv");
    char     *bytes = NULL;
    size_t    n;
    pq_status st;

    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_TRY(pq_file_read(path, (size_t)1 << 30, &bytes, &n, err));
    if (isatty(STDOUT_FILENO) != 0) {
        pq_say_lines(stdout, bytes);
    } else {
        (void)fwrite(bytes, 1, n, stdout);
    }
cleanup:
    pq_free(path);
    pq_free(bytes);
    return st;
}

/* The table of results, for people, as `report` escaped it; goes to `table` until all is
 * made. */
static pq_report_options with_table(pq_text *table)
{
    return (pq_report_options){
        .table = table, .width = terminal_width(), .color = isatty(STDOUT_FILENO) != 0};
}

static void print_table(const pq_text *table)
{
    pq_say_raw(stdout, table->text != NULL ? table->text : "");
}

/* Where the page is, and what is missing from it. */
static void print_page(const char *dir, const pq_report_summary *report)
{
    if (report->page) {
        pq_say(stdout, "%s/report.html\n", dir);
    }
    if (report->note[0] != '\0') {
        pq_say(stdout, "note: %s\n", report->note);
    }
}

static void print_summary(const pq_sweep_summary *s, const pq_report_summary *report)
{
    char time[32];

    pq_say(stdout, "%zu cells: %zu computed, %zu cached, %zu failed", s->cells,
           s->computed, s->cached, s->failed);
    if (s->missing > 0) {
        pq_say(stdout, ", %zu missing", s->missing);
    }
    pq_say(stdout, " (%s)\n", pq_seconds_text(s->seconds, time, sizeof time));
    if (s->note[0] != '\0') {
        pq_say(stdout, "note: %s\n", s->note);
    }
    pq_say(stdout, "%s\n", s->table);
    print_page(s->dir, report);
}

static void print_run_json(const pq_sweep_summary *s)
{
    json_t *json =
        json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "table", s->table, "dir", s->dir,
                  "cells", (json_int_t)s->cells, "computed", (json_int_t)s->computed,
                  "cached", (json_int_t)s->cached, "failed", (json_int_t)s->failed,
                  "missing", (json_int_t)s->missing);

    (void)pq_say_json(json);
    json_decref(json);
}

/* The reason behind an exit code that is not a failing status. */
static void judge(const pq_sweep_summary *s, int *exit_code, pq_err *err)
{
    if (s->failed > 0) {
        *exit_code = PQ_EXIT_FAILED;
        (void)pq_err_set(err, PQ_ERR_NUMERIC, __FILE__, __LINE__,
                         "%zu of %zu cells failed; their reasons are in the report",
                         s->failed, s->cells);
    } else if (s->untimed > 0) {
        *exit_code = PQ_EXIT_FAILED;
        (void)pq_err_set(err, PQ_ERR_NUMERIC, __FILE__, __LINE__,
                         "%zu timings failed; their reasons are in the report, and the "
                         "next run takes them again",
                         s->untimed);
    } else if (s->selected == 0) {
        *exit_code = PQ_EXIT_NOTHING;
        (void)pq_err_set(err, PQ_ERR_CONFIG, __FILE__, __LINE__, "no cell was selected");
    } else if (s->missing > 0) {
        *exit_code = PQ_EXIT_INCOMPLETE;
        (void)pq_err_set(err, PQ_ERR_CONFIG, __FILE__, __LINE__,
                         "%zu of %zu cells %s missing", s->missing, s->cells,
                         s->missing == 1 ? "is" : "are");
    }
}

static pq_status pick_phase(const pq_args *args, unsigned *phases, pq_err *err)
{
    const char *phase = pq_args_value(args, "phase");
    pq_status   st;

    PQ_CHECK(strcmp(phase, "all") == 0 || strcmp(phase, "eval") == 0 ||
                 strcmp(phase, "latency") == 0,
             PQ_ERR_CONFIG, "--phase: '%s' is not one of: all eval latency", phase);
    *phases = strcmp(phase, "eval") == 0      ? PQ_PHASE_EVAL
              : strcmp(phase, "latency") == 0 ? PQ_PHASE_LATENCY
                                              : PQ_PHASE_ALL;
cleanup:
    return st;
}

static bool has_page(const char *dir)
{
    char      *path = pq_path_join(dir, "report.html");
    const bool has  = path != NULL && pq_file_exists(path);

    pq_free(path);
    return has;
}

/* Tables, plots, page and what is printed of them, while the folder is this run's. */
static pq_status finish(void *context, const pq_sweep_summary *summary,
                        const json_t *results, const pq_results_count *count, pq_err *err)
{
    const char             *format  = context;
    pq_text                 table   = {0};
    const pq_report_options options = with_table(&table);
    pq_report_summary       report  = {0};
    pq_status               st;

    pq_progress_done();
    if (summary->made) {
        report.page = has_page(summary->dir);
        PQ_TRY(pq_report_print(results, options.width, options.color, &table, err));
    } else {
        PQ_TRY(pq_report_make(summary->dir, results, count, &options, &report, err));
    }
    if (!summary->made && report.note[0] == '\0') { /* else there is more to be made */
        pq_made_note(summary->dir, summary->made_of);
    }
    if (strcmp(format, "json") == 0) {
        print_run_json(summary);
    } else if (strcmp(format, "csv") == 0) {
        PQ_TRY(print_csv(summary->dir, err));
    } else {
        print_table(&table);
        print_summary(summary, &report);
    }
cleanup:
    pq_text_free(&table);
    return st;
}

static pq_status run(const pq_args *args, int *exit_code, pq_err *err)
{
    const pq_progress progress = pq_args_progress(args);
    pq_sweep_options  options  = {.progress = &progress, .finish = finish};
    pq_sweep_summary  summary  = {0};
    pq_config        *config   = NULL;
    const char       *format;
    pq_status         st;

    PQ_TRY(pq_args_format(args, "table json csv", &format, err));
    PQ_TRY(pq_args_size(args, "jobs", 1, 1024, &options.jobs, err));
    PQ_TRY(pick_phase(args, &options.phases, err));
    PQ_TRY(pq_args_shard(args, &options.shard, err));
    PQ_CHECK(options.shard.parts == 0 || options.phases != PQ_PHASE_LATENCY,
             PQ_ERR_CONFIG,
             "--shard: times are measured of all cells beside nothing else; run --phase "
             "latency without it");
    options.collect = pq_args_flag(args, "collect");
    options.dir     = pq_args_value(args, "output");
    options.only    = pq_args_value(args, "only");
    options.force   = pq_args_flag(args, "force");
    options.program = "/proc/self/exe";
    options.context = (void *)format;
    PQ_TRY(pq_args_config(args, &config, err));
    st = pq_sweep_run(config, &options, &summary, err);
    if (st == PQ_ERR_INTERRUPTED && summary.signal != SIGINT) {
        *exit_code = PQ_EXIT_AGAIN;
    }
    PQ_TRY(st);
    if (options.shard.parts > 0) {
        pq_progress_done();
        pq_print_shard(&summary, options.shard);
    } else {
        judge(&summary, exit_code, err);
    }
cleanup:
    pq_sweep_summary_free(&summary);
    pq_config_free(&config);
    return st;
}

const pq_verb pq_verb_run = {
    .name    = "run",
    .summary = "compress, evaluate, time and report everything a configuration asks for",
    .arguments = "CONFIG",
    .min_args  = 1,
    .max_args  = 1,
    .options   = run_options,
    .example   = "pquant run configs/quickstart.yaml -P rank=4,8 --jobs 2",
    .run       = run,
};

static pq_status status(const pq_args *args, int *exit_code, pq_err *err)
{
    pq_results_count count   = {0};
    json_t          *results = NULL, *json = NULL, *jobs = NULL;
    pq_condor_log    log   = {0};
    bool             batch = false;
    const char      *format;
    pq_status        st;

    PQ_TRY(pq_args_format(args, "table json", &format, err));
    PQ_TRY(pq_results_read(pq_args_get(args, 0), &results, &count, err));
    PQ_TRY(pq_condor_of(pq_args_get(args, 0), &log, &batch, err));
    json = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "cells",
                     (json_int_t)count.cells, "done", (json_int_t)count.done, "failed",
                     (json_int_t)count.failed, "missing", (json_int_t)count.missing,
                     "latency", (json_int_t)count.latency, "latency_missing",
                     (json_int_t)count.latency_missing, "damaged",
                     (json_int_t)count.damaged);
    if (batch) {
        jobs = json_object();
        for (int s = 0; s < PQ_CONDOR_STATES; s++) {
            (void)json_object_set_new(jobs, pq_condor_words[s],
                                      json_integer((json_int_t)pq_condor_count(&log, s)));
        }
        (void)json_object_set(json, "jobs", jobs);
    }
    if (strcmp(format, "json") == 0) {
        (void)pq_say_json(json);
    } else {
        pq_say(stdout,
               "%zu cells: %zu done, %zu failed, %zu missing; latency: %zu of %zu\n",
               count.cells, count.done, count.failed, count.missing,
               count.latency - count.latency_missing, count.latency);
        if (count.damaged > 0) {
            pq_say(stdout, "records that cannot be read, as if missing: %zu\n",
                   count.damaged);
        }
        if (batch) {
            pq_condor_print(pq_args_get(args, 0), &log);
        }
    }
    if (count.failed > 0) {
        *exit_code = PQ_EXIT_FAILED;
        (void)pq_err_set(err, PQ_ERR_NUMERIC, __FILE__, __LINE__,
                         "%zu of %zu cells failed", count.failed, count.cells);
    } else if (count.missing + count.latency_missing > 0) {
        *exit_code = PQ_EXIT_INCOMPLETE;
        (void)pq_err_set(err, PQ_ERR_CONFIG, __FILE__, __LINE__,
                         "%zu cells and %zu timings are missing", count.missing,
                         count.latency_missing);
    }
cleanup:
    pq_condor_log_free(&log);
    json_decref(jobs);
    json_decref(json);
    json_decref(results);
    return st;
}

const pq_verb pq_verb_status = {
    .name      = "status",
    .summary   = "how far the run behind a results folder is",
    .arguments = "DIR",
    .min_args  = 1,
    .max_args  = 1,
    .options   = status_options,
    .example   = "pquant status results/quickstart",
    .run       = status,
};

static pq_status report_folder(const char *dir, const json_t *results,
                               const pq_results_count *count, const char *format,
                               const char *section, pq_err *err)
{
    pq_text           table   = {0};
    pq_report_options options = with_table(&table);
    pq_report_summary report  = {0};
    pq_status         st;

    options.section = section;
    PQ_TRY(pq_report_make(dir, results, count, &options, &report, err));
    if (strcmp(format, "csv") == 0) {
        PQ_TRY(print_csv(dir, err));
    } else if (strcmp(format, "table") == 0) {
        print_table(&table);
        print_page(dir, &report);
    }
cleanup:
    pq_text_free(&table);
    return st;
}

static const pq_option merge_options[] = {
    {"force", 0, NULL, false, NULL, "bring folders of different plans together, too"},
    {"format", 0, "table|csv", false, "table", "how to print"},
    {0},
};

/* Cells that are in none of the folders, the first by name. */
static void tell_missing(const json_t *results, const pq_results_count *count)
{
    enum { SHOWN = 10 };
    const json_t *cells = json_object_get(results, "cells"), *cell;
    size_t        i, shown = 0;

    json_array_foreach((json_t *)cells, i, cell)
    {
        if (shown < SHOWN && strcmp(pq_json_get_text(cell, "status"), "missing") == 0) {
            pq_say(stdout, "missing: %s\n", pq_json_get_text(cell, "label"));
            shown++;
        }
    }
    if (count->missing > shown) {
        pq_say(stdout, "missing: %zu more\n", count->missing - shown);
    }
}

static void tell_merged(const pq_merged *merged)
{
    pq_say(stdout, "%zu records copied", merged->copied);
    if (merged->duplicates > 0) {
        pq_say(stdout, ", %zu duplicates", merged->duplicates);
    }
    if (merged->damaged > 0) {
        pq_say(stdout, ", %zu damaged and left out", merged->damaged);
    }
    pq_say(stdout, "\n");
    pq_say_lines(stdout, merged->damage.text != NULL ? merged->damage.text : "");
}

static pq_status merge(const pq_args *args, int *exit_code, pq_err *err)
{
    int              lock    = -1;
    const char      *dir     = pq_args_get(args, 0);
    json_t          *results = NULL;
    pq_results_count count   = {0};
    pq_merged        merged  = {0};
    pq_join_options  options = {.force = pq_args_flag(args, "force")};
    const char      *format;
    pq_status        st;

    PQ_TRY(pq_args_format(args, "table csv", &format, err));
    PQ_TRY(pq_results_lock(dir, &lock, err));
    PQ_TRY(pq_shelf_open(dir, &options.shelf, err));
    st = pq_sweep_join(dir, pq_args_count(args) - 1, pq_args_rest(args, 1), &options,
                       &merged, err);
    if (merged.n_conflicts > 0) {
        *exit_code = PQ_EXIT_FAILED;
        pq_say_lines(stderr, merged.conflicts.text);
    }
    PQ_TRY(st);
    PQ_TRY(pq_sweep_collect(dir, options.shelf, false, &results, &count, err));
    PQ_TRY(report_folder(dir, results, &count, format, NULL, err));
    if (!pq_args_flag(args, "quiet") && strcmp(format, "table") == 0) {
        tell_merged(&merged);
        tell_missing(results, &count);
    }
    judge(&(pq_sweep_summary){.failed   = count.failed,
                              .missing  = count.missing,
                              .cells    = count.cells,
                              .selected = count.cells},
          exit_code, err);
cleanup:
    pq_shelf_close(&options.shelf);
    pq_results_unlock(&lock);
    pq_merged_free(&merged);
    json_decref(results);
    return st;
}

const pq_verb pq_verb_merge = {
    .name      = "merge",
    .summary   = "bring results folders together into the first, and rebuild its tables",
    .arguments = "DIR [FROM…]",
    .min_args  = 1,
    .max_args  = 4096,
    .options   = merge_options,
    .example   = "pquant merge results/all shard-0 shard-1",
    .run       = merge,
};

static pq_status report(const pq_args *args, int *exit_code, pq_err *err)
{
    json_t            *results = NULL;
    pq_results_count   count   = {0};
    const char        *format;
    int                lock = -1;
    size_t             n    = 0;
    const char *const *nights;
    pq_text            section = {0};
    pq_status          st;

    (void)exit_code;
    PQ_TRY(pq_args_format(args, "table csv", &format, err));
    nights = pq_args_values(args, "history", &n);
    if (n > 0) {
        PQ_TRY(pq_history_section(n, nights, &section, err));
    }
    PQ_TRY(pq_results_lock(pq_args_get(args, 0), &lock, err));
    PQ_TRY(pq_sweep_collect(pq_args_get(args, 0), NULL, false, &results, &count, err));
    PQ_TRY(
        report_folder(pq_args_get(args, 0), results, &count, format, section.text, err));
cleanup:
    pq_text_free(&section);
    json_decref(results);
    pq_results_unlock(&lock);
    return st;
}

static const pq_option report_options[] = {
    {"history", 0, "DIR|FILE", true, NULL,
     "also draw these nights (as `pquant history` takes them) into the page"},
    {"format", 0, "table|csv", false, "table", "how to print"},
    {0},
};

const pq_verb pq_verb_report = {
    .name      = "report",
    .summary   = "make tables, plots and the page again from the records of a folder",
    .arguments = "DIR",
    .min_args  = 1,
    .max_args  = 1,
    .options   = report_options,
    .example   = "pquant report results/quickstart",
    .run       = report,
};
