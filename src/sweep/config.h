/**
 * @file
 * A sweep's configuration (`schema: pquant/1`): read strictly from YAML, every
 * default filled in, every pipeline expanded. The keys are in docs/reference.md
 * and in the parameter tables below.
 *
 * Paths are relative to the current folder if they exist there, else to the
 * folder of the configuration. `include:` paths are relative to the file that
 * includes.
 */
#ifndef PQ_SWEEP_CONFIG_H
#define PQ_SWEEP_CONFIG_H

#include "compress/method.h"
#include "core/param.h"
#include "data/dataset.h"
#include "io/yaml.h"
#include "lab/evaluate.h"
#include "metrics/latency.h"

/** `model:` */
typedef struct {
    char *weights;      /**< model file, any known format */
    char *arch;         /**< architecture beside weights-only files, or NULL */
    char *output_layer; /**< of several outputs, or NULL */
    char *format;       /**< name of a format, or NULL = found by looking */
    char *zoo;     /**< network of the zoo with first weights, instead of `weights` */
    char *classes; /**< "g,q,w,z,t": the model's output order, or NULL = the file's */
    int   head;    /**< pq_head; PQ_HEAD_AUTO = as the layers tell */
    int   scaler;  /**< pq_scaler_choice */
} pq_config_model;

/** `dataset:` */
typedef struct {
    char *file;   /**< file, folder, or name of a known dataset ("cifar10") */
    char *layout; /**< as pq_dataset_options */
    char *x, *y;  /**< the same */
    char *inputs;
    char *label;
    char *weight;
    char *labels;
    char *splits;
    char
        *calib; /**< split, or FILE:SPLIT; NULL = "calib", "train" or "val" of the file */
    int64_t calib_events; /**< events used for calibration */
    char   *train;        /**< split of stages that train, NULL = "train" */
    char   *validation;   /**< split they watch, NULL = "val" or part of train */
    char   *test;         /**< split, or NULL = "test", or the only one */
    int     nonfinite;    /**< pq_nonfinite */
} pq_config_dataset;

/** `seeds:` */
typedef struct {
    int64_t base;
    int64_t repeats; /**< of cells with a stochastic stage */
} pq_config_seeds;

/** `evaluate:` */
typedef struct {
    int     engine;           /**< index into pq_engine_choices */
    int64_t limit;            /**< at most so many events, PQ_UNSET = all */
    int64_t stride;           /**< every so many-th event */
    bool    negative_weights; /**< event weights may be negative */
} pq_config_evaluate;

/** `latency:` */
typedef struct {
    bool               wanted; /**< the block is there */
    pq_reals           batch;
    int64_t            threads;
    int64_t            processes; /**< that share the samples */
    int                engine;    /**< index into pq_engine_choices */
    bool               logits;    /**< without a softmax at the end */
    pq_latency_options options;
} pq_config_latency;

/** `limits:` of one cell. */
typedef struct {
    double cell_timeout_s; /**< s */
    double memory_bytes;   /**< of address space, and of the plan; NAN = none */
} pq_config_limits;

/** `output:` */
typedef struct {
    char *dir;    /**< results folder, NULL = results/<name> */
    char *tables; /**< "csv,md,tex" */
    char *plots;  /**< "pareto,rank_curve,roc" */
    bool  html;
} pq_config_output;

/** Value of an axis in one case. */
typedef struct {
    const char *name, *value; /**< "rank", "8" */
} pq_setting;

/** A pipeline with its `$names` filled in; owns the label, the rest is the pipeline's. */
typedef struct {
    char                  *label; /**< "svd rank=8" */
    size_t                 n_axes;
    pq_setting            *axes; /**< [n_axes], sweep's first, then zip's */
    size_t                 n_stages;
    const pq_stage *const *stages; /**< [n_stages], shared with other cases */
} pq_case;

/** One stage of a pipeline, for each combination of the axes that it names. */
typedef struct {
    size_t    n;
    pq_stage *stage; /**< [n]; without a method where no case has it */
} pq_stage_variants;

/** Owns everything but the names of its axes, which are the configuration's tree's. */
typedef struct {
    char              *name;
    size_t             n_cases;
    size_t             expanded; /**< cases before exclusion */
    size_t             room; /**< most of them, so that all pipelines keep their limit */
    bool               limited; /**< limits.memory says what they may cost */
    pq_case           *cases;   /**< last axis fastest */
    pq_setting        *axes_of_cases;
    const pq_stage   **stages_of_cases;
    size_t             n_stages;
    pq_stage_variants *stages; /**< [n_stages] */
    size_t             n_texts;
    char             **texts; /**< [n_texts] of the axes' values */
} pq_pipeline;

/** `constraints:` a metric's bounds; "<metric>_loss" is the reference's value minus the
 * cell's. */
