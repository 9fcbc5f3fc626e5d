#include "codegen/compiler.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/file.h"
#include "core/memory.h"

extern char **environ;

enum { WORDS = 8 /* of $CC */, OPTIONS = 10 };

const char *pq_compiler_name(void)
{
    const char *cc = getenv("CC");

    return cc != NULL && cc[strspn(cc, " ")] != '\0' ? cc : "cc";
}

/* The words of the compiler's name, in a copy of it; caller frees *copy. */
static pq_status split(char **copy, const char *words[WORDS], size_t *n, pq_err *err)
{
    char     *rest = NULL;
    pq_status st;

    *n = 0;
    PQ_STRDUP(*copy, pq_compiler_name());
    for (const char *word = strtok_r(*copy, " ", &rest); word != NULL;
         word             = strtok_r(NULL, " ", &rest)) {
        PQ_CHECK(*n < WORDS, PQ_ERR_CONFIG, "CC = '%s' has more than %d words",
                 pq_compiler_name(), WORDS);
        words[(*n)++] = word;
    }
cleanup:
    return st;
}

/* Adds where a program is and which one; false where there is none. */
static bool add_program(const char *name, pq_text *out)
{
    const char *folders = strchr(name, '/') != NULL ? "" : getenv("PATH");
    struct stat info;

    for (const char *at = folders != NULL ? folders : "/usr/bin:/bin";;) {
        const int length = (int)strcspn(at, ":");
        char     *path =
            length > 0 ? pq_format("%.*s/%s", length, at, name) : pq_strdup(name);
        const bool found = path != NULL && access(path, X_OK) == 0 &&
                           stat(path, &info) == 0 && S_ISREG(info.st_mode);
        if (found) {
            pq_text_add(out, " %s %lld %lld.%09ld", path, (long long)info.st_size,
                        (long long)info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
        }
        out->failed = out->failed || path == NULL;
        pq_free(path);
        if (found || at[length] == '\0') {
            return found;
        }
        at += length + 1;
    }
}

pq_status pq_compiler_identity(char **out, pq_err *err)
{
    char       *copy = NULL;
    const char *words[WORDS];
    pq_text     text  = {0};
    size_t      n     = 0;
    bool        found = true;
    pq_status   st;

    *out = NULL;
    PQ_TRY(split(&copy, words, &n, err));
    for (size_t i = 0; found && i < n; i++) {
        pq_text_add(&text, "%s%s", i == 0 ? "" : " ", words[i]);
        found = add_program(words[i], &text) || i > 0 || text.failed;
    }
    PQ_TRY(found ? pq_text_take(&text, out, err) : PQ_OK);
cleanup:
    pq_text_free(&text);
    pq_free(copy);
    return st;
}

/* Runs it; what it says goes into a file, and what it prints nowhere: our own results are
 * printed there. */
static pq_status run(const char *const *argv, const char *said, int *code, pq_err *err)
{
    posix_spawn_file_actions_t actions;
    pid_t                      child = 0;
    int                        failed, state = 0;
    pq_status                  st = PQ_OK;

    PQ_CHECK(posix_spawn_file_actions_init(&actions) == 0, PQ_ERR_NOMEM,
             "cannot allocate for a process");
    failed = posix_spawn_file_actions_addopen(&actions, 2, said,
                                              O_WRONLY | O_CREAT | O_TRUNC, 0600);
    failed = failed == 0
                 ? posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
                 : failed;
    failed = failed == 0 ? posix_spawnp(&child, argv[0], &actions, NULL,
                                        (char *const *)(uintptr_t)argv, environ)
                         : failed;
    (void)posix_spawn_file_actions_destroy(&actions);
    PQ_CHECK(failed == 0, PQ_ERR_UNSUPPORTED,
             "the compiler '%s' cannot be started: %s; generated C needs one (CC=…)",
             pq_compiler_name(), strerror(failed));
    while (waitpid(child, &state, 0) < 0 && errno == EINTR) {
    }
    *code = WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
cleanup:
    return st;
}

/* The compiler's own words, the first line of them that is not empty. */
static pq_status refuse(const char *said, int code, pq_err *err)
{
    char       *text = NULL;
    size_t      n    = 0;
    const char *line;
    pq_status   st;

    (void)pq_file_read(said, 1 << 20, &text, &n, NULL);
    line = text != NULL ? text + strspn(text, " \t\r\n") : "";
    st = pq_err_set(err, code == 127 ? PQ_ERR_UNSUPPORTED : PQ_ERR_IO, __FILE__, __LINE__,
                    "the compiler '%s' failed with code %d%s%.*s", pq_compiler_name(),
                    code, *line != '\0' ? ": " : " and said nothing",
                    (int)strcspn(line, "\r\n"), line);
    pq_free(text);
    return st;
}

pq_status pq_compiler_run(const char *source, const char *object, const char *said,
                          pq_err *err)
{
    const char *const options[OPTIONS]      = {PQ_COMPILER_OPTIONS, "-o", object, source,
                                               "-lm"};
    const char       *argv[WORDS + OPTIONS] = {NULL};
    char             *copy                  = NULL;
    size_t            n                     = 0;
    int               code                  = 0;
    pq_status         st;

    PQ_TRY(split(&copy, argv, &n, err));
    for (size_t i = 0; i < OPTIONS && options[i] != NULL; i++) {
        argv[n++] = options[i];
    }
    PQ_TRY(run(argv, said, &code, err));
    PQ_TRY(code == 0 ? PQ_OK : refuse(said, code, err));
cleanup:
    pq_free(copy);
    return st;
}
