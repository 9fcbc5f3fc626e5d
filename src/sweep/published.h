/**
 * @file
 * `published:` numbers that others have printed, kept with the results: reports set ours
 * beside them.
 *
 *   published:
 *     source: "Garipov et al. 2016, arXiv:1611.03214, table 1"
 *     why: {accuracy: "nothing is trained here"}        # glob over values
 *     cells:
 *       tt_conv_published:                               # label, or glob over labels
 *         parameters: {ratio: 3.23}                      # the reference's over the
 * cell's accuracy: {value: 89.3%}
 */
#ifndef PQ_SWEEP_PUBLISHED_H
#define PQ_SWEEP_PUBLISHED_H

#include <jansson.h>

#include "sweep/config.h"
#include "sweep/problems.h"

/**
 * Reads the key, after the pipelines; what is wrong goes to the problems.
 * @param[in] changed  the command line changed the configuration: cells that are named
 *                     here need not be there
 */
pq_status pq_read_published(pq_problems *p, const pq_yaml *tree, bool changed,
                            pq_config *config, pq_err *err);

/** As plan.json holds it: [{cell, metric, printed, ratio, source, why}], texts but for
 * `ratio`; NULL when out of memory; caller decrefs. */
json_t *pq_published_json(const pq_config *config);

void pq_published_free(pq_config *config);

#endif
