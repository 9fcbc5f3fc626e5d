/*
 * Opens files as the program does, each in a child, and tells what that cost.
 *
 *   hostile_open <LIST     lines "KIND PATH"; KIND: model state data config manifest
 * results
 *
 * For each a line of JSON: path, kind, bytes (of the file), exit (0 read, 1 refused, or
 * -signal), memory_bytes, cpu_s, message.
 */
#define _GNU_SOURCE
#include <ftw.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/file.h"
#include "core/hash.h"
#include "core/memory.h"
#include "data/dataset.h"
#include "data/fetch.h"
#include "exec/plan.h"
#include "formats/model.h"
#include "report/report.h"
#include "store/results.h"
#include "store/table.h"
#include "sweep/config.h"

enum { CHUNK = 256, SLOWEST_S = 60 };

static pq_status open_as(const char *path, const char *arch, pq_err *err)
{
    pq_graph *graph   = NULL;
    size_t    nonzero = 0;
    char      hash[PQ_HASH_TEXT];
    pq_status st;

    PQ_TRY(pq_model_load(path, arch, &graph, err));
    (void)pq_graph_parameters(graph, (pq_count_rule){true, true, true}, &nonzero);
    (void)pq_graph_macs(graph);
    (void)pq_graph_stored_bytes(graph);
    PQ_TRY(pq_graph_hash(graph, hash, err));
cleanup:
    pq_graph_free(&graph);
    return st;
}

static pq_status open_model(const char *path, pq_err *err)
{
    return open_as(path, NULL, err);
}

/* A state dict, beside an architecture. */
static pq_status open_state(const char *path, pq_err *err)
{
    return open_as(path, "resnet20", err);
}

static pq_status open_data(const char *path, pq_err *err)
{
    pq_dataset *data = NULL;
    float      *x    = NULL;
    int32_t    *y    = NULL;
    size_t      item = 0, rows;
    pq_status   st;

    PQ_TRY(pq_dataset_open(path, NULL, &data, err));
    const pq_dataset_info *info = pq_dataset_describe(data);
    PQ_CHECK(pq_shape_count(&info->sample, &item), PQ_ERR_SHAPE, "too large");
    for (size_t s = 0; s < info->n_splits; s++) {
        rows                 = info->splits[s].n < CHUNK ? info->splits[s].n : CHUNK;
        const pq_batch batch = {.x = x, .y = y};
        (void)batch;
        pq_free(x);
        pq_free(y);
        x = NULL;
        y = NULL;
        PQ_NEW(x, rows * item);
        PQ_NEW(y, rows);
        PQ_TRY(pq_dataset_read(data, s, 0, rows, &(pq_batch){.x = x, .y = y}, err));
    }
cleanup:
    pq_free(x);
    pq_free(y);
    pq_dataset_close(&data);
    return st;
}

static pq_status open_config(const char *path, pq_err *err)
{
    pq_config *config   = NULL;
    pq_text    problems = {0};
    pq_status  st       = pq_config_read(path, NULL, &config, &problems, err);

    pq_config_free(&config);
    pq_text_free(&problems);
    return st;
}

static pq_status open_manifest(const char *path, pq_err *err)
{
    pq_set    set = {0};
    pq_status st  = pq_set_read(path, &set, err);

    pq_set_free(&set);
    return st;
}

/* A folder of results: the tables and the page, without plots. */
static pq_status open_results(const char *path, pq_err *err)
{
    const pq_report_options options = {.no_plots = true};
    json_t                 *results = NULL;
    pq_report_summary       summary;
    pq_text                 text = {0};
    pq_status               st;

    PQ_TRY(pq_report_write(path, &options, &summary, err));
    PQ_TRY(pq_results_read(path, &results, NULL, err));
    PQ_TRY(pq_report_print(results, 100, true, &text, err));
cleanup:
    json_decref(results);
    pq_text_free(&text);
    return st;
}

static const struct {
    const char *name;
    pq_status (*open)(const char *path, pq_err *err);
} kinds[] = {{"model", open_model},       {"state", open_state},
             {"data", open_data},         {"config", open_config},
             {"manifest", open_manifest}, {"results", open_results}};

static void child(const char *kind, const char *path, pq_err *shared, size_t *peak)
{
    pq_err err = {0};

    (void)alarm(SLOWEST_S);
    pq_memory_peak_start();
    const size_t before = pq_memory_bytes();
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kinds[i].name, kind) == 0) {
            const pq_status st = kinds[i].open(path, &err);
            *shared            = err;
            *peak              = pq_memory_peak() - before;
            exit(st == PQ_OK ? 0 : 1); /* with the leak check of sanitizers */
        }
    }
    (void)fprintf(stderr, "unknown kind '%s'\n", kind);
    _exit(2);
}

/* Of a file, or of all files below a folder. */
static double bytes_below;

static int add_bytes(const char *path, const struct stat *s, int kind, struct FTW *at)
{
    (void)path;
    (void)at;
    bytes_below += kind == FTW_F && S_ISREG(s->st_mode) ? (double)s->st_size : 0.0;
    return 0;
}

static double bytes_of(const char *path)
{
    bytes_below = 0.0;
    (void)nftw(path, add_bytes, 16, FTW_PHYS);
    return bytes_below;
}

/* Memory that a child has which opens nothing, in kB. */
static long empty_child(void)
{
    struct rusage use = {0};
    const pid_t   pid = fork();

    if (pid == 0) {
        _exit(0);
    }
    (void)wait4(pid, NULL, 0, &use);
    return use.ru_maxrss;
}

int main(void)
{
    void *page =
        mmap(NULL, 1 << 14, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pq_err    *err  = page;
    size_t    *peak = (size_t *)(void *)((char *)page + (1 << 13));
    char       line[4200], kind[32];
    const long base = empty_child();

    if (page == MAP_FAILED) {
        return 2;
    }
    while (fgets(line, sizeof line, stdin) != NULL) {
        const size_t  n     = strcspn(line, " \n");
        char         *path  = line + n + 1;
        struct rusage use   = {0};
        int           state = 0;

        path[strcspn(path, "\n")] = '\0';
        (void)snprintf(kind, sizeof kind, "%.*s", (int)n, line);
        *err  = (pq_err){0};
        *peak = 0;
        (void)fflush(NULL);
        const pid_t pid = fork();
        if (pid == 0) {
            child(kind, path, err, peak);
        }
        (void)wait4(pid, &state, 0, &use);
        const double rss    = (double)(use.ru_maxrss - base) * 1024.0;
        json_t      *answer = json_pack(
                 "{s:s%, s:s, s:f, s:i, s:f, s:f, s:s}", "path", path, strlen(path), "kind",
                 kind, "bytes", bytes_of(path), "exit",
            WIFSIGNALED(state) ? -WTERMSIG(state) : WEXITSTATUS(state), "memory_bytes",
            rss > (double)*peak ? rss : (double)*peak, "cpu_s",
                 (double)use.ru_utime.tv_sec + 1e-6 * (double)use.ru_utime.tv_usec +
                     (double)use.ru_stime.tv_sec + 1e-6 * (double)use.ru_stime.tv_usec,
                 "message", err->message);
        char *text = json_dumps(answer, JSON_COMPACT);
        (void)printf("%s\n", text);
        (void)fflush(stdout);
        free(text);
        json_decref(answer);
    }
    return 0;
}
