/**
 * @file
 * Dense layers of cores in float32: one core after the other, sample by sample.
 *
 * Step k takes z [r_{k-1}, m_k, p], p counting all modes not at work, to
 * z' [r_k, p, n_k] = sum over (r, m) of z[r, m, p] core[r, n, m, r_k]; after the last
 * core z is y. Source: Novikov et al., arXiv:1509.06569, section 3.
 */
#ifndef PQ_EXEC_TT_H
#define PQ_EXEC_TT_H

#include "exec/engine.h"

/** What computes it, for records. */
#define PQ_TT_KERNEL "float32:products of cores"

/** Prepares a step of PQ_FORM_CORES (pq_engine.prepare). */
pq_status pq_tt_prepare(const pq_step *step, pq_op **out, pq_err *err);

#endif
