/**
 * @file
 * What a compression method is: one file, one word in compress/meson.build.
 *
 * A method gets a graph (a copy of its own), the nodes the user selected and
 * its parameters, and changes those nodes: puts factors in their place, sets
 * quantizers, or zeroes weights. Activations come as calibration statistics.
 */
#ifndef PQ_COMPRESS_METHOD_H
#define PQ_COMPRESS_METHOD_H

#include "compress/cache.h"
#include "compress/calib.h"
#include "core/progress.h"
#include "data/dataset.h"
#include "graph/graph.h"
#include "train/train.h"

/** What happened to one layer; for the record and the per-layer report. */
typedef struct {
    char layer[64];
    char what[256];    /**< "rank 8 of 32", "dense kept: rank 20 is not below
                          break-even 12.8" */
    char missed[128];  /**< what was asked for and is out of reach, and what was reached:
                          "ratio 1000 not reached: 12.3"; or "" */
    bool   infeasible; /**< what was missed is a bound: the model is of no use */
    double error;      /**< |W - W'|_F / |W|_F of the kernel, or of all cores; NAN */
    size_t bytes_before,
        bytes_after; /**< stored, of all factors; filled by pq_stage_apply; 0 in further
                        changes of a layer */
    uint64_t macs_before, macs_after;
} pq_layer_change;

/** Events that a stage trains on; borrowed. */
typedef struct {
    pq_dataset *dataset;
    size_t      train; /**< split */
    size_t validation; /**< another split, or SIZE_MAX: part of `train` is set aside */
    pq_dataset     *watched; /**< whose split `validation` is, or NULL: of `dataset` */
    size_t          threads; /**< 0 = all cores; never changes the result */
    const pq_graph *teacher; /**< the network before the first stage, checked, or NULL */
    const char     *checkpoint; /**< file to resume from, kept up to date, or NULL; one of
                                   another run is written over */
    /** Told once of a training that ended, whole history included, or NULL. */
    void (*done)(void *context, const pq_graph *trained, const pq_train_summary *summary);
    void *context;
} pq_training;

/** Told of the values [n, shape] of one node on the next n events. */
typedef pq_status (*pq_bench_seen)(void *context, size_t n, const float *values,
                                   pq_err *err);

/** Told of the slopes of one event's loss: train/slopes.h. */
typedef pq_status (*pq_bench_slopes)(void *context, const float *const *slope,
                                     pq_err *err);

/** What methods run networks on: calibration events and a clock. Borrowed. */
typedef struct {
    size_t events; /**< so many each time, the same in the same order; 0 = none given */
    /** Runs all events through a graph, whose shapes are filled, as far as one node;
     * batch by batch, so that memory does not grow with their number. */
    pq_status (*run)(void *context, const pq_graph *graph, size_t node,
                     pq_bench_seen seen, void *sink, pq_err *err);
    /** Seconds of one run of each of n checked graphs, timed alternately; or NULL. */
    pq_status (*time)(void *context, size_t n, const pq_graph *const *graphs,
                      double *seconds, pq_err *err);
    /** Statistics of a checked graph on the calibration events, as a stage with such
     * needs gets; caller frees. */
    pq_status (*calibrate)(void *context, const pq_graph *graph, unsigned needs,
                           pq_calib **out, pq_err *err);
    /** Seconds of one event in generated C of a checked graph: the larger of a call that
     * waits for the one before, and the median of single calls.
     * @param[in] logits  without a softmax at the end
     * @retval PQ_ERR_UNSUPPORTED  There is no compiler, or no generated form. */
    pq_status (*call)(void *context, const pq_graph *graph, bool logits, double *seconds,
                      pq_err *err);
    void *context;
    /** Gradient of the loss, event by event, by the weights of a checked graph. */
    pq_status (*slopes)(void *context, const pq_graph *graph, pq_bench_slopes seen,
                        void *sink, pq_err *err);
} pq_bench;

/** Everything a method works with. Borrowed but for `changes`, which apply appends to. */
typedef struct {
    pq_graph *graph; /**< to be changed */
    size_t n_nodes;  /**< selected nodes that the method accepts, by name: indices move */
    const char *const *nodes;  /**< [n_nodes] */
    const char        *layers; /**< the glob that selected them, or NULL: all */
    const void        *params; /**< the method's own struct */
    const pq_calib
             *calib; /**< statistics of the graph's nodes, or NULL if not asked for */
    pq_cache *cache; /**< factorisations shared by a sweep, or NULL */
    const pq_training *training; /**< or NULL if not asked for */
    const pq_bench    *bench;    /**< has what was asked for; NULL if nothing was */
    uint64_t           seed;     /**< 0 for a method that does not draw */
    size_t             n_features;
    const char *const *features; /**< [n_features] names in the events at hand, or NULL */
    const pq_progress *progress;

    size_t           n_changes;
    pq_layer_change *changes;
} pq_compress_task;

/** What a method needs beyond the graph. */
enum {
    PQ_NEEDS_RANGES = 1 << 0, /**< minimum, maximum and histogram of each node's output */
    PQ_NEEDS_GRAMS =
        1 << 1, /**< Gram matrix of each selected node's input (im2col for conv) */
    PQ_NEEDS_STATISTICS = PQ_NEEDS_RANGES | PQ_NEEDS_GRAMS,
    PQ_NEEDS_EVENTS     = 1 << 3, /**< the calibration events themselves: pq_bench */
    PQ_NEEDS_CALIB      = PQ_NEEDS_STATISTICS | PQ_NEEDS_EVENTS, /**< any such events */
    PQ_NEEDS_TRAINING   = 1 << 2, /**< events to train on: pq_training */
    PQ_NEEDS_TIMES = 1 << 4, /**< measured times: pq_bench; results then depend on the
                                host */
    PQ_NEEDS_CALLS = 1 << 5, /**< times of generated C: pq_bench; then depend on its
                                compiler too */
};

