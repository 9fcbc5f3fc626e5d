/**
 * @file
 * Rank of a matrix in noise by empirical variational Bayes (EVBMF), from its
 * singular values alone.
 *
 * Source: Nakajima, Sugiyama, Babacan & Tomioka, JMLR 14 (2013), theorems 2 and 3;
 *         used for layers by Kim et al., arXiv:1511.06530.
 */
#ifndef PQ_LINALG_VBMF_H
#define PQ_LINALG_VBMF_H

#include <stddef.h>

/**
 * Number of singular values that stand out of the noise whose variance is
 * estimated along; 0 when none does.
 *
 * @param[in] s  [min(m, n)] singular values of an [m, n] matrix, descending
 */
size_t pq_evbmf_rank(const double *s, size_t m, size_t n);

#endif
