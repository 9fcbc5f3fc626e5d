/*
 * Opens files as the program does, each in a child, and tells what that cost.
 *
 *   hostile_open <LIST     lines "KIND PATH"; KIND: model state weights arch data config
 * training manifest archive cache checkpoint curves hashes results onnx layers pair
 *
 * A cache entry, a checkpoint or a graph of ONNX that is not there is made.
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

#include "compress/cache.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/memory.h"
#include "data/dataset.h"
#include "data/fetch.h"
#include "data/untar.h"
#include "exec/plan.h"
#include "formats/model.h"
#include "formats/zoo.h"
#include "report/report.h"
#include "store/results.h"
#include "store/table.h"
#include "sweep/config.h"
#include "sweep/inputs.h"
#include "sweep/train_config.h"
#include "train/train.h"

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

/* A graph of ONNX with convolutions, sums and pools. */
static pq_status open_onnx(const char *path, pq_err *err)
{
    pq_graph *graph = NULL;
    size_t    i     = 0;
    pq_status st;

    if (access(path, F_OK) == 0) {
        return open_model(path, err);
    }
    while (strcmp(pq_formats[i]->name, "onnx") != 0) {
        i++;
    }
    PQ_TRY(pq_zoo_build("resnet8", 1, &graph, err));
    PQ_TRY(pq_formats[i]->save(graph, path, err));
cleanup:
    pq_graph_free(&graph);
    return st;
}

/* Weights and architecture in a folder. */
static pq_status open_both(const char *path, const char *weights, const char *arch,
                           pq_err *err)
{
    char first[512], second[512];

    (void)snprintf(first, sizeof first, "%s/%s", path, weights);
    (void)snprintf(second, sizeof second, "%s/%s", path, arch);
    return open_as(first, second, err);
}

/* A folder of arrays and the YAML of their layers. */
static pq_status open_layers(const char *path, pq_err *err)
{
    return open_both(path, "net.npz", "net.yaml", err);
}

/* A folder of weights of Keras and their architecture. */
static pq_status open_pair(const char *path, pq_err *err)
{
    return open_both(path, "a.h5", "b.json", err);
}

/* A state dict, beside an architecture. */
static pq_status open_state(const char *path, pq_err *err)
{
    return open_as(path, "jsc-mlp", err);
}

/* Weights of Keras beside an architecture, and the other way round. */
#define JETS PQ_TEST_SOURCE_ROOT "/datasets/models/jsc-mlp"

static pq_status open_weights(const char *path, pq_err *err)
{
    return open_as(path, JETS ".json", err);
}

static pq_status open_arch(const char *path, pq_err *err)
{
    return open_as(JETS ".weights.h5", path, err);
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

static int remove_one(const char *path, const struct stat *info, int kind,
                      struct FTW *where)
{
    (void)info;
    (void)kind;
    (void)where;
    return remove(path);
}

static pq_status open_training(const char *path, pq_err *err)
{
    pq_train_config *config   = NULL;
    pq_text          problems = {0};
    pq_status        st = pq_train_config_read(path, NULL, NULL, &config, &problems, err);

    pq_train_config_free(&config);
    pq_text_free(&problems);
    return st;
}

/* Unpacked into a folder beside it, which is removed. */
static pq_status open_archive(const char *path, pq_err *err)
{
    char     *folder = pq_format("%s.unpacked", path);
    pq_status st     = pq_folder_make(folder, err);

    st = st == PQ_OK ? pq_untar(path, folder, err) : st;
    (void)nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    pq_free(folder);
    return st;
}

/* The factors of an SVD, 6 x 3 of any rank: what svd.c asks for. */
static pq_status open_cache(const char *path, pq_err *err)
{
    const pq_shape due[]  = {PQ_SHAPE(6, 0), PQ_SHAPE(0), PQ_SHAPE(0, 3)};
    pq_tensor     *got[3] = {0};
    char          *folder = pq_format("%.*s", (int)(strrchr(path, '/') - path), path);
    char          *key    = pq_format("%.*s", (int)strcspn(strrchr(path, '/') + 1, "."),
                                      strrchr(path, '/') + 1);
    pq_cache      *cache  = NULL;
    pq_status      st;

    PQ_TRY(pq_cache_open(folder, &cache, err));
    if (!pq_file_exists(path)) {
        PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(6, 2), &got[0], err));
        PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(2), &got[1], err));
        PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(2, 3), &got[2], err));
        pq_cache_put(cache, key, 3, got);
    } else {
        PQ_CHECK(pq_cache_get(cache, key, 3, due, got), PQ_ERR_FORMAT, "is not taken");
    }
