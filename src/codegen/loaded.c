#include "codegen/loaded.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "codegen/codegen.h"
#include "core/file.h"
#include "core/memory.h"

extern char **environ;

static const char name[] = "generated";

static const char *compiler(void)
{
    const char *cc = getenv("CC");

    return cc != NULL && cc[0] != '\0' ? cc : "cc";
}

/* Runs the compiler in a folder; what it says goes into a file there. */
static pq_status compile(const char *source, const char *object, const char *said,
                         int *code, pq_err *err)
{
    const char *const          argv[] = {compiler(), "-O2",  "-shared", "-fPIC", "-o",
                                         object,     source, "-lm",     NULL};
    posix_spawn_file_actions_t actions;
    pid_t                      child = 0;
    int                        failed, state = 0;
    pq_status                  st = PQ_OK;

    PQ_CHECK(posix_spawn_file_actions_init(&actions) == 0, PQ_ERR_NOMEM,
             "cannot allocate for a process");
    failed = posix_spawn_file_actions_addopen(&actions, 2, said,
                                              O_WRONLY | O_CREAT | O_TRUNC, 0600);
    failed = failed == 0 ? posix_spawnp(&child, argv[0], &actions, NULL,
                                        (char *const *)(uintptr_t)argv, environ)
                         : failed;
    (void)posix_spawn_file_actions_destroy(&actions);
    PQ_CHECK(failed == 0, PQ_ERR_UNSUPPORTED,
             "the compiler '%s' cannot be started: %s; generated C needs one (CC=…)",
             argv[0], strerror(failed));
    while (waitpid(child, &state, 0) < 0 && errno == EINTR) {
    }
    *code = WIFEXITED(state) ? WEXITSTATUS(state) : 128;
cleanup:
    return st;
}

/* The compiler's own words, the first line of them. */
static pq_status refuse(const char *said, int code, pq_err *err)
{
    char     *text = NULL;
    size_t    n    = 0;
    pq_status st;

    (void)pq_file_read(said, 1 << 20, &text, &n, NULL);
    st =
        pq_err_set(err, code == 127 ? PQ_ERR_UNSUPPORTED : PQ_ERR_IO, __FILE__, __LINE__,
                   "the compiler '%s' failed with code %d: %.*s", compiler(), code,
                   text != NULL ? (int)strcspn(text, "\n") : 0, text != NULL ? text : "");
    pq_free(text);
    return st;
}

typedef struct {
    const char        *name, *model_hash, *isa;
    size_t             n_features;
    const char *const *features;
    size_t             n_classes;
    const char *const *classes;
} information;

static pq_status load(const char *path, pq_loaded *out, pq_err *err)
{
    information (*info)(void);
    pq_status st = PQ_OK;

    out->object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    PQ_CHECK(out->object != NULL, PQ_ERR_IO, "what was compiled cannot be loaded: %s",
             dlerror());
    *(void **)(void *)&out->run = dlsym(out->object, "generated_runN");
    *(void **)(void *)&info     = dlsym(out->object, "generated_info");
    PQ_CHECK(out->run != NULL && info != NULL, PQ_ERR_IO,
             "what was compiled does not hold the model");
    (void)snprintf(out->isa, sizeof out->isa, "%s", info().isa);
cleanup:
    return st;
}

static void remove_all(const char *folder)
{
    char **names = NULL;
    size_t n     = 0;

    (void)pq_folder_list(folder, "", &names, &n, NULL);
    for (size_t i = 0; i < n; i++) {
        char *path = pq_path_join(folder, names[i]);
        (void)unlink(path != NULL ? path : "");
        pq_free(path);
        pq_free(names[i]);
    }
    pq_free(names);
    (void)rmdir(folder);
}

static pq_status build(const pq_graph *graph, const char *folder, pq_loaded *out,
                       pq_err *err)
{
    char              *source = pq_format("%s/%s.c", folder, name);
    char              *object = pq_format("%s/%s.so", folder, name);
    char              *said   = pq_format("%s/said", folder);
    pq_codegen_summary made;
    int                code = 0;
    pq_status          st;

    PQ_CHECK(source != NULL && object != NULL && said != NULL, PQ_ERR_NOMEM,
             "cannot allocate a path");
    PQ_TRY(pq_codegen_write(graph, name, PQ_CODEGEN_AVX512, folder, &made, err));
    PQ_TRY(compile(source, object, said, &code, err));
    PQ_TRY(code == 0 ? load(object, out, err) : refuse(said, code, err));
cleanup:
    pq_free(source);
    pq_free(object);
    pq_free(said);
    return st;
}

pq_status pq_loaded_open(const pq_graph *graph, pq_loaded *out, pq_err *err)
{
    const char *temporary = getenv("TMPDIR");
    char       *folder    = NULL;
    pq_loaded   l         = {0};
    pq_status   st;

    folder = pq_format("%s/pquant-XXXXXX",
                       temporary != NULL && temporary[0] != '\0' ? temporary : "/tmp");
    PQ_CHECK(folder != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_CHECK(mkdtemp(folder) != NULL, PQ_ERR_IO, "%s: a folder cannot be made: %s",
             folder, strerror(errno));
    st = build(graph, folder, &l, err);
    remove_all(folder);
    if (st == PQ_OK) {
        *out = l;
        l    = (pq_loaded){0};
    }
cleanup:
    pq_loaded_close(&l);
    pq_free(folder);
    return st;
}

void pq_loaded_close(pq_loaded *l)
{
    if (l->object != NULL) {
        (void)dlclose(l->object);
    }
    *l = (pq_loaded){0};
}
