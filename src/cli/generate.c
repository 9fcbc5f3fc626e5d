/* pquant data generate: runs the jet generator in a Python environment of its own. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/verb.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/memory.h"
#include "core/threads.h"

static const pq_option options[] = {
    {"events", 0, "N", false, NULL, "jets to make, all splits together"},
    {"seed", 0, "N", false, "1", "same seed, same file"},
    {"jobs", 'j', "N", false, "0", "processes, 0 = all cores; does not change the file"},
    {"radius", 0, "R", false, "0.4", "anti-kT jet radius"},
    {"output", 'o', "OUT.h5", false, NULL,
     "file to write; default <SAMPLE>.h5 in the current folder"},
    {0},
};

/* The program that runs, for the handler; 0 = none. */
static volatile pid_t running;

static void pass_on(int signal)
{
    if (running > 0) {
        (void)kill(running, signal);
    }
}

/* Hands SIGINT and SIGTERM on to the program that runs, or gives them back. */
static void handle_signals(bool passing, struct sigaction before[2])
{
    static const int signals[] = {SIGINT, SIGTERM};
    struct sigaction action    = {.sa_handler = pass_on};

    for (int i = 0; i < 2; i++) {
        (void)sigaction(signals[i], passing ? &action : &before[i],
                        passing ? &before[i] : NULL);
    }
}

/* Runs a program and waits; its exit code, 130 when it was interrupted or terminated, or
 * -1 when it could not be started or was killed. It ends when we do, however we do. */
static int run_program(const char *const *argv, bool quiet)
{
    const pid_t      parent = getpid();
    struct sigaction before[2];
    int              state = 0, got;
    pid_t            child;

    handle_signals(true, before);
    child = fork();
    if (child == 0) {
        handle_signals(false, before);
        (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent) {
            _exit(126);
        }
        if (quiet && freopen("/dev/null", "w", stdout) == NULL) {
            _exit(126);
        }
        (void)execvp(argv[0], (char *const *)argv);
        _exit(127);
    }
    running = child;
    do {
        got = child > 0 ? waitpid(child, &state, 0) : -1;
    } while (child > 0 && got < 0 && errno == EINTR);
    running = 0;
    handle_signals(false, before);
    if (got > 0 && WIFSIGNALED(state) &&
        (WTERMSIG(state) == SIGINT || WTERMSIG(state) == SIGTERM)) {
        return 130;
    }
    return got > 0 && WIFEXITED(state) ? WEXITSTATUS(state) : -1;
}

/* Folder of the environment: one for each content of requirements.txt. */
static pq_status environment_folder(const char *requirements, char **out, pq_err *err)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char        hash[PQ_HASH_TEXT];
    pq_status   st;

    PQ_TRY(pq_hash_file(requirements, hash, err));
    /* never a place that others can write to: what lies there runs */
    PQ_CHECK((cache != NULL && cache[0] == '/') || (home != NULL && home[0] == '/'),
             PQ_ERR_CONFIG,
             "neither XDG_CACHE_HOME nor HOME says where the generator's Python "
             "environment lies");
    *out = cache != NULL && cache[0] == '/'
               ? pq_format("%s/pquant/generate-%.12s", cache, hash)
               : pq_format("%s/.cache/pquant/generate-%.12s", home, hash);
    PQ_CHECK(*out != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
cleanup:
    return st;
}

/* Makes the environment unless it is there; the stamp is written last. */
static pq_status prepare(const char *generator, char **python, pq_err *err)
{
    char     *requirements = pq_path_join(generator, "requirements.txt");
    char     *folder = NULL, *stamp = NULL;
    pq_status st;

    PQ_CHECK(requirements != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_TRY(environment_folder(requirements, &folder, err));
    *python = pq_path_join(folder, "bin/python3");
    stamp   = pq_path_join(folder, "complete");
    PQ_CHECK(*python != NULL && stamp != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    if (!pq_file_exists(stamp)) {
        pq_say(stderr, "installing Pythia and FastJet into %s (once)\n", folder);
        /* -I: no module of the current folder is taken for venv or pip */
        PQ_CHECK(
            run_program((const char *[]){"python3", "-I", "-m", "venv", folder, NULL},
                        false) == 0,
            PQ_ERR_IO, "python3 -m venv %s failed; is python3-venv installed?", folder);
        PQ_CHECK(
            run_program((const char *[]){*python, "-I", "-m", "pip", "install", "--quiet",
                                         "--disable-pip-version-check",
                                         "--only-binary=:all:", "-r", requirements, NULL},
                        false) == 0,
            PQ_ERR_IO, "pip could not install %s; is there network?", requirements);
        PQ_TRY(pq_file_write(stamp, "", 0, err));
    }
cleanup:
    pq_free(requirements);
    pq_free(folder);
    pq_free(stamp);
    return st;
}

static pq_status run(const pq_args *args, int *exit_code, pq_err *err)
{
    char       *generator = NULL, *python = NULL, *script = NULL, *out = NULL;
    const char *sample = pq_args_get(args, 0), *given = pq_args_value(args, "output");
    char        jobs_text[24];
    size_t      events, seed, jobs;
    int         code;
    pq_status   st;

    PQ_CHECK(strcmp(sample, "jets-hlf") == 0 || strcmp(sample, "jets-btag") == 0,
             PQ_ERR_CONFIG, "data generate: '%s' is not one of jets-hlf, jets-btag",
             sample);
    PQ_TRY(pq_args_size(args, "events", 1, 100000000, &events, err));
    PQ_TRY(pq_args_size(args, "seed", 0, 900000000, &seed, err));
    PQ_TRY(pq_args_size(args, "jobs", 0, 1024, &jobs, err));
    (void)snprintf(jobs_text, sizeof jobs_text, "%zu",
                   jobs > 0 ? jobs : pq_threads_available());
    PQ_TRY(pq_folder_shipped("datasets/generate", "generate", &generator, err));
    PQ_TRY(prepare(generator, &python, err));
    script = pq_path_join(generator, "generate.py");
    out    = given != NULL ? pq_strdup(given) : pq_format("%s.h5", sample);
    PQ_CHECK(script != NULL && out != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    code = run_program((const char *[]){python, script, sample, "--events",
                                        pq_args_value(args, "events"), "--seed",
                                        pq_args_value(args, "seed"), "--jobs", jobs_text,
                                        "--radius", pq_args_value(args, "radius"), "-o",
                                        out, NULL},
                       pq_args_flag(args, "quiet"));
    if (code != 0) {
        *exit_code = code == 2 || code == 130 ? code : PQ_EXIT_AGAIN;
        PQ_FAIL(PQ_ERR_IO,
                "the generator stopped (exit code %d); chunks that are done are kept",
                code);
    }
cleanup:
    pq_free(generator);
    pq_free(python);
    pq_free(script);
    pq_free(out);
    return st;
}

const pq_verb pq_verb_data_generate = {
    .name = "data generate",
    .summary =
        "make jets with Pythia 8 and FastJet: jets-hlf (five classes) or jets-btag",
    .arguments = "jets-hlf|jets-btag --events N",
    .min_args  = 1,
    .max_args  = 1,
    .options   = options,
    .example   = "pquant data generate jets-hlf --events 100000 --seed 7 -o jets.h5",
    .run       = run,
};
