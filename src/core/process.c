#include "core/process.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"

/* What the host says of a process; zeros where it says nothing. */
typedef struct {
    char               state; /* 'R', 'S', …; 'Z' and 'X' have ended */
    unsigned long long start;
} process;

static process look(long pid)
{
    char        path[64], text[1024] = "";
    process     is = {0};
    const char *at;
    FILE       *file;

    (void)snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    file = pq_file_stream(path);
    if (file == NULL) {
        return is;
    }
    (void)fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    at = strrchr(text, ')'); /* behind the name, which may hold anything */
    for (int field = 3; at != NULL && (at = strchr(at, ' ')) != NULL; field++) {
        at++;
        if (field == 3) {
            is.state = *at;
        } else if (field == 22) {
            is.start = strtoull(at, NULL, 10);
            break;
        }
    }
    return is;
}

unsigned long long pq_process_start(long pid)
{
    return look(pid).start;
}

bool pq_process_gone(long pid, unsigned long long start)
{
    process is;

    if (kill((pid_t)pid, 0) != 0 && errno == ESRCH) {
        return true;
    }
    is = look(pid);
    return is.state == 'Z' || is.state == 'X' ||
           (start != 0 && is.start != 0 && is.start != start);
}
