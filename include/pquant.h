/**
 * @file
 * libpquant: load a trained network, compress it, evaluate original against
 * compressed, save it. The program `pquant` does the same and more.
 *
 * Every call that can fail returns NULL or a non-zero number and leaves one
 * sentence in pquant_error(), its kind in pquant_error_status(), and, where they are
 * known, what to do and the place in a file. Objects belong to the caller, who frees
 * them. Different objects may be used from different threads; errors are per thread.
 * docs/c-api.md shows how the calls go together.
 *
 *     cc app.c $(pkg-config --cflags --libs pquant)
 */
#ifndef PQUANT_H
#define PQUANT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define PQUANT_API __attribute__((visibility("default")))
#else
#define PQUANT_API
#endif

/** A model; opaque. */
typedef struct pquant_model pquant_model;

/** Events with labels; opaque. */
typedef struct pquant_data pquant_data;

/** Version of the library, "0.1.0". */
PQUANT_API const char *pquant_version(void);

/** The last failure of this thread, one sentence; "" when nothing failed. */
PQUANT_API const char *pquant_error(void);

/** Kinds of failures. */
typedef enum {
    PQUANT_OK,
    PQUANT_NO_MEMORY,
    PQUANT_BAD_SHAPE,
    PQUANT_OUT_OF_RANGE,
    PQUANT_NUMERIC, /**< NaN, infinity, or no convergence */
    PQUANT_IO,
    PQUANT_NO_ACCESS,
    PQUANT_NOT_FOUND,
    PQUANT_BAD_FILE,
    PQUANT_BAD_CONFIG,
    PQUANT_UNSUPPORTED,
    PQUANT_INTERRUPTED,
} pquant_status;

/** Kind of the last failure of this thread; PQUANT_OK when nothing failed. */
PQUANT_API pquant_status pquant_error_status(void);

/** What to do about it, one sentence, or "". */
PQUANT_API const char *pquant_error_hint(void);

/**
 * Where in a user's file it is, if its sentence begins with a place ("net.yaml:12:5: …").
 * @param[out] file    [size], cut where it is longer
 * @param[in]  size    at least 1
 * @param[out] line    from 1; 0: none
 * @param[out] column  from 1; 0: none
 * @return whether there is such a place
 */
PQUANT_API int pquant_error_place(char *file, size_t size, int *line, int *column);

/** Frees a text that a call gave; NULL is harmless. */
PQUANT_API void pquant_text_free(char *text);

/** Types of items of an array. */
typedef enum {
    PQUANT_FLOAT32,
    PQUANT_FLOAT64,
    PQUANT_INT8,
    PQUANT_UINT8,
    PQUANT_INT16,
    PQUANT_UINT16,
    PQUANT_INT32,
    PQUANT_UINT32,
    PQUANT_INT64,
} pquant_dtype;

enum {
    PQUANT_AXES = 9 /**< most axes of an array: eight of a sample, and the samples */
};

/** An array that is somebody else's: borrowed for the call, or as long as what is made of
 * it says. */
typedef struct {
    void        *data;
    pquant_dtype dtype;
    size_t       ndim;
    size_t       shape[PQUANT_AXES];
    ptrdiff_t    strides[PQUANT_AXES]; /**< bytes from item to item along an axis; all 0:
                                          row-major without gaps */
} pquant_array;

/**
 * Told how far work is, at most every 50 ms, from the thread that called.
 * @param[in] what   "events", "epochs", …
 * @param[in] note   short text, or NULL
 * @return non-zero to cancel: the call then fails with PQUANT_INTERRUPTED
 */
typedef int (*pquant_progress)(void *context, const char *what, size_t done, size_t total,
                               const char *note);

/** Told of what a stage did to a layer. */
typedef void (*pquant_changed)(void *context, const char *method, const char *layer,
                               const char *what);

/** Options of the longer calls; set `size` to sizeof, the rest to 0 or NULL for the
 * usual. */
