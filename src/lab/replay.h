/**
 * @file
 * Calibration events for methods of compress that look at them more than once.
 */
#ifndef PQ_LAB_REPLAY_H
#define PQ_LAB_REPLAY_H

#include "compress/method.h"

/** Which events: those of pq_calibrate. Borrowed by the replay. */
typedef struct {
    pq_dataset *dataset;
    size_t      split;
    size_t      events; /**< 0 = 1000 */
    uint64_t    seed;
} pq_replay_options;

/** Replay by float32 kernels. @retval PQ_ERR_CONFIG  The split is empty. */
pq_status pq_replay_of(pq_replay_options *options, pq_replay *out, pq_err *err);

#endif
