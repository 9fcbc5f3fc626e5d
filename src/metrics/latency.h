/**
 * @file
 * How long a call takes, measured so that variants of one run can be compared:
 * interleaved in random order, the first variant (the reference) in every
 * round, one pinned core, warm-up, timer cost subtracted, wall and CPU time,
 * denormals flushed to zero. Absolute numbers are of this host and this run only.
 *
 * One process is one draw of where code and data lie (addresses, pages, alignment), which
 * alone moves a time by several percent. So samples can be taken in several processes:
 * each takes its share of them, of all variants; then the median of each process counts
 * as one value, and intervals are of those values.
 *
 * Source: docs/measurement.md; MLPerf LoadGen, Reddi et al., ISCA 2020,
 *         arXiv:1911.02549; interval of a median, Conover, Practical
 *         Nonparametric Statistics, 1999, section 3.2; layouts, Mytkowicz et al.,
 *         ASPLOS 2009, doi:10.1145/1508244.1508275, and Curtsinger & Berger, ASPLOS 2013,
 *         doi:10.1145/2451116.2451141.
 */
#ifndef PQ_METRICS_LATENCY_H
#define PQ_METRICS_LATENCY_H

#include <string.h>

#include "core/param.h"
#include "core/progress.h"

/** Runs the work once. `input` counts up, so that the variant can rotate over distinct
 * inputs. `after` is 0; where calls wait for each other the processor knows so only once
 * the output before is there, and what the work reads has to depend on it, by as little
 * as an address that it is added to. Returns bits that depend on the output: as a whole
 * number, which an address can be made of without a way through the registers of floats.
 */
typedef uint32_t (*pq_timed)(void *context, size_t input, size_t after);

/** Bits of an output, as pq_timed returns them. */
static inline uint32_t pq_timed_bits(const float *y)
{
    uint32_t bits;

    memcpy(&bits, y, sizeof bits);
    return bits;
}

/** Distinct inputs that calls go round: as many as lie in half of the first-level data
 * cache, so that hot calls find theirs there; at most 1024, and at least 16 events in 4
 * calls, or what 64 MiB hold.
 * @param[in]  batch  events of a call, >= 1
 * @param[in]  item   floats of an event, >= 1 */
size_t pq_timed_inputs(size_t batch, size_t item);

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

/** What one process took of one variant, in the order of time; seconds a call. Owns. */
typedef struct {
    size_t  calls;   /**< per sample */
    size_t  n;       /**< samples */
    size_t  n_shots; /**< single calls */
    size_t  n_cold[PQ_COLD_STATES];
    double *wall, *cpu, *chain; /**< [n] */
    double *shots;              /**< [n_shots] */
    double *cold[PQ_COLD_STATES];
    long    switches; /**< involuntary, while throughput was sampled */
} pq_taken;

/** What one process took of all variants, in the same sweeps. Owns. {0} is none. */
typedef struct {
    size_t    n;       /**< variants */
    pq_taken *of;      /**< [n]; the first is the reference */
    double    timer_s; /**< cost of an empty timer pair that was subtracted */
    bool      pinned;  /**< or was not to be */
    long      process; /**< its number in the system */
} pq_takes;

/** Medians of one variant in one process. */
typedef struct {
    long   process;
    size_t samples;
    double throughput_s, ratio;
} pq_timing_part;

/** Results of one variant; times are seconds a call. Owns samples, shots, cold and parts.
 * Of several processes "median over samples" is the median of their medians. */
typedef struct {
    double throughput_s; /**< median over samples: independent calls back to back */
    double throughput_lo,
        throughput_hi; /**< 95 % interval of the median, by order statistics: of the
                          samples of one process, or of the medians of several */
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
    size_t  n_parts;              /**< processes */
    pq_timing_part *parts;        /**< [n_parts], in the order of the samples */
    bool            noisy;        /**< see `why` */
    char            why[96];      /**< "cpu/wall 0.71 is below 0.9", … or "" */
} pq_timing;

/**
 * Takes the samples of one process.
 *
 * @param[in]  variants  [n], n >= 1; the first is the reference
 * @param[in]  seed      of the order (stream "order")
 * @param[in]  progress  told of rounds, or NULL
 * @param[out] out       caller frees with pq_takes_free; untouched on failure
 *
 * @retval PQ_ERR_RANGE  No variants, or an option out of its range.
 * @retval PQ_ERR_NOMEM  Out of memory.
 */
pq_status pq_latency_take(const pq_variant *variants, size_t n,
                          const pq_latency_options *options, uint64_t seed,
                          const pq_progress *progress, pq_takes *out, pq_err *err);
void      pq_takes_free(pq_takes *takes);

/** The share of process `part` of `parts` in what is to be timed; all shares together
 * take that, and at least two samples and one round each. */
pq_latency_options pq_latency_share(const pq_latency_options *options, size_t part,
                                    size_t parts);

/**
 * What the samples of one process or of several say.
 *
 * @param[in]  takes    [parts] of the same variants, parts >= 1
 * @param[out] results  [variants], caller frees each with pq_timing_free; untouched on
 *                      failure
 * @retval PQ_ERR_NOMEM  Out of memory.
 */
pq_status pq_latency_conclude(const pq_takes *takes, size_t parts, pq_timing *results,
                              pq_err *err);

/**
 * Times the variants against each other in this process. results[0] is the reference.
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