typedef struct {
    size_t       size;
    uint64_t     seed;    /**< of whatever is random; 0 = 42 */
    size_t       threads; /**< 0 = all cores, at most 1024; never changes a result */
    const char  *engine;  /**< "float32", "int8", "reference", …; NULL = the first */
    pquant_data *calib;   /**< calibration events, never those of results */
    size_t       calib_events;   /**< 0 = 1000 */
    pquant_data *train;          /**< training events */
    const pquant_model *teacher; /**< for distillation; NULL = the model before */
    pquant_progress     progress;
    pquant_changed      changed;
    void               *context; /**< of both */
    volatile int       *cancel;  /**< set to 1 from anywhere: the call soon fails with
                                    PQUANT_INTERRUPTED and leaves nothing half-done */
    pquant_data *validation;     /**< events that training watches; NULL = the split "val"
                                    beside `train`, else a share of those is set aside */
    int negative_weights; /**< 1: events that a model is evaluated on may have negative
                             weights, as generators of next-to-leading order give them;
                             0: such a weight is an error */
} pquant_options;

/**
 * Loads a model file of any format that `pquant formats` lists.
 * @param[in] path  model file
 * @param[in] arch  architecture JSON beside a weights-only file, or NULL
 * @return the model, or NULL
 */
PQUANT_API pquant_model *pquant_model_load(const char *path, const char *arch);

/**
 * As pquant_model_load(), of a model with several outputs, of which one is read; layers
 * that only the others need are left out.
 * @param[in] path    model file
 * @param[in] arch    architecture JSON beside a weights-only file, or NULL
 * @param[in] output  its name, or its number from "0" on; NULL: the model has but one
 * @return the model, or NULL: PQUANT_BAD_CONFIG where there is no such output, where it
 * is NULL and there are several, or where models of the file's format have but one
 */
PQUANT_API pquant_model *pquant_model_load_output(const char *path, const char *arch,
                                                  const char *output);

/** Saves in our own format, atomically. @return 0, or non-zero on failure */
PQUANT_API int pquant_model_save(const pquant_model *model, const char *path);

/** Frees; NULL is harmless. */
PQUANT_API void pquant_model_free(pquant_model *model);

/**
 * Names the outputs, where the model's file does not.
 * @param[in] classes  "g,q,w,z,t"
 * @return 0, or non-zero on failure
 */
PQUANT_API int pquant_model_set_classes(pquant_model *model, const char *classes);

/**
 * Says what the outputs mean, where the last layer does not tell.
 * @param[in] head  "softmax", "logits", "sigmoid", "binary" or "none"
 * @return 0, or non-zero on failure
 */
PQUANT_API int pquant_model_set_head(pquant_model *model, const char *head);

/** Bytes of all weights at their bit width, with scales and indices. */
PQUANT_API size_t pquant_model_stored_bytes(const pquant_model *model);

/** Values in all weights, BatchNorm statistics included. */
PQUANT_API size_t pquant_model_parameters(const pquant_model *model);

/** Multiply-accumulates of one sample. */
PQUANT_API unsigned long long pquant_model_macs(const pquant_model *model);

/** How many inputs the model has. */
PQUANT_API size_t pquant_model_inputs(const pquant_model *model);

/**
 * Shape of one sample of input `input`, or with SIZE_MAX of the output; images are
 * [height, width, channels].
 * @param[out] dims  [8]
 * @return how many axes there are; 0: no such input
 */
PQUANT_API size_t pquant_model_shape(const pquant_model *model, size_t input,
                                     size_t *dims);

/**
 * Runs n samples as they are: a scaler of the model is not applied.
 * @param[in]  engine  "float32", "reference", …, or NULL for the first
 * @param[in]  inputs  one a graph input, each [n, shape]
 * @param[out] output  [n, output's shape]
 * @return 0, or non-zero on failure
 */
PQUANT_API int pquant_predict(const pquant_model *model, const char *engine, size_t n,
                              const float *const *inputs, float *output);

