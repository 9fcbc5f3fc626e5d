/*
 * The one program of all targets:
 *
 *   fuzz --target=NAME [--seeds=FOLDER] [--cpu=SECONDS] LIBFUZZER…   fuzzes; first every
 * seed has to load fuzz --target=NAME --check FILE|FOLDER…    every file has to load fuzz
 * --target=NAME --replay FILE|FOLDER…   runs every file; with --child, HDF5 is read by a
 * child process, as in the program fuzz --make=FOLDER                         writes
 * files for seeds (see seeds.py) fuzz --list                                names of the
 * targets
 *
 * An input that leaves memory behind, or takes more of it than its files are worth,
 * fails.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "core/hash.h"
#include "core/memory.h"
#include "fuzz.h"
#include "io/hdf5_inside.h"
#include "targets.h"

int    LLVMFuzzerInitialize(int *argc, char ***argv);
int    LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t n, size_t room, unsigned seed);

enum {
    FREE_BYTES       = 64 << 20,
    BYTES_FOR_A_BYTE = 64,
    SECONDS          = 10, /* and one for each megabyte; sanitizers take their time */
    SLOWER           = 3
};

static struct {
    const fuzz_target *target;
    const char        *seeds;
    double             cpu_s;
    bool               child, check, replay;
    char               folder[64]; /* on a file system in memory, where there is one */
} now;

bool           fuzz_blind_hashes;
const uint8_t *fuzz_told;
size_t         fuzz_n_told;

/* In place of core/hash.c's, where the linker is told so. */
void __real_pq_hash_end(pq_hash *h, char out[PQ_HASH_TEXT]);
void __wrap_pq_hash_end(pq_hash *h, char out[PQ_HASH_TEXT]);
void __wrap_pq_hash_end(pq_hash *h, char out[PQ_HASH_TEXT])
{
    __real_pq_hash_end(h, out);
    if (fuzz_blind_hashes) {
        memset(out, '0', PQ_HASH_TEXT - 1);
    }
}

/* In place of the child of io/hdf5_child.c. */
void __real_pq_h5_serve(const char *path, size_t file_bytes, int fd, pq_h5_room room);
void __wrap_pq_h5_serve(const char *path, size_t file_bytes, int fd, pq_h5_room room);
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));
void __wrap_pq_h5_serve(const char *path, size_t file_bytes, int fd, pq_h5_room room)
{
    if (__sanitizer_set_death_callback != NULL) {
        __sanitizer_set_death_callback(
            NULL); /* a child may fall: that is what it is for */
    }
    if (fuzz_told == NULL) {
        __real_pq_h5_serve(path, file_bytes, fd, room);
    }
    for (size_t at = 0; at < fuzz_n_told;) {
        const ssize_t n = write(fd, fuzz_told + at, fuzz_n_told - at);
        if (n <= 0) {
            break;
        }
        at += (size_t)n;
    }
    _exit(0);
}

/* No target goes to a network. */
int __wrap_curl_easy_perform(void *curl);
int __wrap_curl_easy_perform(void *curl)
{
    (void)curl;
    return 7; /* CURLE_COULDNT_CONNECT */
}

void fuzz_use_child(bool yes)
{
    pq_h5_in_this_process = !yes;
}

static double bytes_below;

static int add_bytes(const char *path, const struct stat *s, int kind, struct FTW *at)
{
    (void)path;
    (void)at;
    bytes_below += kind == FTW_F && S_ISREG(s->st_mode) ? (double)s->st_size : 0.0;
    return 0;
}

static int remove_one(const char *path, const struct stat *s, int kind, struct FTW *at)
{
    (void)s;
    (void)kind;
    (void)at;
    return remove(path);
}

