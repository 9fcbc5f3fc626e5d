/**
 * @file
 * Where the leading singular vectors of a large matrix lie, found in float32: the first
 * half of a partial decomposition (linalg/partial.h). Not for other rooms.
 *
 * Block Lanczos on H = A^T A with complete reorthogonalisation, and Rayleigh-Ritz. Each
 * step reads the matrix once: a panel of rows is multiplied by the block and, while it is
 * in the cache, its transpose by the result. What a step leaves of rank is filled up with
 * new random directions, so that values of any multiplicity are found.
 *
 * Source: Golub & Underwood, The block Lanczos method (1977); Musco & Musco, NeurIPS
 * 2015, arXiv:1504.05477 (why no gap is needed).
 */
#ifndef PQ_LINALG_KRYLOV_H
#define PQ_LINALG_KRYLOV_H

#include "tensor/tensor.h"

/** What is asked of a search. */
typedef struct {
    size_t rank;    /**< directions wanted, 1 or more */
    size_t width;   /**< directions given back, rank + 1 or more */
    size_t block;   /**< of a step */
    size_t largest; /**< basis at which it is given up, above width + block */
    double goal; /**< sum that Ritz values may lack, relative to what is left of |A|^2 */
} pq_krylov_search;

/**
 * @param[in]  a      float32 [m, n], m >= n, finite, of size 1 or so
 * @param[out] basis  float64 [n, width], nearly orthonormal, best first; NULL where the
 * search was given up; caller frees
 * @param[out] lack   Bound on what the squares of the leading `rank` singular values of
 * a, added up, exceed those within the basis by; HUGE_VAL where float32 does not tell
 *
 * @retval PQ_ERR_NUMERIC  No convergence of an eigenproblem.
 * @retval PQ_ERR_NOMEM    Out of memory.
 *
 * Cost: 4 m n l + 8 n l^2 operations in float32 for a basis of l, which is what the
 * spectrum makes it; l (n + 3 l) floats. One thread; a function of `a` alone.
 */
pq_status pq_krylov_leading(const pq_tensor *a, const pq_krylov_search *search,
                            pq_tensor **basis, double *lack, pq_err *err);

/**
 * Bound on sum_i (lambda_i - theta_i) of a symmetric matrix, the leading `rank` true
 * eigenvalues against as many Ritz values, from the norms of their residuals:
 * sum_i (sqrt(g_i^2 + 4 e_i^2) - g_i) / 2 with g_i = theta_i - mu, where mu bounds what
 * the matrix does to the rest of the space and is taken as the next Ritz value plus its
 * residual. Needs no gap: where g_i is 0 a term is e_i, else at most e_i^2 / g_i.
 *
 * Source: the sum of the positive eigenvalues of [diag(g) E; E^T 0], whose trace norm is
 * at most that of its 2 x 2 pieces added up.
 *
 * @param[in] theta  [rank + 1] descending
 * @param[in] e      [rank + 1] norms of the residuals
 */
double pq_ritz_lack(const double *theta, const double *e, size_t rank);

#endif