/** What of the stages before it a method leaves in the layers it works on; what it does
 * not leave it says in its changes (pq_note_undone). */
enum {
    PQ_KEEPS_GRIDS       = 1 << 0, /**< weights stay on a grid: their own, or a new one */
    PQ_KEEPS_ZEROS       = 1 << 1, /**< pruned weights stay 0 */
    PQ_KEEPS_ACTIVATIONS = 1 << 2, /**< activations stay on a grid */
    PQ_KEEPS_ALL         = PQ_KEEPS_GRIDS | PQ_KEEPS_ZEROS | PQ_KEEPS_ACTIVATIONS,
    PQ_KEEPS_FRONT = 1 << 5, /**< needs the networks that a training left (graph->front),
                                which others drop */
    PQ_KEEPS_REFUSES = 1 << 3, /**< refuses layers that have grids */
    PQ_KEEPS_REST = 1 << 4, /**< zeros leave with the channels that it takes out: those of
                                 the rest stay */
};

typedef struct {
    const char     *name;    /**< the stage name of the config: "svd" */
    const char     *summary; /**< one line */
    const char     *source;  /**< DOI or arXiv */
    const pq_param *params;
    size_t          params_size;
    const char *version; /**< of the numerics; part of the cell key; raise it when results
                            change */

    /** Whether random numbers enter with these parameters; NULL = never. Only then does
     * apply get a seed to draw from, and only then is the seed in the key and a cell
     * repeated. */
    bool (*draws)(const void *params);
    unsigned keeps; /**< PQ_KEEPS_… */

    /** Which PQ_NEEDS_* these parameters imply; NULL = none. */
    unsigned (*needs)(const void *params);

    /** Whether the parameters fit each other ("exactly one of rank and energy"); NULL =
     * always. */
    pq_status (*check)(const void *params, pq_err *err);

    /** Whether a node can be compressed by this method at all. */
    bool (*accepts)(const pq_graph *graph, const pq_node *node);

    /**
     * Does it. On failure the graph is thrown away by the caller.
     * Messages name the layer.
     */
    pq_status (*apply)(pq_compress_task *task, pq_err *err);
} pq_method;

/** All methods in a fixed order, NULL-terminated. */
extern const pq_method *const pq_methods[];

const pq_method *pq_method_find(const char *name);

/** One stage: a method with parameters and the layers it is for. Owns all but method. */
typedef struct {
    const pq_method *method;
    void            *params;
    char            *layers; /**< glob; NULL = every layer the method accepts */
    char *place; /**< "file:line:column" for messages, or NULL; part of no key */
} pq_stage;

/**
 * Layers a glob selects: by name, or by the name of the layer they are factors
 * of ("fc1" selects "fc1" and, after svd, "fc1.b").
 */
bool pq_stage_selects(const pq_stage *stage, const pq_graph *graph, const pq_node *node);

/**
 * Reads "name" or "name:key=value,key=value"; `layers=` is understood for every method
 * (alternatives of a glob are separated by `|` here, since commas separate keys); list
 * values are written [8,4]. The stage is checked too (pq_stage_check).
 *
 * @retval PQ_ERR_CONFIG  Unknown method or key, with "did you mean"; a key given twice.
 * @retval PQ_ERR_RANGE   A value outside its range.
 */
pq_status pq_stage_parse(const char *text, pq_stage *out, pq_err *err);

/** Stage with default parameters; they need not pass pq_stage_check. */
pq_status pq_stage_create(const char *method, pq_stage *out, pq_err *err);
void      pq_stage_free(pq_stage *stage);

/** Whether random numbers enter the stage. */
bool pq_stage_draws(const pq_stage *stage);

/** For methods that always draw. */
bool pq_draws_always(const void *params);

/** What parameters together must fulfil (pq_method.check), with the stage's name in the
 * message. */
pq_status pq_stage_check(const pq_stage *stage, pq_err *err);

/** Canonical text with every default filled in, which pq_stage_parse reads back: what
 * enters a cell key. */
void pq_stage_print(const pq_stage *stage, pq_text *out);

/** What apply needs beyond the graph; fields may be NULL. */
typedef struct {
    const pq_calib    *calib;
    pq_cache          *cache;
    const pq_training *training;
    const pq_bench    *bench;
    uint64_t           seed;
    size_t             n_features;
    const char *const *features; /**< [n_features] names in the events at hand */
    const pq_progress *progress;
} pq_apply_options;

/**
 * Applies a stage to a copy of the graph.
 *
 * @param[out] out        the new graph, checked, with the step noted in its provenance
 * @param[out] changes    [*n_changes], caller frees with pq_free
 * @retval PQ_ERR_CONFIG  The glob selects nothing the method accepts (layers are listed),
 * or calibration is missing.
 */
pq_status pq_stage_apply(const pq_stage *stage, const pq_graph *graph,
                         const pq_apply_options *options, pq_graph **out,
                         pq_layer_change **changes, size_t *n_changes, pq_err *err);

/** Appends a change to the task. For methods. */
pq_status pq_task_change(pq_compress_task *task, const char *layer, double error,
                         const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/** Notes what was asked for and not reached, also in what the change says. For methods.
 */
void pq_change_miss(pq_layer_change *change, const char *asked, double due,
                    double reached);

/** Appends to what a change says. For methods. */
void pq_change_add(pq_layer_change *change, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