cleanup:
    for (size_t i = 0; i < 3; i++) {
        pq_tensor_free(&got[i]);
    }
    pq_cache_close(&cache);
    pq_free(folder);
    pq_free(key);
    return st;
}

/* A training of three epochs, which goes on from the checkpoint; events lie beside it. */
static pq_status open_checkpoint(const char *path, pq_err *err)
{
    static const char *const classes[] = {"g", "q", "w", "z", "t"};
    char                    *events    = pq_format("%s.events.csv", path);
    pq_graph                *graph     = NULL;
    pq_dataset              *data      = NULL;
    pq_train_params          params    = {0};
    pq_train_summary         summary   = {0};
    pq_train_options         options   = {.threads = 1, .checkpoint = path};
    pq_text                  text      = {0};
    pq_status                st;

    if (!pq_file_exists(events)) {
        for (int i = -1; i < 40; i++) {
            for (int k = 0; k < 16; k++) {
                pq_text_add(&text, i < 0 ? "f%d," : "%d,",
                            i < 0 ? k : (i + 1) * (k + 3) % 11);
            }
            pq_text_add(&text, "%s\n", i < 0 ? "class" : classes[i % 5]);
        }
        PQ_TRY(pq_file_write(events, text.text, text.length, err));
    }
    PQ_TRY(pq_zoo_build("jsc-mlp", 1, &graph, err));
    PQ_TRY(pq_dataset_open(events, NULL, &data, err));
    PQ_TRY(pq_params_default(pq_train_param_table, &params, err));
    params.epochs = 3;
    PQ_TRY(pq_train(graph, &(pq_train_data){.dataset = data, .validation = SIZE_MAX},
                    &params, &options, &summary, err));
cleanup:
    pq_text_free(&text);
    pq_free(events);
    pq_graph_free(&graph);
    pq_dataset_close(&data);
    pq_params_free(pq_train_param_table, &params);
    pq_train_summary_free(&summary);
    return st;
}

/* What a results folder remembers of its inputs; damaged, it is an empty memo. */
static pq_status open_hashes(const char *path, pq_err *err)
{
    pq_hash_memo memo = {0};
    pq_status    st   = pq_hash_memo_open(path, &memo, err);

    (void)pq_hash_memo_get(&memo, "ab");
    pq_hash_memo_close(&memo);
    return st;
}

static pq_status report_on(const char *path, bool plots, pq_err *err);

/* The page with plots, which read the curves; gnuplot is not found, so none is drawn. */
static pq_status open_curves(const char *path, pq_err *err)
{
    (void)setenv("PATH", "/none", 1);
    return report_on(path, true, err);
}

/* A folder of results: the tables and the page, without plots. */
static pq_status open_results(const char *path, pq_err *err)
{
    return report_on(path, false, err);
}

static pq_status report_on(const char *path, bool plots, pq_err *err)
{
    const pq_report_options options = {.no_plots = !plots};
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
             {"weights", open_weights},   {"arch", open_arch},
             {"data", open_data},         {"config", open_config},
             {"manifest", open_manifest}, {"results", open_results},
             {"training", open_training}, {"archive", open_archive},
             {"cache", open_cache},       {"checkpoint", open_checkpoint},
             {"hashes", open_hashes},     {"curves", open_curves},
             {"onnx", open_onnx},         {"layers", open_layers},
             {"pair", open_pair}};

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
