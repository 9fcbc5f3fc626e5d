/**
 * @file
 * One failure, told once: its status, where in the source it arose, and one
 * sentence with the offending value and the allowed range.
 *
 * Whatever can fail returns a pq_status and takes a `pq_err *err` last (NULL is
 * allowed; the caller starts it at {0}). PQ_TRY and PQ_CHECK need `st`, `err`
 * and a `cleanup:` label in scope; both leave st = PQ_OK when all is well.
 */
#ifndef PQ_CORE_ERR_H
#define PQ_CORE_ERR_H

#include "core/status.h"

typedef struct {
    pq_status   code;
    const char *file; /**< source file of the first failure, static */
    int         line;
    /* Both may hold names out of files: what a terminal would obey is shown escaped
       (core/visible.h). */
    char message[1024]; /**< one sentence, no trailing newline */
    char hint[512];     /**< what to do about it, or "" */
} pq_err;

/** Fills err with the first failure; a later call on a filled err is ignored. */
void pq_err_fill(pq_err *err, pq_status code, const char *file, int line, const char *fmt,
                 ...) __attribute__((format(printf, 5, 6)));

/** pq_err_fill, then the code: `return pq_err_set(…)` reads well, and the compiler sees
 * that it is a failure. */
#define pq_err_set(err, code, file, line, ...)                                           \
    __extension__({                                                                      \
        const pq_status code_ = (code);                                                  \
        pq_err_fill((err), code_, (file), (line), __VA_ARGS__);                          \
        code_;                                                                           \
    })

/** Puts "context: " before the message: `model.h5: layer 'fc1': …`. */
void pq_err_context(pq_err *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/** Says what the user can do; the last hint wins. */
void pq_err_hint(pq_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/** Jumps to cleanup with the failing status of a call. */
#define PQ_TRY(call)                                                                     \
    do {                                                                                 \
        st = (call);                                                                     \
        if (st != PQ_OK) {                                                               \
            goto cleanup;                                                                \
        }                                                                                \
    } while (0)

/** Jumps to cleanup with `code` and a message unless `cond` holds. */
#define PQ_CHECK(cond, code, ...)                                                        \
    do {                                                                                 \
        st = PQ_OK;                                                                      \
        if (!(cond)) {                                                                   \
            st = (code);                                                                 \
            (void)pq_err_set(err, st, __FILE__, __LINE__, __VA_ARGS__);                  \
            goto cleanup;                                                                \
        }                                                                                \
    } while (0)

/** Fails unconditionally: PQ_CHECK with a false condition. */
#define PQ_FAIL(code, ...)                                                               \
    do {                                                                                 \
        st = (code);                                                                     \
        (void)pq_err_set(err, st, __FILE__, __LINE__, __VA_ARGS__);                      \
        goto cleanup;                                                                    \
    } while (0)

#endif
