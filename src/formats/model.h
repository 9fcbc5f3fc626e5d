/**
 * @file
 * Model files, whoever wrote them: one file per format, listed in
 * formats/meson.build. Reading never executes anything from the file.
 */
#ifndef PQ_FORMATS_MODEL_H
#define PQ_FORMATS_MODEL_H

#include "graph/graph.h"

typedef struct {
    const char *name;    /**< "pquant", "keras" */
    const char *summary; /**< one line */
    const char *source;  /**< where the format is described */
    /** Whether this file looks like the format (cheap). */
    bool (*recognises)(const char *path);
    /** arch: architecture beside a weights-only file, or NULL. */
    pq_status (*load)(const char *path, const char *arch, pq_graph **out, pq_err *err);
    /** The same with the output to read of several, or NULL: by its name, or by its
     * number from 0 on. NULL when models of the format have one. */
    pq_status (*load_output)(const char *path, const char *arch, const char *output,
                             pq_graph **out, pq_err *err);
    /** NULL when the format is only read. */
    pq_status (*save)(const pq_graph *graph, const char *path, pq_err *err);
} pq_model_format;

/** All formats in a fixed order, NULL-terminated. */
extern const pq_model_format *const pq_formats[];

/**
 * Loads a model: finds the format, reads, checks shapes and finite weights.
 *
 * @retval PQ_ERR_NOT_FOUND    No such file.
 * @retval PQ_ERR_FORMAT       Not a known format, truncated, or inconsistent: file, layer
 * and dataset path are named.
 * @retval PQ_ERR_UNSUPPORTED  An unknown layer class, named with its layer.
 * @retval PQ_ERR_NUMERIC      NaN or infinite weights.
 */
pq_status pq_model_load(const char *path, const char *arch, pq_graph **out, pq_err *err);

/** As pq_model_load_output, of a file of a known format, without its check. */
pq_status pq_model_load_as(const pq_model_format *format, const char *path,
                           const char *arch, const char *output, pq_graph **out,
                           pq_err *err);

/** As pq_model_load, of a model with several outputs.
 * @param[in] output  name or number, from 0 on, of the one that is read; or NULL
 * @retval PQ_ERR_CONFIG  There is no such output, or none was named of several. */
pq_status pq_model_load_output(const char *path, const char *arch, const char *output,
                               pq_graph **out, pq_err *err);

/**
 * Which of a model's outputs is meant.
 *
 * @param[in] names  [n], n >= 1; NULL where one has none
 * @param[in] given  name, or number from 0 on; NULL: there is but one
 * @retval PQ_ERR_CONFIG  None or several have the name, or none was given of several.
 */
pq_status pq_model_choose(size_t n, const char *const *names, const char *given,
                          size_t *out, pq_err *err);

/** Whether a path's ending lets a file of our own format go there: that of another format
 * would tell others what it is not. @retval PQ_ERR_CONFIG  It does not. */
pq_status pq_model_check_path(const char *path, pq_err *err);

/** Saves in our own format (docs/file-formats.md), atomically.
 * @retval PQ_ERR_CONFIG  as pq_model_check_path */
pq_status pq_model_save(const pq_graph *graph, const char *path, pq_err *err);

#endif
