/* Tensors for the tests of decompositions. */
#ifndef TESTS_LINALG_DATA_H
#define TESTS_LINALG_DATA_H

#include <criterion/criterion.h>
#include <math.h>

#include "core/memory.h"
#include "core/rng.h"
#include "linalg/subspace.h"

/* Asserts that a call goes well, with its message. */
#define OK(call)                                                                         \
    do {                                                                                 \
        pq_err err = {0};                                                                \
        cr_assert_eq((call), PQ_OK, "%s: %s", #call, err.message);                       \
    } while (0)

static inline pq_tensor *random_tensor(pq_shape shape, uint64_t seed)
{
    pq_rng     rng = pq_rng_stream(seed, "test");
    pq_tensor *t   = NULL;

    OK(pq_tensor_create(PQ_DTYPE_F64, shape, &t, &err));
    for (size_t i = 0; i < t->count; i++) {
        pq_f64(t)[i] = pq_rng_normal(&rng);
    }
    return t;
}

/* |a - b| / |b|. */
static inline double distance(const pq_tensor *a, const pq_tensor *b)
{
    return sqrt(pq_square_distance(a, b) / pq_square_norm(b));
}

/* Sum of `rank` outer products of random vectors. */
static inline pq_tensor *cp_tensor(pq_shape shape, size_t rank, uint64_t seed)
{
    pq_rng     rng = pq_rng_stream(seed, "test");
    pq_tensor *t   = NULL;
    double     v[PQ_MAX_DIMS][64];

    OK(pq_tensor_create(PQ_DTYPE_F64, shape, &t, &err));
    for (size_t r = 0; r < rank; r++) {
        for (size_t k = 0; k < shape.ndim; k++) {
            for (size_t i = 0; i < shape.dim[k]; i++) {
                v[k][i] = pq_rng_normal(&rng);
            }
        }
        for (size_t i = 0; i < t->count; i++) {
            size_t rest = i;
            double x    = 1.0;
            for (size_t k = shape.ndim; k-- > 0;) {
                x *= v[k][rest % shape.dim[k]];
                rest /= shape.dim[k];
            }
            pq_f64(t)[i] += x;
        }
    }
    return t;
}

/* Calls `expression` with every allocation failing once; nothing may stay behind. */
#define SURVIVES(expression, release)                                                    \
    do {                                                                                 \
        const size_t live = pq_memory_live();                                            \
        pq_status    st   = PQ_ERR_NOMEM;                                                \
        for (size_t n = 0; st != PQ_OK; n++) {                                           \
            pq_memory_fail_after(n);                                                     \
            st = (expression);                                                           \
            pq_memory_fail_after(SIZE_MAX);                                              \
            cr_assert(st == PQ_OK || st == PQ_ERR_NOMEM, "allocation %zu", n);           \
            if (st == PQ_OK) {                                                           \
                release;                                                                 \
            }                                                                            \
            cr_assert_eq(pq_memory_live(), live, "allocation %zu leaks", n);             \
        }                                                                                \
    } while (0)

#endif
