/**
 * @file
 * Models of other programs that are not read: what they are, and lines of Python that
 * write what is.
 */
#ifndef PQ_FORMATS_WAYS_H
#define PQ_FORMATS_WAYS_H

#include <stdbool.h>

/** A module pickled whole. */
#define PQ_WAY_MODULE                                                                    \
    "if it is a whole module, in Python where its classes can be imported: import "      \
    "torch; torch.save(torch.load('net.pt', 'cpu', weights_only=False).state_dict(), "   \
    "'weights.pt')"

/** Whether a ZIP archive is such a model; texts are static. */
bool pq_way_archive(const char *path, const char **what, const char **way);

/** Whether a folder is such a model; texts are static. */
bool pq_way_folder(const char *path, const char **what, const char **way);

#endif