/**
 * Structure as JSON, the graph of docs/file-formats.md; each weight says its shape, its
 * quantizer (`quant`) and whether it is pruned (`pruned`), each layer the shape of one
 * sample (`shape`), and the model its scaler (`scaler`).
 * @return a text that the caller frees with pquant_text_free(), or NULL
 */
PQUANT_API char *pquant_model_describe(const pquant_model *model);

/**
 * A weight as it is computed with, on its grid where it is quantized.
 * @param[in]  layer  name of the layer
 * @param[in]  name   "kernel", "bias", …
 * @param[out] out    float32, borrowed from the model: as long as it lives; only to read
 * @return 0, or non-zero on failure
 */
PQUANT_API int pquant_model_weight(const pquant_model *model, const char *layer,
                                   const char *name, pquant_array *out);

/** A weight by name. */
typedef struct {
    const char  *layer, *name;
    pquant_array value; /**< copied */
} pquant_named_array;

/**
 * The same model with other values in some of its weights. Those with a quantizer are put
 * onto its grid; pruned items stay zero.
 * @param[in] n        how many weights
 * @param[in] weights  [n], of the shapes they have
 * @return a new model, or NULL
 */
PQUANT_API pquant_model *pquant_model_with_weights(const pquant_model *model, size_t n,
                                                   const pquant_named_array *weights);

/** A model in the making; opaque. */
typedef struct pquant_builder pquant_builder;

/** @return an empty one, or NULL */
PQUANT_API pquant_builder *pquant_builder_create(void);

/** Frees; NULL is harmless. */
PQUANT_API void pquant_builder_free(pquant_builder *builder);

/**
 * Adds an input.
 * @param[in] shape  [ndim] of one sample; images are [height, width, channels]
 * @return 0, or non-zero on failure
 */
PQUANT_API int pquant_builder_input(pquant_builder *builder, const char *name,
                                    size_t ndim, const size_t *shape);

/**
 * Adds a layer, which is the output until the next one.
 * @param[in] kind        as `pquant layers` lists them
 * @param[in] name        a name of its own
 * @param[in] inputs      [n] names of earlier layers; n = 0: the layer before
 * @param[in] attributes  "stride_h=2,padding=same", or NULL
 * @return 0, or non-zero on failure
 */
PQUANT_API int pquant_builder_layer(pquant_builder *builder, const char *kind,
                                    const char *name, size_t n, const char *const *inputs,
                                    const char *attributes);

/**
 * Gives the layer that was added last a weight, which is copied. Kernels of `dense` are
 * [outputs, inputs], of `conv2d` [outputs, height, width, inputs / groups].
 * @return 0, or non-zero on failure
 */
PQUANT_API int pquant_builder_weight(pquant_builder *builder, const char *name,
                                     const pquant_array *value);

/** Checks shapes and makes the model; the builder is empty afterwards. @return the model,
 * or NULL */
PQUANT_API pquant_model *pquant_builder_finish(pquant_builder *builder);

/** A model made ready to run; opaque. Used from one thread at a time. */
typedef struct pquant_plan pquant_plan;

/**
 * Plans a model, which may be changed or freed afterwards.
 * @param[in] options  engine and threads count; or NULL
 * @return the plan, or NULL
 */
PQUANT_API pquant_plan *pquant_plan_create(const pquant_model   *model,
                                           const pquant_options *options);

/** Frees; NULL is harmless. */
PQUANT_API void pquant_plan_free(pquant_plan *plan);

/**
 * Runs samples as they are: a scaler of the model is not applied. Row-major float32
 * arrays are read and written where they are, others through small copies.
 * @param[in] inputs  one a graph input, each [n, shape]; the axes of a sample may be cut
 * in another way
 * @param[in] output  float32, [n, output's shape], row-major
 * @return 0, or non-zero on failure
 */
PQUANT_API int pquant_plan_predict(pquant_plan *plan, const pquant_array *inputs,
                                   const pquant_array *output);

