/**
 * @file
 * What the low-rank methods share: how a rank is chosen, and putting a chain of
 * factors in a layer's place. For compress only.
 */
#ifndef PQ_COMPRESS_LOWRANK_H
#define PQ_COMPRESS_LOWRANK_H

#include "compress/budget.h"
#include "compress/method.h"

typedef enum { PQ_RUN_FACTORISED, PQ_RUN_RECONSTRUCTED, PQ_RUN_AUTO } pq_run_as;

/** What a budget counts. */
typedef enum {
    PQ_BUDGET_PARAMETERS,
    PQ_BUDGET_MACS,
    PQ_BUDGET_MICROSECONDS
} pq_budget_unit;

/** How ranks are chosen; exactly one of rank, energy, epsilon, evbmf, ratio,
 * target_sparsity, budget is given. */
typedef struct {
    int64_t rank;
    double  energy, epsilon;
    bool    evbmf;
    double  weaken;
    double  ratio, target_sparsity;
    double  budget;
    int     budget_unit; /**< pq_budget_unit */
    int64_t align;
    bool    keep_dense, clip_rank, fold;
    int     run_as; /**< pq_run_as */
} pq_rank_params;

extern const char *const pq_run_as_names[], *const pq_budget_unit_names[];

/** Rows of a parameter table for member `m`, a pq_rank_params, of struct `owner`. */
#define PQ_RANK_ROWS(owner, m)                                                           \
    {.name   = "rank",                                                                   \
     .type   = PQ_PARAM_INT,                                                             \
     .offset = offsetof(owner, m.rank),                                                  \
     .min    = 1,                                                                        \
     .max    = 1048576,                                                                  \
     .help   = "components kept in each layer"},                                           \
        {.name   = "energy",                                                             \
         .type   = PQ_PARAM_REAL,                                                        \
         .offset = offsetof(owner, m.energy),                                            \
         .min    = 0,                                                                    \
         .max    = 1,                                                                    \
         .help   = "keep the fewest components whose squares sum to this fraction of "   \
                   "all"},                                                                 \
        {.name   = "epsilon",                                                            \
         .type   = PQ_PARAM_REAL,                                                        \
         .offset = offsetof(owner, m.epsilon),                                           \
         .min    = 0,                                                                    \
         .max    = 1,                                                                    \
         .help   = "keep the fewest components with |W - W'| <= epsilon |W|"},             \
        {.name     = "evbmf",                                                            \
         .type     = PQ_PARAM_BOOL,                                                      \
         .offset   = offsetof(owner, m.evbmf),                                           \
         .fallback = "false",                                                            \
         .help     = "keep the components that stand out of noise (Nakajima 2013)"},         \
        {.name     = "weaken",                                                           \
         .type     = PQ_PARAM_REAL,                                                      \
         .offset   = offsetof(owner, m.weaken),                                          \
         .fallback = "0",                                                                \
         .min      = 0,                                                                  \
         .max      = 1,                                                                  \
         .help     = "with evbmf: this part of the way from its rank to the full one"},      \
        {.name   = "ratio",                                                              \
         .type   = PQ_PARAM_REAL,                                                        \
         .offset = offsetof(owner, m.ratio),                                             \
         .min    = 1,                                                                    \
         .max    = 1000000,                                                              \
         .help   = "each layer's values before over after: the largest rank that "       \
                   "reaches it, else rank 1, and what that reaches is told"},              \
        {.name   = "target_sparsity",                                                    \
         .type   = PQ_PARAM_REAL,                                                        \
         .offset = offsetof(owner, m.target_sparsity),                                   \
         .min    = 0,                                                                    \
         .max    = 0.999999,                                                             \
         .help   = "part of each layer's values that is saved: ratio = 1 / (1 - it), "   \
                   "with the same answer to what is out of reach"},                        \
        {.name   = "budget",                                                             \
         .type   = PQ_PARAM_REAL,                                                        \
         .offset = offsetof(owner, m.budget),                                            \
         .min    = 1,                                                                    \
         .max    = 1000000,                                                              \
         .help   = "values (or operations, or time) of all selected layers before over " \
                   "after; ranks are shared out greedily; out of reach all get the "     \
                   "smallest, and what that reaches is told"},                             \
        {.name     = "budget_unit",                                                      \
         .type     = PQ_PARAM_CHOICE,                                                    \
         .offset   = offsetof(owner, m.budget_unit),                                     \
         .fallback = "parameters",                                                       \
         .choices  = pq_budget_unit_names,                                               \
         .help     = "what the budget counts; microseconds are measured on this host"},      \
        {.name     = "align",                                                            \
         .type     = PQ_PARAM_INT,                                                       \
         .offset   = offsetof(owner, m.align),                                           \
         .fallback = "1",                                                                \
         .min      = 1,                                                                  \
         .max      = 64,                                                                 \
         .help     = "round ranks to a multiple, e.g. 8 for SIMD: down where a size is " \
                     "the goal (as far as there is one), else up"},                          \
        {.name     = "keep_dense",                                                       \
         .type     = PQ_PARAM_BOOL,                                                      \
         .offset   = offsetof(owner, m.keep_dense),                                      \
         .fallback = "true",                                                             \
         .help     = "leave a layer as it is where the factors would not be smaller"},       \
        {.name     = "clip_rank",                                                        \
         .type     = PQ_PARAM_BOOL,                                                      \
         .offset   = offsetof(owner, m.clip_rank),                                       \
         .fallback = "false",                                                            \
         .help     = "take a layer's full rank where `rank` is above it, instead of an " \
                     "error"},                                                               \
        {.name     = "fold",                                                             \
         .type     = PQ_PARAM_BOOL,                                                      \
         .offset   = offsetof(owner, m.fold),                                            \
         .fallback = "false",                                                            \
         .help     = "fold BatchNorm into a kernel before it is factored"},                  \
    {                                                                                    \
        .name = "run_as", .type = PQ_PARAM_CHOICE, .offset = offsetof(owner, m.run_as),  \
        .fallback = "factorised", .choices = pq_run_as_names,                            \
        .help = "factorised, reconstructed into one kernel, or auto: whichever is "      \
                "measured faster"                                                        \
    }

