/**
 * @file
 * The files a sweep starts from: where they are, what is in them, and hashes
 * of their content that are remembered.
 */
#ifndef PQ_SWEEP_INPUTS_H
#define PQ_SWEEP_INPUTS_H

#include <jansson.h>

#include "core/hash.h"
#include "sweep/config.h"

/**
 * Finds a file or folder: in the current folder, beside the configuration, under
 * pq_data_home; a dataset also by the name of a public set (datasets/sets/NAME.yaml).
 *
 * @param[in]  what  "model", "dataset", …, for messages
 * @param[out] out   path; caller frees with pq_free
 * @retval PQ_ERR_NOT_FOUND  Nowhere; the places are named, and the hint says how to get
 * it.
 */
pq_status pq_input_find(const pq_config *config, const char *what, const char *name,
                        char **out, pq_err *err);

/** Loads the model of a configuration and names its classes. */
pq_status pq_input_model(const pq_config *config, const char *weights, const char *arch,
                         pq_graph **out, pq_err *err);

/**
 * Opens a dataset with the options of a configuration.
 * @param[in] wanted  [n_wanted] the model's features, picked by name where the file has
 *                    more of them; n_wanted = 0 where the model names none
 */
pq_status pq_input_dataset(const pq_config *config, size_t n_wanted,
                           const char *const *wanted, const char *path, pq_dataset **out,
                           pq_err *err);

/** Content hashes by the stamps of their files; kept in `<dir>/hashes.json`. */
typedef struct {
    char   *path;
    json_t *entries; /**< what a hash is of: hash */
    bool    changed;
} pq_hash_memo;

/** Reads what is remembered; nothing there, or damaged, is an empty memo. */
pq_status pq_hash_memo_open(const char *dir, pq_hash_memo *out, pq_err *err);

/** Writes the memo if it changed and the folder is there, and frees it. */
void pq_hash_memo_close(pq_hash_memo *memo);

/** What a hash is of: the stamps of a file or folder and of one read besides, or NULL,
 * and how they are read. False when they may still be changing. */
bool pq_hash_memo_key(size_t n, const char *const *files, const char *how,
                      char out[PQ_HASH_TEXT]);

const char *pq_hash_memo_get(const pq_hash_memo *memo, const char *key);
void        pq_hash_memo_put(pq_hash_memo *memo, const char *key, const char *hash);

#endif
