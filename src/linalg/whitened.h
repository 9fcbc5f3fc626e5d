/**
 * @file
 * Tucker-2 and CP of a convolution's kernel that keep its outputs instead of its weights:
 * W' minimises E |(W - W') x|^2 = |(W - W') S^(1/2)|_F^2, S the second moments (or the
 * covariance) of the input patches x.
 *
 * Alternating least squares under that norm. What no closed form gives is solved by
 * conjugate gradients, with the Kronecker product of the axis's part of S and the plain
 * normal matrix as preconditioner: S itself may be singular, and no matrix is larger
 * than S or rank^2.
 *
 * Tucker-2, [o, a, b, i] = sum U[o, p] C[p, a, b, q] V[i, q]: for a given V the best U
 * and C come at once (regression of reduced rank): M = W S Z (Z^T S Z)^-1 on the inputs
 * Z = 1 x V, U the leading eigenvectors of M Z^T S Z M^T, C = U^T M. Then V by gradients.
 * CP: the output's factor by its normal equations, the others by gradients.
 *
 * Source: arXiv:2511.04494 (ALS under the covariance's norm); reduced rank: Zhang et al.,
 *         arXiv:1505.06798, section 3.1.
 */
#ifndef PQ_LINALG_WHITENED_H
#define PQ_LINALG_WHITENED_H

#include "linalg/cp.h"
#include "linalg/tucker.h"

/**
 * sqrt(tr(E S E^T) / tr(W S W^T)), E = W - approx: what is lost of the outputs; 0 where
 * there are none.
 *
 * @param[in] t        float64, [o, n] or any shape that is one
 * @param[in] approx   the same
 * @param[in] moments    float64 [n, n], symmetric, no eigenvalue below 0
 */
pq_status pq_whitened_error(const pq_tensor *t, const pq_tensor *approx,
                            const pq_tensor *moments, double *error, pq_err *err);

/**
 * Singular values of the outputs, and of the input channels weighed by their moments,
 * which ranks can be chosen by; and where to start from.
 *
 * @param[in]  t        float64 [o, a, b, i]
 * @param[out] out_s    float64 [o], descending: losses of U alone are exact
 * @param[out] in_s     float64 [i], descending: as if pixels of a patch were independent
 * @param[out] in_u     float64 [i, i]: its first q columns span a V to start from
 */
pq_status pq_whitened_sides(const pq_tensor *t, const pq_tensor *moments,
                            pq_tensor **out_s, pq_tensor **in_s, pq_tensor **in_u,
                            pq_err *err);

/**
 * @param[in]  t        float64 [o, a, b, i], finite
 * @param[in]  moments  float64 [n, n], n = a b i, in the order of a patch [a, b, i]
 * @param[in]  rank     [4] of which 0 and 3 are used, in 1 .. their axes
 * @param[in]  start    float64 [i, i] from pq_whitened_sides()
 * @param[out] out      factors 0 and 3 with orthonormal columns, core, and the error of
 *                      the outputs; caller frees; untouched on failure
 * @retval PQ_ERR_RANGE  A rank beyond its axis.
 *
 * Cost: a sweep takes about 20 n^2 rank[0] operations, and an eigenproblem of o.
 * Deterministic.
 */
pq_status pq_tucker_whitened(const pq_tensor *t, const pq_tensor *moments,
                             const size_t *rank, const pq_tucker_options *options,
                             const pq_tensor *start, pq_tucker *out, pq_err *err);

/**
 * Goes on from factors that pq_cp_als() found; never ends with a larger error of the
 * outputs, nor with terms that swell beyond options->swell.
 *
 * @param[in]     t   float64 [o, …, i], 3 or 4 axes; all but the first are a patch
 * @param[in,out] cp  its error becomes that of the outputs
 *
 * Cost: a sweep takes about 20 n^2 o operations an axis. Deterministic.
 */
pq_status pq_cp_whitened(const pq_tensor *t, const pq_tensor *moments,
                         const pq_cp_options *options, pq_cp *cp, pq_err *err);

#endif
