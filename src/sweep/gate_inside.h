/* A judgement while it is made: gate.c and the two kinds of gates. */
#ifndef PQ_SWEEP_GATE_INSIDE_H
#define PQ_SWEEP_GATE_INSIDE_H

#include "sweep/gate.h"

/** What a timing test found out; of numbers only `over` counts. */
typedef struct {
    bool over;   /* beyond the limit */
    bool noisy;  /* or not comparable: why says it */
    char at[32]; /* when it was measured */
} pq_gate_case;

/** Fills a finding of a number of both cells: before, now, worse, p. */
pq_gate_case pq_gate_number(const json_t *before, const json_t *now, const pq_gate *gate,
                            pq_finding *out);

/** The same of times of one batch size ("latency.b1"); `usual` is the median spread. */
pq_status pq_gate_times(const json_t *before, const json_t *now, const pq_gate *gate,
                        double usual, pq_finding *out, pq_gate_case *found, pq_err *err);

/** Median over all cells of both snapshots of how much the same code differs in a run. */
pq_status pq_gate_spread(const json_t *before, const json_t *now, const char *batch,
                         double *out, pq_err *err);

/** Appends a finding without any number, "pass" so far and not counted. */
pq_status pq_findings_add(pq_findings *f, const json_t *cell, const char *metric,
                          pq_finding **out, pq_err *err);

#endif