/** Events in memory. */
typedef struct {
    const char  *name;   /**< of the split: "train", "val", … */
    pquant_array x;      /**< [n, sample], images [height, width, channels] */
    pquant_array y;      /**< [n] whole numbers: classes; data NULL = none, all are 0 */
    pquant_array weight; /**< [n], or data NULL: all are 1 */
} pquant_events;

/**
 * Events of arrays, which are borrowed until pquant_data_close() and read where they are.
 * The first split is the one that calls use.
 * @param[in] n        splits, 1 .. 16
 * @param[in] splits   [n]
 * @param[in] classes  "g,q,w,z,t", or NULL: as many as the largest label says
 * @return the events, or NULL
 */
PQUANT_API pquant_data *pquant_data_create(size_t n, const pquant_events *splits,
                                           const char *classes);

/** How many events the split has. */
PQUANT_API size_t pquant_data_events(const pquant_data *data);

/** Shape of one event. @param[out] dims  [8] @return how many axes there are */
PQUANT_API size_t pquant_data_shape(const pquant_data *data, size_t *dims);

/** How many classes there are, and the name of the i-th (NULL when out of range). */
PQUANT_API size_t      pquant_data_classes(const pquant_data *data);
PQUANT_API const char *pquant_data_class(const pquant_data *data, size_t i);

/**
 * Reads events first .. first + n - 1 as they are, no scaler applied.
 * @param[out] x  [n, sample]
 * @param[out] y  [n] class, or NULL
 * @return 0, or non-zero on failure
 */
PQUANT_API int pquant_data_read(pquant_data *data, size_t first, size_t n, float *x,
                                int32_t *y);

/**
 * Opens a split of a dataset.
 * @param[in] spec  "FILE[:SPLIT]" in any layout that pquant reads
 * @return the events, or NULL
 */
PQUANT_API pquant_data *pquant_data_open(const char *spec);

/** Closes; NULL is harmless. */
PQUANT_API void pquant_data_close(pquant_data *data);

/**
 * Makes the events' scaler the model's own, where it has none: without one it gets events
 * as they are.
 * @return 0, or non-zero on failure (the events carry no scaler)
 */
PQUANT_API int pquant_model_take_scaler(pquant_model *model, const pquant_data *data);

/**
 * Compresses by a list of methods, each applied to what the one before left.
 *
 * @param[in] model    unchanged
 * @param[in] methods  [n] as on the command line: "svd:rank=8", "quantize",
 * "prune:target_sparsity=0.9"
 * @param[in] n        at least 1
 * @param[in] calib    calibration events for methods that need them, else NULL; never the
 * events results are quoted on
 * @return a new model, or NULL
 */
PQUANT_API pquant_model *pquant_compress(const pquant_model *model,
                                         const char *const *methods, size_t n,
                                         pquant_data *calib);

/** The same with options, or NULL. Stages that train (finetune, distill) need
 * options->train. @return a new model, or NULL */
PQUANT_API pquant_model *pquant_compress_with(const pquant_model *model,
                                              const char *const *methods, size_t n,
                                              const pquant_options *options);

/**
 * Trains on from where the model is; zeros and grids stay.
 * @param[in] parameters  "epochs=5,lr=0.001" (`pquant help finetune`), or NULL
 * @param[in] options     `train` is needed
 * @return a new model, or NULL
 */
PQUANT_API pquant_model *pquant_finetune(const pquant_model   *model,
                                         const char           *parameters,
                                         const pquant_options *options);

/** The same towards the outputs of options->teacher. @return a new model, or NULL */
PQUANT_API pquant_model *pquant_distill(const pquant_model *model, const char *parameters,
                                        const pquant_options *options);

/**
 * The methods and their parameters, {"svd": {"summary": "…", "parameters": {"rank":
 * {"help": "…", "default": null}, …}}, …}, as JSON.
 * @return a text that the caller frees with pquant_text_free(), or NULL
 */
PQUANT_API char *pquant_methods(void);

