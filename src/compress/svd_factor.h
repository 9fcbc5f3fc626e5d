/**
 * @file
 * A kernel as a matrix and its low-rank factors, plain or weighted by what
 * calibration saw. For compress only.
 *
 * whitened: W' = U U^T W with U the leading eigenvectors of W C W^T, C the second
 * moments (with bias correction: the covariance) of the layer's input. It minimises
 * E |(W - W') x|^2 and needs no inverse, so C may be singular. Its loss is the sum of
 * the dropped eigenvalues.
 * asvd: SVD of W S, S = diag(rms of x)^alpha, undone afterwards.
 *
 * Source: Zhang et al., arXiv:1505.06798, section 3.1 (whitened); Yuan et al.,
 *         arXiv:2312.05821 (asvd).
 */
#ifndef PQ_COMPRESS_SVD_FACTOR_H
#define PQ_COMPRESS_SVD_FACTOR_H

#include "compress/calib.h"
#include "linalg/svd.h"

typedef enum { PQ_SVD_CHANNEL, PQ_SVD_CHANNEL_IN, PQ_SVD_SPATIAL } pq_svd_form;
typedef enum { PQ_WEIGH_NONE, PQ_WEIGH_ASVD, PQ_WEIGH_WHITENED } pq_weighting;

/** The matrix of a kernel in a form, float64; dense kernels have one form. */
pq_status pq_svd_unfold(const pq_tensor *kernel, pq_svd_form form, pq_tensor **out,
                        pq_err *err);

/** Inverse: a matrix as a kernel of that shape, float32. */
pq_status pq_svd_refold(const pq_tensor *matrix, const pq_shape *kernel, pq_svd_form form,
                        pq_tensor **out, pq_err *err);

/** How a matrix is weighted. */
typedef struct {
    pq_weighting         how;
    double               alpha;   /**< of asvd */
    bool                 centred; /**< whitened by the covariance */
    const pq_calib_gram *gram;    /**< [columns of the matrix]; NULL with none */
} pq_svd_weight;

/** Leading factors W = sum_i u_i s_i v_i^T, best first; owns them. */
typedef struct {
    pq_svd     svd;      /**< rows of vt need not be orthonormal when weighted */
    pq_tensor *spectrum; /**< float64 [as many]: what ranks are chosen by */
    double     square;   /**< sum of squares of the whole spectrum */
    double     lack;     /**< bound on what the squares of spectrum, added up, lack */
} pq_svd_factors;

/**
 * @param[in] rank  how many are wanted; where it does not pay to leave any out, all come
 *
 * @retval PQ_ERR_CONFIG   Weighted, and no calibration event reached the layer.
 * @retval PQ_ERR_NUMERIC  NaN or infinity in the weight or the moments.
 */
pq_status pq_svd_factor(const pq_tensor *w, const pq_svd_weight *weight, size_t rank,
                        pq_svd_factors *out, pq_err *err);
void      pq_svd_factors_free(pq_svd_factors *f);

/** a [m, r] and b [r, n] of the first r components, float32, scaled evenly. */
pq_status pq_svd_split(const pq_svd *svd, size_t rank, pq_tensor **a, pq_tensor **b,
                       pq_err *err);

/** a b in double, [m, n]. */
pq_status pq_svd_join(const pq_tensor *a, const pq_tensor *b, pq_tensor **out,
                      pq_err *err);

#endif
