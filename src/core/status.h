/**
 * @file
 * What a call can come back with. One list gives the codes, their texts and
 * the process exit code that `pquant` ends with when the error reaches the top.
 */
#ifndef PQ_CORE_STATUS_H
#define PQ_CORE_STATUS_H

/* X(name, text, exit code of the program) */
#define PQ_STATUS_MAP(X)                                                                 \
    X(OK, "ok", 0)                                                                       \
    X(ERR_NOMEM, "out of memory", 75)                                                    \
    X(ERR_SHAPE, "shapes do not fit", 2)                                                 \
    X(ERR_RANGE, "value out of range", 2)                                                \
    X(ERR_NUMERIC, "numerical failure", 2)                                               \
    X(ERR_IO, "input or output failed", 75)                                              \
    X(ERR_ACCESS, "no access", 2)                                                        \
    X(ERR_NOT_FOUND, "not found", 2)                                                     \
    X(ERR_FORMAT, "file is not valid", 2)                                                \
    X(ERR_CONFIG, "configuration is not valid", 2)                                       \
    X(ERR_UNSUPPORTED, "not supported", 2)                                               \
    X(ERR_INTERRUPTED, "interrupted", 130)

typedef enum {
#define PQ_STATUS_ENUM(name, text, exit_code) PQ_##name,
    PQ_STATUS_MAP(PQ_STATUS_ENUM)
#undef PQ_STATUS_ENUM
} pq_status;

/** Short text of a status, e.g. "out of memory"; never NULL. */
const char *pq_status_text(pq_status st);

/** Exit code of the program for a status (0, 2, 75 or 130). */
int pq_status_exit_code(pq_status st);

/** Status of a failed system call on a path: PQ_ERR_NOT_FOUND, PQ_ERR_ACCESS for what no
 * second try mends (no permission, a file where a folder is due, a name that the file
 * system does not take), PQ_ERR_NOMEM, else PQ_ERR_IO. */
pq_status pq_status_of_errno(int number);

#endif
