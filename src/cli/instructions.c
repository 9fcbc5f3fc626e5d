#define _GNU_SOURCE
#include "cli/instructions.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/file.h"
#include "core/memory.h"
#include "core/temporary.h"
#include "core/text.h"

enum { ARGUMENTS = 24, OUTPUT_BYTES_MAX = 1 << 26, SAID_BYTES = 400, NOT_STARTED = 127 };

/* What glibc would choose by processor: string functions and libm of the baseline, and
 * limits of copies that it takes from the sizes of caches. */
static const char tunables[] =
    "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX2,-AVX,-FMA,-FMA4,-BMI2,-LZCNT,"
    "-MOVBE,-RTM,-ERMS,-FSRM,-SSE4_2,-SSE4_1,-SSSE3,-AVX_Fast_Unaligned_Load:"
    "glibc.cpu.x86_data_cache_size=32768:glibc.cpu.x86_shared_cache_size=1048576:"
    "glibc.cpu.x86_non_temporal_threshold=786432";

/* Files of one run of valgrind. Owned. */
typedef struct {
    char *folder, *counts, *said;
} files;

static pq_status open_files(files *f, pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_folder_temporary(&f->folder, err));
    f->counts = pq_format("%s/counts", f->folder);
    f->said   = pq_format("%s/said", f->folder);
    PQ_CHECK(f->counts != NULL && f->said != NULL, PQ_ERR_NOMEM,
             "cannot allocate a path");
cleanup:
    return st;
}

static void close_files(files *f)
{
    pq_folder_drop(&f->folder);
    pq_free(f->counts);
    pq_free(f->said);
}

/* The child: becomes valgrind. */
_Noreturn static void become(const char *const *arguments, const char *said)
{
    const char *set      = getenv("PQUANT_ISA");
    const bool  portable = set != NULL && strcmp(set, "portable") == 0;
    const int   file     = open(said, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);

    (void)setenv("PQUANT_ISA", portable ? "portable" : "avx2", 1);
    (void)setenv("OPENBLAS_CORETYPE", portable ? "Prescott" : "Haswell", 1);
    (void)setenv("GLIBC_TUNABLES", tunables, 1);
    (void)dup2(file, STDOUT_FILENO);
    (void)dup2(file, STDERR_FILENO);
    (void)execvp(arguments[0], (char *const *)arguments);
    _exit(NOT_STARTED);
}

/* The line that tells why: of the run itself, else the first that is no note of valgrind,
 * which begin with a number of a process. */
static const char *reason(const char *said)
{
    static const char mark[] = "pquant: error: ";
    const char       *at     = strstr(said, mark);

    if (at != NULL) {
        return at + sizeof mark - 1;
    }
    for (at = said; strncmp(at, "--", 2) == 0 || strncmp(at, "==", 2) == 0;) {
        at += strcspn(at, "\n");
        at += *at == '\n' ? 1 : 0;
    }
    return *at != '\0' ? at : said;
}

/* Waits for it, and reads what it counted. */
static pq_status read_count(pid_t child, const files *f, double *out, pq_err *err)
{
    char       *said = NULL, *counts = NULL;
    const char *at, *why;
    size_t      n      = 0;
    int         status = 0;
    pq_status   st;

    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    PQ_CHECK(
        !WIFEXITED(status) || WEXITSTATUS(status) != NOT_STARTED, PQ_ERR_UNSUPPORTED,
        "valgrind, which counts instructions, is not installed (apt install valgrind)");
    PQ_TRY(pq_file_read(f->said, OUTPUT_BYTES_MAX, &said, &n, err));
    why = reason(said);
    PQ_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, PQ_ERR_IO,
             "counting instructions failed under valgrind: %.*s",
             (int)(strcspn(why, "\n") < SAID_BYTES ? strcspn(why, "\n") : SAID_BYTES),
             why);
    PQ_TRY(pq_file_read(f->counts, OUTPUT_BYTES_MAX, &counts, &n, err));
    at = strstr(counts, "\nsummary: ");
    PQ_CHECK(at != NULL && sscanf(at, " summary: %lf", out) == 1, PQ_ERR_FORMAT,
             "valgrind gave no count of instructions");
cleanup:
    pq_free(said);
    pq_free(counts);
    return st;
}

/* All instructions of a run of so many calls. */
static pq_status count_run(const pq_counted *w, size_t calls, double *out, pq_err *err)
{
    files       f      = {0};
    char       *counts = NULL, batch[24], number[24];
    char        self[4096];
    const char *arguments[ARGUMENTS];
    size_t      n      = 0;
    ssize_t     length = readlink("/proc/self/exe", self, sizeof self - 1);
    pid_t       child;
    pq_status   st;

    PQ_CHECK(length > 0, PQ_ERR_IO, "this program cannot be found again: %s",
             strerror(errno));
    self[length] = '\0';
    PQ_TRY(open_files(&f, err));
    counts = pq_format("--cachegrind-out-file=%s", f.counts);
    PQ_CHECK(counts != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    (void)snprintf(batch, sizeof batch, "%zu", w->batch);
    (void)snprintf(number, sizeof number, "%zu", calls);
    const char *const fixed[] = {"valgrind",
                                 "--tool=cachegrind",
                                 "--cache-sim=no",
                                 "--quiet",
                                 counts,
                                 self,
                                 "latency",
                                 "--engine",
                                 w->engine,
                                 "--batch",
                                 batch,
                                 "--calls",
                                 number,
                                 w->logits ? "--logits" : "--quiet"};
    for (; n < sizeof fixed / sizeof *fixed; n++) {
        arguments[n] = fixed[n];
    }
    if (w->arch != NULL) {
        arguments[n++] = "--arch";
        arguments[n++] = w->arch;
    }
    if (w->output != NULL) {
        arguments[n++] = "--output-layer";
        arguments[n++] = w->output;
    }
    arguments[n++] = "--"; /* whatever the model's name begins with */
    arguments[n++] = w->model;
    arguments[n]   = NULL;
    child          = fork();
    PQ_CHECK(child >= 0, PQ_ERR_IO, "valgrind cannot be started: %s", strerror(errno));
    if (child == 0) {
        become(arguments, f.said);
    }
    PQ_TRY(read_count(child, &f, out, err));
cleanup:
    close_files(&f);
    pq_free(counts);
    return st;
}

pq_status pq_count_instructions(const pq_counted *what, double *out, pq_err *err)
{
    double    few = 0.0, many = 0.0;
    pq_status st;

    if (strcmp(what->engine, "generated") == 0) { /* it is compiled in the first run */
        PQ_TRY(count_run(what, what->calls, &few, err));
    }
    /* numbers of as many digits, so that the two differ in their calls alone */
    PQ_TRY(count_run(what, what->calls, &few, err));
    PQ_TRY(count_run(what, 2 * what->calls, &many, err));
    *out = (many - few) / (double)what->calls;
cleanup:
    return st;
}
