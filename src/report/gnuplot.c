#include "report/gnuplot.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/file.h"
#include "core/memory.h"
#include "core/text.h"

/* The whole path of a program that can be run, or NULL: it is called from another folder.
 */
static pq_status resolve(const char *path, char **out, pq_err *err)
{
    char      whole[PATH_MAX];
    pq_status st = PQ_OK;

    if (access(path, X_OK) == 0 && !pq_folder_exists(path) &&
        realpath(path, whole) != NULL) {
        PQ_STRDUP(*out, whole);
    }
cleanup:
    return st;
}

pq_status pq_gnuplot_find(const char *wanted, char **out, pq_err *err)
{
    const char *name   = wanted != NULL ? wanted : "gnuplot";
    const char *folder = getenv("PATH");
    char       *path   = NULL;
    pq_status   st     = PQ_OK;

    *out = NULL;
    if (strchr(name, '/') != NULL) {
        return resolve(name, out, err);
    }
    while (*out == NULL && folder != NULL && *folder != '\0') {
        const size_t n = strcspn(folder, ":");
        if (n > 0) {
            path = pq_format("%.*s/%s", (int)n, folder, name);
            PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
            PQ_TRY(resolve(path, out, err));
            pq_free(path);
            path = NULL;
        }
        folder += n + (folder[n] == ':');
    }
cleanup:
    pq_free(path);
    return st;
}

/* Between fork and exec only what is safe after a fork of a program with threads. */
static void become(const char *program, const char *folder, const char *script,
                   const char *log)
{
    char      *argv[] = {(char *)program, (char *)script, NULL};
    const int  none   = open("/dev/null", O_RDONLY);
    const bool there  = chdir(folder) == 0;
    const int  said   = there ? open(log, O_WRONLY | O_NOFOLLOW) : -1;

    if (none < 0 || said < 0 || dup2(none, STDIN_FILENO) < 0 ||
        dup2(said, STDOUT_FILENO) < 0 || dup2(said, STDERR_FILENO) < 0) {
        _exit(126);
    }
    (void)alarm(PQ_GNUPLOT_TIMEOUT_S);
    (void)execv(program, argv);
    _exit(127);
}

pq_status pq_gnuplot_start(const char *program, const char *folder, const char *script,
                           const char *log, pid_t *out, pq_err *err)
{
    const pid_t process = fork();
    pq_status   st;

    if (process == 0) {
        become(program, folder, script, log);
    }
    PQ_CHECK(process > 0, pq_status_of_errno(errno), "%s: cannot be started: %s", program,
             strerror(errno));
    *out = process;
cleanup:
    return st;
}

bool pq_gnuplot_wait(pid_t process)
{
    int   state = 0;
    pid_t got;

    do {
        got = waitpid(process, &state, 0);
    } while (got < 0 && errno == EINTR);
    return got == process && WIFEXITED(state) && WEXITSTATUS(state) == 0;
}
