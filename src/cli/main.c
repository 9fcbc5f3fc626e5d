/* pquant: finds the verb, runs it, and turns what happened into text and an exit code. */
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/verb.h"
#include "core/memory.h"
#include "core/visible.h"
#include "kernels/cpu.h"
#include "linalg/gemm.h"
#include "sweep/timing_process.h"

#ifndef PQ_VERSION
#error "PQ_VERSION comes from the build"
#endif

#define X(word) extern const pq_verb pq_verb_##word;
#include "cli/verbs.def"
#undef X

#define X(word) &pq_verb_##word,
const pq_verb *const pq_verbs[] = {
#include "cli/verbs.def"
    NULL};
#undef X

/* A standard stream that the caller closed would be the next file that is opened, and
 * what is printed would go into that: it gets one that reads nothing and that nothing is
 * written to, which is told. */
static void hold_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0) {
            (void)open("/dev/null", O_RDONLY);
        }
    }
}

/* OpenBLAS chooses its kernels when it is loaded; older ones take new processors for
 * ancient ones. The choice can only be mended from outside: set it, start again once.
 * A choice from outside stays, unless PQUANT_ISA speaks against it. */
static void mend_blas(char **argv)
{
    const char *wanted = pq_blas_wanted_coretype(), *given = getenv("OPENBLAS_CORETYPE");

    if (wanted == NULL || (given != NULL && !pq_cpu_is_capped()) ||
        (given != NULL && strcmp(given, wanted) == 0)) {
        return;
    }
    if (setenv("OPENBLAS_CORETYPE", wanted, 1) == 0) {
        (void)execv("/proc/self/exe", argv);
    }
}

/* The verb with the longest name at the front of the arguments; *used words belong to it.
 */
static const pq_verb *find_verb(int argc, char *const *argv, int *used)
{
    char two[128];

    if (argc >= 2) {
        (void)snprintf(two, sizeof two, "%s %s", argv[0], argv[1]);
        for (size_t i = 0; pq_verbs[i] != NULL; i++) {
            if (strcmp(pq_verbs[i]->name, two) == 0) {
                *used = 2;
                return pq_verbs[i];
            }
        }
    }
    for (size_t i = 0; argc >= 1 && pq_verbs[i] != NULL; i++) {
        if (strcmp(pq_verbs[i]->name, argv[0]) == 0) {
            *used = 1;
            return pq_verbs[i];
        }
    }
    return NULL;
}

/* A first word alone, such as "data": its verbs, as an answer or as a reproach. */
static int list_group(int argc, char *const *argv)
{
    const bool asked =
        argc > 2 && (strcmp(argv[2], "--help") == 0 || strcmp(argv[2], "-h") == 0);

    (void)pq_help_group(argv[1], asked ? stdout : stderr);
    return asked ? PQ_EXIT_OK : PQ_EXIT_USAGE;
}

static int unknown_verb(int argc, char *const *argv)
{
    const bool  group = pq_help_group(argv[1], NULL);
    char        word[128];
    const char *names[64];
    const char *near;
    size_t      n = 0;

    if (group && (argc == 2 || argv[2][0] == '-')) {
        return list_group(argc, argv);
    }
    (void)snprintf(word, sizeof word, "%s%s%s", argv[1], group ? " " : "",
                   group ? argv[2] : "");
    while (pq_verbs[n] != NULL && n < 64) {
        names[n] = pq_verbs[n]->name;
        n++;
    }
    near = pq_nearest(word, names, n);
    pq_say(stderr, "pquant: error: unknown verb '%s'%s%s%s\n", word,
           near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
           near != NULL ? "'?" : "");
    pq_say(stderr, "hint: 'pquant help' lists the verbs\n");
    return PQ_EXIT_USAGE;
}

static void print_failure(int argc, char *const *argv, int code, const pq_err *err)
{
    pq_text again = {0};

    pq_progress_done();
    if (err->code != PQ_OK) {
        pq_say(stderr, "pquant: error: %s\n", err->message);
    }
    if (err->hint[0] != '\0') {
        pq_say(stderr, "hint: %s\n", err->hint);
    }
    if (code == PQ_EXIT_USAGE) {
        return;
    }
    for (int i = 1; i < argc; i++) {
        pq_text_add(&again, " ");
        pq_shell_add(&again, argv[i]);
    }
    pq_say(stderr, "again: pquant%s\n", again.text != NULL ? again.text : "");
    pq_text_free(&again);
}

static int run_verb(const pq_verb *verb, int argc, char *const *argv, int used)
{
    pq_args  *args = NULL;
    pq_err    err  = {0};
    int       code = PQ_EXIT_OK;
    pq_status st   = pq_args_parse(verb, argc - 1 - used, argv + 1 + used, &args, &err);

    if (st == PQ_OK && pq_args_flag(args, "help")) {
        pq_help_verb(verb, stdout);
    } else if (st == PQ_OK) {
        st = verb->run(args, &code, &err);
    }
    if (st != PQ_OK && code == PQ_EXIT_OK) {
        code = pq_status_exit_code(st);
    }
    if (fflush(stdout) != 0 && code == PQ_EXIT_OK) {
        code = PQ_EXIT_AGAIN;
        (void)pq_err_set(&err, PQ_ERR_IO, __FILE__, __LINE__,
                         "standard output cannot be written");
    }
    if (code != PQ_EXIT_OK) {
        print_failure(argc, argv, code, &err);
    }
    pq_args_free(&args);
    return code;
}

enum { LARGE_BLOCK_BYTES = 2 << 20 };

int main(int argc, char **argv)
{
    const pq_verb *verb;
    pq_err         err  = {0};
    int            used = 0;

    hold_streams();
    if (pq_cpu_check_cap(&err) != PQ_OK) {
        print_failure(argc, argv, PQ_EXIT_USAGE, &err);
        return PQ_EXIT_USAGE;
    }
    /* Large blocks go back to the system when they are freed: in the heap each would
     * leave a hole that the next of its size, which is aligned, does not fit. */
    (void)mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES);
    /* A table of many records that is freed makes free blocks larger at each step, at
     * which all small ones that wait apart would be gone through again. */
    (void)mallopt(M_MXFAST, 0);
    mend_blas(argv);
    pq_blas_alone(); /* before any fork: the child of a process with threads starts them
                        anew */
    if (argc > 1 && strcmp(argv[1], pq_timing_word) == 0) {
        return pq_timing_process_main(argc - 2, argv + 2);
    }
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        pq_help_program(argc < 2 ? stderr : stdout);
        return argc < 2 ? PQ_EXIT_USAGE : PQ_EXIT_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        pq_say(stdout, "pquant %s\n", PQ_VERSION);
        return PQ_EXIT_OK;
    }
    verb = find_verb(argc - 1, argv + 1, &used);
    return verb != NULL ? run_verb(verb, argc, argv, used) : unknown_verb(argc, argv);
}
