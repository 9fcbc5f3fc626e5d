#include "core/temporary.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/memory.h"
#include "core/text.h"

pq_status pq_folder_temporary(char **out, pq_err *err)
{
    const char *set = getenv("TMPDIR");
    char       *folder =
        pq_format("%s/pquant-XXXXXX", set != NULL && set[0] != '\0' ? set : "/tmp");
    pq_status st;

    PQ_CHECK(folder != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_CHECK(mkdtemp(folder) != NULL, PQ_ERR_IO, "%s: a folder cannot be made: %s",
             folder, strerror(errno));
    *out   = folder;
    folder = NULL;
cleanup:
    pq_free(folder);
    return st;
}

void pq_folder_drop(char **folder)
{
    char **names = NULL;
    size_t n     = 0;

    if (*folder == NULL) {
        return;
    }
    (void)pq_folder_list(*folder, "", &names, &n, NULL);
    for (size_t i = 0; i < n; i++) {
        char *path = pq_path_join(*folder, names[i]);
        (void)unlink(path != NULL ? path : "");
        pq_free(path);
        pq_free(names[i]);
    }
    pq_free(names);
    (void)rmdir(*folder);
    pq_free(*folder);
    *folder = NULL;
}
