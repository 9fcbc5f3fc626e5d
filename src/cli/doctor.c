/* pquant doctor: what this machine and this build can do, and what stands in the way. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <curl/curlver.h>
#include <hdf5.h>
#include <jansson.h>
#include <nettle/version.h>
#include <sqlite3.h>

#include "cli/doctor_host.h"
#include "cli/verb.h"
#include "core/clock.h"
#include "core/file.h"
#include "core/memory.h"
#include "core/threads.h"
#include "exec/onednn.h"
#include "kernels/bf16.h"

static const pq_option options[] = {
    {"format", 0, "table|json", false, "table", "how to print"},
    {0},
};

/* Whether a program is on PATH. */
static bool have_program(const char *name)
{
    char *path  = pq_strdup(getenv("PATH"));
    char *rest  = path, *folder;
    bool  found = false;

    while (!found && (folder = strsep(&rest, ":")) != NULL) {
        char *file = pq_path_join(folder, name);
        found      = file != NULL && access(file, X_OK) == 0;
        pq_free(file);
    }
    pq_free(path);
    return found;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Time of the same loop again and again: the relative distance between the quartiles says
 * how quiet the machine is. */
static double timing_spread(void)
{
    enum { RUNS = 41, STEPS = 300000 };
    double          times[RUNS];
    volatile double sink = 1.0;

    for (size_t r = 0; r < RUNS; r++) {
        const double start = pq_clock_wall_s();
        double       x     = sink;
        for (int i = 0; i < STEPS; i++) {
            x = x * 0.999999 + 1e-6;
        }
        sink     = x;
        times[r] = pq_clock_wall_s() - start;
    }
    qsort(times, RUNS, sizeof *times, by_value);
    return (times[3 * RUNS / 4] - times[RUNS / 4]) / times[RUNS / 2];
}

static json_t *gather(void)
{
    struct utsname host = {0};
    char           cpu[64], features[256], hdf5[32];
    unsigned       a = 0, b = 0, c = 0;
    const char    *wanted = pq_blas_wanted_coretype(),
               *coretype  = getenv("OPENBLAS_CORETYPE");
    json_t *engines       = json_array();

    (void)uname(&host);
    (void)H5get_libversion(&a, &b, &c);
    (void)snprintf(hdf5, sizeof hdf5, "%u.%u.%u", a, b, c);
    for (size_t i = 0; pq_engine_names[i] != NULL; i++) {
        (void)json_array_append_new(engines, json_string(pq_engine_names[i]));
    }
    return json_pack(
        "{s:s, s:s, s:s, s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:s, s:s, "
        "s:s, s:s, s:b, s:b, s:f}",
        "pquant", PQ_VERSION, "system", host.release, "cpu", pq_cpu_name(cpu, sizeof cpu),
        "cores", (json_int_t)pq_threads_available(), "isa", pq_isa_name(pq_cpu_isa()),
        "isa_of_cpu", pq_isa_name(pq_cpu_isa_whole()), "pquant_isa",
        pq_cpu_is_capped() ? pq_isa_name(pq_cpu_isa()) : "", "cpu_features",
        pq_cpu_features(features, sizeof features), "openblas_core", pq_blas_coretype(),
        "openblas_coretype",
        wanted != NULL     ? wanted
        : coretype != NULL ? coretype
                           : "",
        "onednn_isa", pq_onednn_isa(), "bf16",
        pq_bf16_find() != NULL ? pq_bf16_find()->name : "", "engines", engines, "hdf5",
        hdf5, "jansson", JANSSON_VERSION, "sqlite", sqlite3_libversion(), "curl",
        LIBCURL_VERSION, "gnuplot", have_program("gnuplot"), "c_compiler",
        have_program("cc"), "timing_spread", timing_spread());
}

/* What stands in the way of many processes in one folder, and of steady times. */
static void advise_host(const json_t *facts)
{
    if (json_is_false(json_object_get(facts, "folder_locks"))) {
        pq_say(stdout,
               "advice: no locks on this file system: let one run at a time end, or "
               "make the tables with --collect\n");
    }
    if (json_is_false(json_object_get(facts, "folder_links"))) {
        pq_say(stdout,
               "advice: no symbolic links on this file system: workers that share "
               "the folder compute cells twice; use --shard\n");
    }
    if (strcmp(json_string_value(json_object_get(facts, "governor")), "powersave") == 0) {
        pq_say(stdout,
               "advice: the clock of the processor is saved (governor powersave): "
               "times depend on the load\n");
    }
}

static void advise(const json_t *facts)
{
    const char  *wanted = pq_blas_wanted_coretype();
    const double spread = json_real_value(json_object_get(facts, "timing_spread"));

    if (pq_cpu_isa() < pq_cpu_isa_whole()) {
        pq_say(stdout,
               "advice: PQUANT_ISA caps the kernels at %s, this processor has %s\n",
               pq_isa_name(pq_cpu_isa()), pq_isa_name(pq_cpu_isa_whole()));
    }
    if (wanted != NULL) {
        pq_say(stdout,
               "advice: OpenBLAS took this processor for %s; pquant restarts itself with "
               "OPENBLAS_CORETYPE=%s\n",
               pq_blas_coretype(), wanted);
    }
    if (!json_is_true(json_object_get(facts, "gnuplot"))) {
        pq_say(stdout,
               "advice: gnuplot is missing, so reports have no plots (apt install "
               "gnuplot-nox)\n");
    }
    advise_host(facts);
    if (spread > 0.05) {
        pq_say(stdout,
               "advice: equal work took times %.0f %% apart (middle half); "
               "latencies will be "
               "noisy until the machine is quieter\n",
               100.0 * spread);
    }
}

static pq_status run(const pq_args *args, int *exit_code, pq_err *err)
{
    const char *format, *key;
    json_t     *facts = NULL, *value;
    pq_status   st;

    (void)exit_code;
    PQ_TRY(pq_args_format(args, "table json", &format, err));
    facts = gather();
    PQ_CHECK(facts != NULL, PQ_ERR_NOMEM, "cannot gather the facts");
    pq_doctor_host(facts);
    if (pq_args_count(args) > 0) {
        PQ_TRY(pq_doctor_folder(pq_args_get(args, 0), facts, err));
    }
    if (strcmp(format, "json") == 0) {
        (void)pq_say_json(facts);
    } else {
        json_object_foreach(facts, key, value)
        {
            char *text =
                json_is_string(value)
                    ? NULL
                    : json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(3));
            pq_say(stdout, "%-18s %s\n", key,
                   text != NULL ? text : json_string_value(value));
            free(text);
        }
        advise(facts);
    }
cleanup:
    json_decref(facts);
    return st;
}

const pq_verb pq_verb_doctor = {
    .name = "doctor",
    .summary =
        "what this machine and build can do: CPU, BLAS kernels, libraries, timing noise; "
        "and whether a folder of results has locks and links",
    .arguments = "[DIR]",
    .max_args  = 1,
    .options   = options,
    .example   = "pquant doctor /eos/user/m/me/results",
    .run       = run,
};