typedef struct {
    char  *metric;
    double min, max; /**< NAN = none */
} pq_constraint;

/** Tests of gates. */
enum { PQ_GATE_UNTESTED, PQ_GATE_PAIRED, PQ_GATE_MANN_WHITNEY };

/** `gates:` what a metric may lose against the baseline; kept for the gate. */
typedef struct {
    char   *metric;
    double  max_loss;     /**< in the metric's unit, NAN = none */
    double  max_increase; /**< relative, NAN = none */
    int     test;         /**< none, paired, mann-whitney */
    double  alpha;
    int64_t confirm; /**< re-runs that must agree */
    int     noisy;   /**< warn, fail */
} pq_gate;

extern const pq_param pq_gate_params[];

/** `published:` a number that others have printed of a cell (sweep/published.h). Owns. */
typedef struct {
    char *cell;    /**< label, or glob over labels */
    char *metric;  /**< "accuracy" */
    char *printed; /**< "89.3%", digits as printed */
    bool  ratio;   /**< the reference's number over the cell's */
    char *source;
    char *why; /**< what makes ours another, or "" */
} pq_published;

/** Owns everything. */
typedef struct {
    char              *path; /**< of the file */
    char              *name; /**< of the experiment */
    pq_config_model    model;
    pq_config_dataset  dataset;
    pq_config_seeds    seeds;
    pq_config_evaluate evaluate;
    pq_config_latency  latency;
    pq_config_limits   limits;
    pq_config_output   output;
    size_t             n_pipelines;
    pq_pipeline       *pipelines;
    size_t             n_metrics;
    pq_metric_choice  *metrics;
    size_t             n_constraints;
    pq_constraint     *constraints;
    char              *baseline; /**< what gates compare with, or NULL */
    size_t             n_gates;
    pq_gate           *gates;
    size_t             n_published;
    pq_published      *published;
    pq_yaml           *tree; /**< after includes and overrides, recipes spelled out */
} pq_config;

/** Changes from the command line; borrowed. */
typedef struct {
    size_t             n_set;
    const char *const *set; /**< "key.path=value": the value is YAML */
    size_t             n_axes;
    const char *const *axes; /**< "axis=v1,v2": replaces the axis wherever it is swept */
} pq_config_changes;

/**
 * Reads a configuration.
 *
 * @param[in]  changes   or NULL
 * @param[out] out       caller frees with pq_config_free
 * @param[out] problems  every error of the file, a line each ("file:line:column: …"), or
 * NULL
 *
 * @retval PQ_ERR_NOT_FOUND  No such file.
 * @retval PQ_ERR_CONFIG     Anything wrong; err holds the first problem and how many more
 * there are. Or the cells take more memory than limits.memory, without which 64 MB, 512
 * bytes a cell and 64 bytes for each of the file.
 */
pq_status pq_config_read(const char *path, const pq_config_changes *changes,
                         pq_config **out, pq_text *problems, pq_err *err);

void pq_config_free(pq_config **config);

/** Fails since planning n cells takes more than so many bytes. @return PQ_ERR_CONFIG */
pq_status pq_config_too_large(const pq_config *config, size_t n, double bytes,
                              pq_err *err);

/**
 * Appends the configuration as YAML with every default; reading that gives the same
 * cells.
 * @param[in]  config  what is shown
 * @param[in]  view    outputs and classes of the network, for which metrics of recipes
 *                     without a value are left out; NULL: not known, all are shown
 * @param[out] out     gets the text
 */
void pq_config_show(const pq_config *config, const pq_evaluation *view, pq_text *out);

/** The results folder: `output.dir` or results/<name>; NULL when out of memory; caller
 * frees with pq_free. */
char *pq_config_dir(const pq_config *config);

/** Parameters of a metric, or NULL where it is not asked for. */
const void *pq_config_params(const pq_config *config, const char *name);

/** Whether a metric is asked for. */
bool pq_config_metric(const pq_config *config, const char *name);

/** One block of scalars for `pquant help KEY` and the docs. */
typedef struct {
    const char     *name; /**< "dataset", "latency.samples" */
    const pq_param *params;
    size_t          offset; /**< of its struct in pq_config */
    const char     *help;
} pq_config_block;

/** Appends "name: …", quoted where YAML asks for it, and a line. */
void pq_show_name(pq_text *out, const char *name);

/** Appends a line "key: value" for each row of a block of `config`, indented. */
void pq_show_block(pq_text *out, const pq_config_block *block, const void *config,
                   const char *indent);

/** All such blocks in a fixed order; ends with a zeroed row. */
extern const pq_config_block pq_config_blocks[];

/** A key of a configuration that is no block of parameters. */
typedef struct {
    const char *name, *help;
} pq_config_key;

/** All such keys, for help; ends with a zeroed row. */
extern const pq_config_key pq_config_keys[];

#endif
