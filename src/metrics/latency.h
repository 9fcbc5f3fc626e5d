/**
 * @file
 * How long a call takes, measured so that variants of one run can be compared:
 * interleaved in random order, the first variant (the reference) in every
 * round, one pinned core, warm-up, timer cost subtracted, wall and CPU time,
 * denormals flushed to zero. Absolute numbers are of this host and this run only.
 *
 * Source: docs/measurement.md; MLPerf LoadGen, Reddi et al., ISCA 2020,
 *         arXiv:1911.02549; interval of a median, Conover, Practical
 *         Nonparametric Statistics, 1999, section 3.2.
 */
#ifndef PQ_METRICS_LATENCY_H
#define PQ_METRICS_LATENCY_H

#include "core/param.h"
#include "core/progress.h"

/** Runs the work once. `input` counts up, so that the variant can rotate over distinct
 * inputs; returns a value that depends on the output. */
typedef float (*pq_timed)(void *context, size_t input);

typedef struct {
    pq_timed run;
    void    *context;
    void (*flush)(void *context); /**< drives its code and constants out of all caches;
                                     NULL = it cannot */
} pq_variant;

/** What single calls are timed behind, beside those that follow each other. */
typedef enum {
    PQ_COLD_L1,      /**< four times the first-level data cache was read */
    PQ_COLD_FLUSHED, /**< code and constants are in no cache */
    PQ_COLD_IDLE,    /**< the thread has slept for 1 ms */
    PQ_COLD_STATES
} pq_cold_state;

/** "l1_evicted", "flushed", "idle_1ms". */
extern const char *const pq_cold_names[PQ_COLD_STATES];

/** The `latency:` block of a config, but for batch and threads. */
typedef struct {
    double  warmup_s;      /**< seconds of warm-up of each variant */
    int64_t samples;       /**< timed samples of each variant, spread over the rounds */
    double  sample_time_s; /**< calls are repeated to fill this time (throughput and
                              dependent chain) */
    int64_t rounds; /**< a round takes its share of samples in sweeps over all variants,
                       each sweep in a new random order, then its share of single shots */
    double  max_s;  /**< start no further round once so long a variant is spent */
    int64_t single_shots; /**< single calls timed for the percentiles */
    int64_t cold_shots;   /**< single calls timed in each cold state */
    bool pin; /**< pin to one core; not for variants that start threads, which would share
                 it */
} pq_latency_options;

extern const pq_param pq_latency_params[];

/** Results of one variant; times are seconds a call. Owns samples, shots and cold. */
typedef struct {
    double throughput_s; /**< median over samples: independent calls back to back */
    double throughput_lo,
        throughput_hi; /**< 95 % interval of the median, by order statistics */
    double cpu_s;      /**< median CPU time of the same samples, calling thread */
    double chain_s;    /**< median over samples, of each the median of 32 stretches: each
                          call's input depends on the output before */
    double p50_s, p90_s, p99_s, p999_s; /**< single shots, timer cost subtracted */
    double
        cold_s[PQ_COLD_STATES]; /**< medians of those behind a cold state; NAN = none */
    double ratio, ratio_lo,
        ratio_hi;  /**< reference time over ours, median over pairs of one sweep, with its
                      95 % interval; above 1 = faster */
    size_t  calls; /**< calls per sample */
    size_t  n;     /**< samples taken */
    double *samples; /**< [n] wall seconds a call */
    size_t  n_shots;
    double *shots; /**< [n_shots] single calls, ascending */
    size_t  n_cold[PQ_COLD_STATES];
    double *cold[PQ_COLD_STATES]; /**< [n_cold] those behind each cold state, ascending */
    bool    noisy;                /**< see `why` */
    char    why[96];              /**< "cpu/wall 0.71 is below 0.9", … or "" */
} pq_timing;

/**
 * Times the variants against each other. results[0] is the reference.
 *
 * @param[in]  variants   [n], n >= 1
 * @param[in]  seed       of the order (stream "order")
 * @param[in]  progress   told of rounds, or NULL
 * @param[out] results    [n], caller frees each with pq_timing_free; untouched on failure
 * @param[out] timer_s    cost of an empty timer pair that was subtracted
 *
 * @retval PQ_ERR_RANGE  No variants, or an option out of its range.
 * @retval PQ_ERR_NOMEM  Out of memory.
 */
pq_status pq_latency_measure(const pq_variant *variants, size_t n,
                             const pq_latency_options *options, uint64_t seed,
                             const pq_progress *progress, pq_timing *results,
                             double *timer_s, pq_err *err);
void      pq_timing_free(pq_timing *t);

/** What a call takes that somebody waits for: the larger of dependent calls and of the
 * median of single ones; throughput hides what waits. */
double pq_timing_call_s(const pq_timing *t);

#endif
