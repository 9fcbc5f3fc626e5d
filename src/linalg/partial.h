/**
 * @file
 * The leading singular triples of a matrix, at a cost that grows with how many are asked
 * for, and with a bound on what they lack.
 *
 * Where they lie is found in float32 (linalg/krylov.h), or where that does not pay, of
 * the Gram matrix in double (linalg/eigh.h); the triples come from products with the
 * matrix in double, repeated until the bound holds. Where that does not pay, or
 * does not come about, it is the whole decomposition (pq_svd_thin).
 */
#ifndef PQ_LINALG_PARTIAL_H
#define PQ_LINALG_PARTIAL_H

#include "linalg/svd.h"

/** Leading triples, and what is known of the rest; owns svd. {0} is empty. */
typedef struct {
    pq_svd svd;    /**< u [m, r], s [r], vt [r, n]; r = min(m, n): the whole one */
    double square; /**< |A|_F^2 */
    double lack;   /**< bound on (sum of the r largest sigma_i^2) - (sum of s_i^2), also
                      for each smaller r; 0 for the whole one */
} pq_svd_part;

/**
 * What a truncation after r triples may be worse than the best of that rank, as part of
 * the best one's error: bound on |A - A_r| / |A - A_best| - 1, HUGE_VAL where the error
 * is below rounding. The error itself needs no bound: |A - A_r|^2 = square - sum s_i^2.
 *
 * @param[in] s  [r or more] singular values; square and lack as in pq_svd_part
 */
double pq_svd_excess(const double *s, double square, double lack, size_t r);

/** Largest pq_svd_excess of what pq_svd_leading() gives; what is lost to rounding in
 * double, 1e-14 |A|, is not counted. */
#define PQ_SVD_EXCESS 1e-6

/**
 * The triple counts that pq_svd_leading() is to be asked for: 16, 32, 64, ... while the
 * partial decomposition pays, then min(m, n). What is kept for one serves all ranks below
 * it, and is the same whichever rank it was first made for.
 *
 * @param[in] rank  1 .. min(m, n)
 * @return the least of these counts that is not below rank
 */
size_t pq_svd_rung(size_t m, size_t n, size_t rank);

/**
 * The `rank` leading triples; all of them where min(m, n) are asked for or the partial
 * decomposition was given up. Signs as in pq_svd_thin.
 *
 * @param[in]  w     [m, n], float32 or float64, unchanged
 * @param[in]  rank  1 .. min(m, n)
 * @param[out] out   caller frees with pq_svd_part_free(); untouched on failure
 *
 * @retval PQ_ERR_RANGE  rank is not in 1 .. min(m, n).
 * @retval others        As pq_svd_thin.
 *
 * Cost: m n l operations in float32 times 4, m n rank in double times 2 to 4; l is 2
 * rank where singular values fall fast, 10 rank where they hardly do; of the Gram matrix
 * k = min(m, n): m n k and 4/3 k^3 in double instead. One thread; a
 * function of w and rank alone.
 */
pq_status pq_svd_leading(const pq_tensor *w, size_t rank, pq_svd_part *out, pq_err *err);

/** Frees the triples and zeroes the struct; harmless on a zeroed one. */
void pq_svd_part_free(pq_svd_part *part);

#endif
