/* "FILE[:SPLIT]". */
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "data/dataset.h"

pq_status pq_dataset_spec(const char *spec, char **path, char **split, pq_err *err)
{
    const char *colon = strrchr(spec, ':');
    char       *a = NULL, *b = NULL;
    pq_status   st;

    PQ_STRDUP(a, spec);
    if (colon != NULL && !pq_file_exists(spec) && strchr(colon, '/') == NULL) {
        a[colon - spec] = '\0';
        PQ_STRDUP(b, colon + 1);
    } else {
        PQ_STRDUP(b, "");
    }
    *path  = a;
    *split = b;
    a = b = NULL;
cleanup:
    pq_free(a);
    pq_free(b);
    return st;
}