/** One number with its one-sigma interval. */
typedef struct {
    const char *name; /**< "accuracy", "auc.macro", "stored_bytes", …; valid while the
                         list lives */
    double      value;
    double      lo, hi; /**< NaN where there is none */
    const char *unit;
} pquant_metric;

/** Numbers of one model on one set of events; opaque. */
typedef struct pquant_metrics pquant_metrics;

/** Evaluates with every metric. @return the numbers, or NULL */
PQUANT_API pquant_metrics *pquant_evaluate(pquant_model *model, pquant_data *data);

/** The same with options, or NULL. @return the numbers, or NULL */
PQUANT_API pquant_metrics *pquant_evaluate_with(pquant_model *model, pquant_data *data,
                                                const pquant_options *options);

/**
 * Flavour tagging with the discriminant ln(p_b / (f_c p_c + (1 - f_c) p_light)). At b
 * efficiencies of 60, 65, 70, 77, 85 and 90 %: the efficiency achieved,
 * `btag.70.efficiency`, the cut, `btag.70.cut`, and `btag.70.rejection_light`, `_c`,
 * `_tau`. At mistag rates of 10, 1 and 0.1 % of each background (light, c): the
 * efficiency of b, `btag.light.0.01.efficiency`, its cut, the mistag rate achieved, and
 * the rejection of the other. `btag.distinct`: how many different scores there are.
 * pquant_evaluate_with gives the same with f_c = 0.018 where classes are b, light (and c,
 * tau).
 * @param[in] f_c      share of c in the discriminant, 0 .. 1; negative: 0.018
 * @param[in] options  engine, threads, progress; or NULL
 * @return the numbers, or NULL
 */
PQUANT_API pquant_metrics *pquant_evaluate_btag(pquant_model *model, pquant_data *data,
                                                double                f_c,
                                                const pquant_options *options);

/** Times of one event, or one batch, in seconds. */
typedef struct {
    char engine[16]; /**< that ran: the one asked for (another, where "generated" finds
                        no compiler), or the fastest that computes the model as it is
                        defined */
    double throughput_s;                 /**< median of calls back to back, … */
    double throughput_lo, throughput_hi; /**< … and its 95 % interval */
    double chain_s; /**< each call's input depends on the output before */
    double p50_s, p90_s, p99_s, p999_s; /**< single calls */
    int    noisy;                       /**< whether the machine was busy */
    char   why[96];                     /**< why so, or "" */
} pquant_timing;

/**
 * Times a model on this machine, on random inputs.
 * @param[in]  batch    samples of a call, at least 1
 * @param[in]  options  engine (NULL: the faster of float32 and int8), threads (0: one),
 * seed
 * @param[out] out      times of a call
 * @return 0, or non-zero on failure
 */
PQUANT_API int pquant_latency(const pquant_model *model, size_t batch,
                              const pquant_options *options, pquant_timing *out);

/**
 * Runs a sweep (docs/config.md), to tables, plots and page. Starts processes, so call it
 * before your program has threads. What is done already is not computed again. Times are
 * of one process, whatever latency.processes is.
 * @param[in] yaml  text of a configuration; its paths are relative to the current folder
 * @param[in] dir   results folder, or NULL: the configuration's
 * @return path of the results folder, freed with pquant_text_free(), or NULL
 */
PQUANT_API char *pquant_sweep(const char *yaml, const char *dir,
                              const pquant_options *options);

/** How many numbers there are, and the i-th of them (NULL when out of range). */
PQUANT_API size_t               pquant_metrics_count(const pquant_metrics *metrics);
PQUANT_API const pquant_metric *pquant_metrics_get(const pquant_metrics *metrics,
                                                   size_t                i);

/** The number of a name, or NULL. */
PQUANT_API const pquant_metric *pquant_metrics_find(const pquant_metrics *metrics,
                                                    const char           *name);

/** Frees; NULL is harmless. */
PQUANT_API void pquant_metrics_free(pquant_metrics *metrics);

#ifdef __cplusplus
}
#endif

#endif