static void tidy(void)
{
    (void)nftw(now.folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void make_folder(void)
{
    const char *temporary = getenv("TMPDIR");

    (void)snprintf(now.folder, sizeof now.folder, "/dev/shm/pq-fuzz-XXXXXX");
    if (mkdtemp(now.folder) == NULL) {
        (void)snprintf(now.folder, sizeof now.folder, "%s/pq-fuzz-XXXXXX",
                       temporary != NULL ? temporary : "/tmp");
        if (mkdtemp(now.folder) == NULL) {
            abort();
        }
    }
    (void)atexit(tidy);
}

static _Noreturn void fall(const char *what, double value, double allowed)
{
    (void)fprintf(stderr, "FALL: %s: %.0f, allowed %.0f\n", what, value, allowed);
    abort();
}

static double cpu_used(int who)
{
    struct rusage u;

    (void)getrusage(who, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

/* Files, read, and what that cost. */
static pq_status run(const uint8_t *bytes, size_t n, pq_err *err)
{
    char         first[512], folder[96];
    const size_t live = pq_memory_live(), had = pq_memory_bytes();
    const double start = cpu_used(RUSAGE_SELF);
    pq_status    st;

    (void)snprintf(folder, sizeof folder, "%s/in", now.folder);
    (void)mkdir(folder, 0700);
    fuzz_unfold(bytes, n, folder, first, sizeof first);
    bytes_below = 0.0;
    (void)nftw(folder, add_bytes, 16, FTW_PHYS);
    const double allowed = FREE_BYTES + BYTES_FOR_A_BYTE * bytes_below;
    pq_memory_peak_start();
    fuzz_use_child(now.child);
    st                = now.target->read(&(fuzz_input){folder, first, bytes, n}, err);
    fuzz_told         = NULL;
    fuzz_blind_hashes = false;
    if (pq_memory_live() != live) {
        fall("blocks of memory left behind", (double)(pq_memory_live() - live), 0.0);
    }
    if ((double)(pq_memory_peak() - had) > allowed) {
        fall("bytes of memory", (double)(pq_memory_peak() - had), allowed);
    }
    const double used = cpu_used(RUSAGE_SELF) - start;
    if (used > SLOWER * (SECONDS + bytes_below / (1 << 20))) {
        fall("seconds of the processor", used,
             SLOWER * (SECONDS + bytes_below / (1 << 20)));
    }
    (void)nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static size_t calls;

    (void)run(bytes, n, NULL);
    if (now.cpu_s > 0.0 && ++calls % 64 == 0 &&
        cpu_used(RUSAGE_SELF) + cpu_used(RUSAGE_CHILDREN) > now.cpu_s) {
        now.cpu_s = 0.0;
        tidy();
        (void)mkdir(now.folder, 0700);
        (void)raise(SIGUSR1); /* libFuzzer ends, with its counts */
    }
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t n, size_t room, unsigned seed)
{
    return fuzz_mutate(bytes, n, room, seed);
}

/* Of one file, or of all in a folder; those that did not load. */
static size_t run_files(const char *path, size_t *count)
{
    char **names = NULL, *bytes = NULL;
    size_t n = 0, bad = 0;
    pq_err err = {0};

    if (pq_folder_exists(path)) {
        (void)pq_folder_list(path, "", &names, &n, NULL);
        for (size_t i = 0; i < n; i++) {
            char *inner = pq_path_join(path, names[i]);
            bad += run_files(inner, count);
            pq_free(inner);
            pq_free(names[i]);
        }
        pq_free(names);
        return bad;
    }
    if (pq_file_read(path, SIZE_MAX - 1, &bytes, &n, &err) == PQ_OK) {
        uint8_t *copy = malloc(n + 1); /* ours would count as left behind */
        memcpy(copy, bytes, n);
        pq_free(bytes);
        if (run(copy, n, &err) == PQ_OK) {
            err.code = PQ_OK;
        }
        free(copy);
    }
    (*count)++;
    if (err.code != PQ_OK && !now.replay) {
        (void)fprintf(stderr, "%s: %s does not load: %s\n", now.target->name, path,
                      err.message);
        return 1;
    }
    return 0;
}

static void list(void)
{
    for (const fuzz_target *t = fuzz_targets; t->name != NULL; t++) {
        (void)printf("%-12s %s\n", t->name, t->about);
    }
    exit(0);
}

static void make_files(const char *folder)
{
    pq_err err = {0};

    pq_h5_in_this_process = true;
    if (fuzz_make_files(folder, &err) != PQ_OK) {
        (void)fprintf(stderr, "%s: %s\n", folder, err.message);
        exit(1);
    }
    exit(0);
}

static void take(const char *arg)
{
    if (strcmp(arg, "--list") == 0) {
        list();
    } else if (strncmp(arg, "--make=", 7) == 0) {
        make_files(arg + 7);
    } else if (strncmp(arg, "--target=", 9) == 0) {
        now.target = fuzz_targets;
        while (now.target->name != NULL && strcmp(now.target->name, arg + 9) != 0) {
            now.target++;
        }
    } else if (strncmp(arg, "--seeds=", 8) == 0) {
        now.seeds = arg + 8;
    } else if (strncmp(arg, "--cpu=", 6) == 0) {
        now.cpu_s = strtod(arg + 6, NULL);
    } else if (strcmp(arg, "--child") == 0) {
        now.child = true;
    } else if (strcmp(arg, "--check") == 0) {
        now.check = true;
    } else if (strcmp(arg, "--replay") == 0) {
        now.replay = true;
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    size_t bad = 0, count = 0;

    for (int i = 1; i < *argc; i++) {
        take((*argv)[i]);
    }
    if (now.target == NULL || now.target->name == NULL) {
        (void)fprintf(stderr, "fuzz --target=NAME; the names: fuzz --list\n");
        exit(2);
    }
    make_folder();
    for (int i = 1; (now.check || now.replay) && i < *argc; i++) {
        bad += (*argv)[i][0] != '-' ? run_files((*argv)[i], &count) : 0;
    }
    if (now.seeds != NULL) {
        bad += run_files(now.seeds, &count);
    }
    if (now.check || now.replay || bad > 0 || (now.seeds != NULL && count == 0)) {
        (void)printf("%s: %zu files, %zu do not load\n", now.target->name, count, bad);
        exit(bad > 0 || count == 0 ? 1 : 0);
    }
    return 0;
}
