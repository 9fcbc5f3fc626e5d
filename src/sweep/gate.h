/**
 * @file
 * What may not get worse: two snapshots of a sweep (sweep/snapshot.h) compared by the
 * `gates:` of its configuration.
 *
 * Numbers (accuracy, bytes, operations). Worse by more than `max_loss` (in the metric's
 * unit) or `max_increase` (relative) fails. With a test the difference must also be
 * significant: of accuracies of the same events, event by event (McNemar); else by the
 * one-sigma intervals. Beyond the limit but not significant is inconclusive.
 *
 * Times. Never seconds of two runs, but each cell's time over the reference's of the same
 * sweep of the stopwatch. With e = ratio of the medians - 1, a cell is suspect where
 *   e > max(max_increase, 3 spread)  and  p < alpha (Mann-Whitney),
 * spread being the standard deviation of the processes of one run; of fewer than three by
 * how much the first and the second half of its samples differ, at least 5 %. Of the
 * cell's own in both and the median over all cells the largest counts: samples of one
 * process are no independent ones, so that p alone would believe what processes differ
 * by. Beyond max_increase but otherwise is noise: inconclusive, as are other processors
 * and noisy samples. A suspect fails once `confirm` further measurements agree.
 *
 * Values of p are those of Benjamini and Hochberg over the cells of a gate, so `alpha` is
 * the share of false ones among the alarms of a night.
 */
#ifndef PQ_SWEEP_GATE_H
#define PQ_SWEEP_GATE_H

#include <jansson.h>

#include "core/err.h"
#include "sweep/config.h"

typedef enum {
    PQ_GATE_PASS,
    PQ_GATE_EXPECTED, /**< fails, as it was expected to (sweep/references.h) */
    PQ_GATE_INCONCLUSIVE,
    PQ_GATE_SUSPECT, /**< to be measured again */
    PQ_GATE_MISSING, /**< not in the later snapshot */
    PQ_GATE_FAIL,
    PQ_GATE_VERDICTS
} pq_verdict;

/** "pass", "expected", "inconclusive", "suspect", "missing", "fail". */
extern const char *const pq_verdict_names[PQ_GATE_VERDICTS];

/** One cell at one gate. Owns its texts. */
typedef struct {
    char      *label, *metric;
    pq_verdict verdict;
    double     before, now; /**< of times the ratio to the reference; NAN = none */
    double     worse;       /**< by so much: in the unit, or relative for max_increase */
    double     p;           /**< as tested, NAN = not */
    double     limit;       /**< of times: worse by less is noise; NAN = none */
    char       why[128];    /**< "" for a plain pass */
} pq_finding;

/** {0} is empty. Free with pq_findings_free. */
typedef struct {
    size_t      n, room;
    pq_finding *items;
    size_t      count[PQ_GATE_VERDICTS];
} pq_findings;

/** Gates of a plan (store/results.h). Free with pq_gates_free.
 * @retval PQ_ERR_FORMAT  A parameter that no gate has. */
pq_status pq_gates_of_plan(const json_t *plan, pq_gate **out, size_t *n, pq_err *err);
void      pq_gates_free(pq_gate **gates, size_t n);

/**
 * Judges.
 * @param[in]     before    snapshot
 * @param[in]     now       snapshot
 * @param[in,out] suspects  object: what is suspect since when, kept between calls for
 *                          `confirm`
 */
pq_status pq_gate_judge(const json_t *before, const json_t *now, const pq_gate *gates,
                        size_t n_gates, json_t *suspects, pq_findings *out, pq_err *err);
void      pq_findings_free(pq_findings *findings);

#endif
