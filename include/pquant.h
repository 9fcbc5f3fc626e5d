/**
 * @file
 * libpquant: load a trained network, compress it, evaluate original against
 * compressed, save it. The program `pquant` does the same and more.
 *
 * Every call that can fail returns NULL or a non-zero number and leaves one
 * sentence in pquant_error(). Objects belong to the caller, who frees them.
 * Different objects may be used from different threads; errors are per thread.
 *
 *     cc app.c $(pkg-config --cflags --libs pquant)
 */
#ifndef PQUANT_H
#define PQUANT_H

#include <stddef.h>

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

/**
 * Loads a model file of any format that `pquant formats` lists.
 * @param[in] path  model file
 * @param[in] arch  architecture JSON beside a weights-only file, or NULL
 * @return the model, or NULL
 */
PQUANT_API pquant_model *pquant_model_load(const char *path, const char *arch);

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