/** Rows for members `whiten` and `bias_correction`, bools, of struct `owner`. */
#define PQ_WHITEN_ROWS(owner)                                                            \
    {.name     = "whiten",                                                               \
     .type     = PQ_PARAM_BOOL,                                                          \
     .offset   = offsetof(owner, whiten),                                                \
     .fallback = "false",                                                                \
     .help     = "keep the outputs on calibration events instead of the weights: "       \
                 "`energy` and `epsilon` are theirs, too"},                                  \
    {                                                                                    \
        .name = "bias_correction", .type = PQ_PARAM_BOOL,                                \
        .offset = offsetof(owner, bias_correction), .fallback = "true",                  \
        .help = "with whiten: move the mean of what is lost into the bias"               \
    }

/** A kernel whose outputs are to be kept; owns all but gram. {0} is empty: whiten is
 * off. */
typedef struct {
    const pq_calib_gram *gram;
    pq_tensor           *wide;    /**< the kernel, float64 */
    pq_tensor           *moments; /**< of its input, or the covariance */
} pq_whiten;

/** @retval PQ_ERR_CONFIG  No calibration event reached the layer. */
pq_status pq_whiten_open(const pq_compress_task *task, const char *name,
                         const pq_tensor *kernel, bool centred, pq_whiten *out,
                         pq_err *err);
void      pq_whiten_free(pq_whiten *w);

/** Whether exactly one rule is given; `extra` rules of the method's own, named "ranks, ",
 * are counted in.
 * @retval PQ_ERR_CONFIG  None or several. */
pq_status pq_rank_check(const pq_rank_params *p, size_t extra, const char *names,
                        pq_err *err);

/** PQ_NEEDS_TIMES where the parameters ask for measured times, else 0. */
unsigned pq_rank_needs(const pq_rank_params *p);

/** The ratio that is asked for, by `ratio` or `target_sparsity`; NAN if none is. */
double pq_rank_ratio(const pq_rank_params *p);

/** The multiple of `step` at or above a rank, `full` at most. */
size_t pq_rank_up(size_t rank, int64_t step, size_t full);

/** The multiple of `step` at or below a rank; the rank itself where that is 0. */
size_t pq_rank_down(size_t rank, int64_t step);

/** A factored matrix [m, n], as its rank is chosen. */
typedef struct {
    size_t        m, n, full; /**< full = min(m, n) */
    const double *s;          /**< [full] descending; NULL allowed with rank and ratio */
    size_t        known;      /**< how many of s are there if not all; 0 = all */
    double        square;     /**< sum of all s_i^2, where not all are known */
    double        lack;       /**< bound on what the known s_i^2, added up, lack of it */
} pq_spectrum;

/**
 * Whether the known values tell the rank that is asked for.
 *
 * @param[out] more  if not: how many at least it takes, above known, at most full
 */
bool pq_rank_is_told(const pq_rank_params *p, const pq_spectrum *spectrum, size_t *more);

/**
 * Rank of a matrix that becomes factors of r (m + n) values, in 1 .. full.
 * @retval PQ_ERR_RANGE  `rank` is above `full` and clip_rank is off.
 */
pq_status pq_rank_choose(const pq_rank_params *p, const pq_spectrum *spectrum,
                         size_t *rank, pq_err *err);

