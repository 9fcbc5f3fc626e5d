/**
 * @file
 * The configuration of `pquant train`: what is trained, on what, how, and where it goes.
 */
#ifndef PQ_SWEEP_TRAIN_CONFIG_H
#define PQ_SWEEP_TRAIN_CONFIG_H

#include "sweep/config.h"
#include "train/train.h"

/** `model:` */
typedef struct {
    char *zoo, *weights, *arch, *output_layer, *teacher, *teacher_arch;
    int   head;                   /**< pq_head */
    int   scaler, teacher_scaler; /**< pq_scaler_choice */
} pq_train_config_model;

/** `dataset:` */
typedef struct {
    char *file, *layout, *inputs, *x, *y, *label, *weight, *labels, *splits, *train,
        *validation, *test;
} pq_train_config_dataset;

/** `output:` */
typedef struct {
    char *model, *log, *checkpoint;
} pq_train_config_output;

/** Owns everything. */
typedef struct {
    char                   *path; /**< of the file */
    char                   *name;
    pq_train_config_model   model;
    pq_train_config_dataset dataset;
    pq_train_params         train;
    pq_train_config_output  output;
} pq_train_config;

/** Its blocks, as pq_config_blocks; offsets are those of pq_train_config. */
extern const pq_config_block pq_train_config_blocks[];

/** Whether a file, its includes counted, has `train:` and no `pipelines:`. */
bool pq_train_config_is(const char *path);

/**
 * Reads a configuration with its includes.
 *
 * @param[in]  changes   or NULL
 * @param[in]  model     where the model goes instead of output.model, or NULL
 * @param[out] out       caller frees with pq_train_config_free
 * @param[out] problems  every error, a line each, or NULL
 * @retval as pq_config_read
 */
pq_status pq_train_config_read(const char *path, const pq_config_changes *changes,
                               const char *model, pq_train_config **out,
                               pq_text *problems, pq_err *err);

void pq_train_config_free(pq_train_config **config);

/** Appends it as YAML with every default. */
void pq_train_config_show(const pq_train_config *config, pq_text *out);

#endif
