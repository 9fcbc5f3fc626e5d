#include "cli/submit.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/file.h"
#include "core/memory.h"

pq_status pq_submit(const char *folder, const char *name, const char *needs, pq_err *err)
{
    char     *path = pq_path_join(folder, name);
    int       code = 0;
    pid_t     pid  = -1;
    pq_status st   = PQ_OK;

    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    (void)fflush(stdout);
    pid = fork();
    PQ_CHECK(pid >= 0, PQ_ERR_IO, "cannot start a process");
    if (pid == 0) {
        (void)execlp("bash", "bash", path, (char *)NULL);
        _exit(127);
    }
    PQ_CHECK(waitpid(pid, &code, 0) == pid && WIFEXITED(code) && WEXITSTATUS(code) == 0,
             PQ_ERR_IO, "%s: ended with %d (does this machine have %s?)", path,
             WIFEXITED(code) ? WEXITSTATUS(code) : 128 + WTERMSIG(code), needs);
cleanup:
    pq_free(path);
    return st;
}