/** Rank of a spectrum by EVBMF and `weaken`, in 1 .. full. */
size_t pq_rank_of_noise(const pq_rank_params *p, const pq_spectrum *spectrum);

/** The error that `epsilon` or `energy` allows; NAN if neither is given. */
double pq_rank_epsilon(const pq_rank_params *p);

/** Whether choosing needs the singular values. */
bool pq_rank_needs_spectrum(const pq_rank_params *p);

/** A tensor unfolded at an axis, [m, n]; owns both. {0} is empty. */
typedef struct {
    size_t     m, n;
    pq_tensor *u; /**< float64 [m, min(m, n)], left singular vectors */
    pq_tensor *s; /**< float64 [min(m, n)], singular values, descending */
} pq_side;

/** Whether all values are 0 or more, as singular values are: what a cache gives back is
 * input. */
bool pq_is_spectrum(const pq_tensor *s);

/** Looks an unfolding's singular vectors up in the cache (may be NULL), or finds and
 * keeps them: one decomposition serves every rank. */
pq_status   pq_side_open(pq_cache *cache, const pq_tensor *t, size_t axis, pq_side *out,
                         pq_err *err);
void        pq_side_free(pq_side *side);
pq_spectrum pq_side_spectrum(const pq_side *side);

/** Lost part of the squares where the first r of n values are kept. */
double pq_lost_part(const double *s, size_t n, size_t r);

/** Layer of a kind with a kernel; takes the tensor, also on failure. */
pq_status pq_factor_layer(const char *kind, pq_tensor *kernel, pq_layer **out,
                          pq_err *err);

/** Convolution whose kernel, of that shape, is a factor [n, r], or (transposed) [r, n].
 */
pq_status pq_factor_conv(const pq_tensor *factor, bool transposed, pq_shape shape,
                         pq_layer **out, pq_err *err);

/**
 * Puts a chain in a node's place; its first layers get "<name>.b", "<name>.c", …, the
 * last keeps the name. Takes the layers, also on failure.
 *
 * @param[in] shift  [outputs] added to the bias (which is made if needed), or NULL
 */
pq_status pq_chain_replace(pq_graph *graph, size_t node, size_t n, pq_layer **layers,
                           const double *shift, pq_err *err);

/** Puts another kernel of the same shape into a node, in place. Takes the tensor; drops
 * the kernel's quantizer. */
pq_status pq_kernel_replace(pq_graph *graph, size_t node, pq_tensor *kernel,
                            const double *shift, pq_err *err);

/** Adds to the bias of a layer with `outputs` outputs; makes it where there is none. */
pq_status pq_bias_shift(pq_layer *layer, size_t outputs, const double *shift,
                        pq_err *err);

/** Folds BatchNorm into the kernels of the task's nodes. */
pq_status pq_task_fold(pq_compress_task *task, pq_err *err);

/** What a low-rank method does to one layer. */
typedef struct {
    size_t params_size; /**< of the method's parameters, all plain values */

    /** Adds what the layer may become under a budget (pq_share_add). */
    pq_status (*offer)(pq_compress_task *task, const char *name, pq_share *share,
                       pq_err *err);

    /** Factors the layer; `rank` is one of those offered, or 0: by the parameters. */
    pq_status (*apply)(pq_compress_task *task, const char *name, size_t rank,
                       pq_err *err);
} pq_lowrank_steps;

/** Applies a method to every node of the task (BatchNorm folded before, if asked for,
 * and a budget shared out), with progress and the layer in messages. */
pq_status pq_lowrank_apply(pq_compress_task *task, const pq_rank_params *p,
                           const pq_lowrank_steps *steps, pq_err *err);

/** Pixels that the parts of a node's chain compute, for counts of operations. */
typedef struct {
    double in;   /**< of the input: a 1 x 1 convolution before the window */
    double rows; /**< after the rows of the window alone */
    double out;  /**< of the output; of a dense layer all three are its rows */
} pq_pixels;

pq_pixels pq_pixels_of(const pq_graph *graph, size_t node);

/** Hash of a kind of factorisation and what goes into it, for pq_cache. */
void pq_factor_key(const char *what, size_t n, const pq_tensor *const *inputs,
                   char key[65]);

/** Values of a layer's kernel, or of all factors that it holds in its place. */
size_t pq_kernel_values(const pq_layer *layer);

/** Whether a node is dense, or conv2d in one group. */
bool pq_accepts_kernel(const pq_graph *graph, const pq_node *node);

/** Notes that a layer stays as it is, since `after` values are no fewer than `before`. */
pq_status pq_note_dense(pq_compress_task *task, const char *name, const char *ranks,
                        size_t before, size_t after, pq_err *err);

#endif
