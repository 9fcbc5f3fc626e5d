/**
 * @file
 * One step of alternating least squares for one factor of a canonical polyadic
 * decomposition: its right-hand side, its normal equations, their solution.
 * Not for other rooms.
 *
 * The axes are split into two halves, front and back, T being a matrix of the one by the
 * other. The product of T with all factors of a half serves every axis of the other half
 * until a factor changes: T is read twice a sweep, whatever the number of axes.
 *
 * Source: Phan, Tichavsky & Cichocki, IEEE Trans. Signal Process. 61 (2013),
 *         doi:10.1109/TSP.2013.2269903.
 */
#ifndef PQ_LINALG_CP_STEP_H
#define PQ_LINALG_CP_STEP_H

#include "linalg/cp.h"

/** One start at work; owns all but `t` and `options`. */
typedef struct {
    const pq_tensor     *t;
    const pq_cp_options *options;
    size_t               rank;
    double               norm; /**< |T|^2 */
    pq_cp                cp;
    pq_tensor           *gram[PQ_MAX_DIMS]; /**< [R, R] of each factor */
    pq_tensor           *rhs[PQ_MAX_DIMS];  /**< [n, R] T times the other factors */
    pq_tensor           *normal;            /**< [R, R] product of the others' Grams */
    pq_tensor           *chol;              /**< [R, R] scratch */
    double              *work;              /**< [R] */
    size_t               split;             /**< axes below it are the front half */
    pq_tensor           *half[2];           /**< [items of a half, R] T times the other */
    pq_tensor           *rows[2];           /**< scratch: Khatri-Rao products of a half */
    bool                 valid[2];          /**< of half[] */
} pq_cp_als_state;

/** Allocates all for `t` and `rank`, which are set. */
pq_status pq_cp_step_prepare(pq_cp_als_state *a, pq_err *err);
void      pq_cp_step_free(pq_cp_als_state *a);

/** Where to split axes so that both halves together are smallest; 1 .. ndim - 1. */
size_t pq_cp_split(const pq_shape *shape);

/** Axes in the order they are to be solved: half by half, each from small to large, the
 * half of the smallest axis first. */
void pq_cp_order(const pq_cp_als_state *a, size_t *order);

/**
 * Column-wise Khatri-Rao product of the factors from .. to-1, first index slowest; a row
 * of ones when there are none.
 *
 * @param[out] out  [product of their n, R]
 */
void pq_cp_khatri_rao(const pq_cp *cp, size_t from, size_t to, double *out);

/** rhs[axis] [n, R] = T_(axis) times the Khatri-Rao product of the other factors. */
pq_status pq_cp_project(pq_cp_als_state *a, size_t axis, pq_err *err);

/** Makes the normal matrix of an axis. */
void pq_cp_multiply_grams(pq_cp_als_state *a, size_t but);

/** To be called whenever a factor has changed. */
pq_status pq_cp_update_gram(pq_cp_als_state *a, size_t axis, pq_err *err);

/** Makes columns unit vectors; their norms stay in a->work. */
void pq_cp_normalise(pq_cp_als_state *a, size_t axis);

/** Solves the normal equations for one factor: Cholesky with a ridge, else a
 * pseudo-inverse. */
pq_status pq_cp_solve(pq_cp_als_state *a, size_t axis, pq_err *err);

/** The smallest factor whose squared error stays within `due`. */
pq_status pq_cp_shrink(pq_cp_als_state *a, size_t axis, double due, pq_err *err);

#endif
