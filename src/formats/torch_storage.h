/**
 * @file
 * Checkpoint files of PyTorch opened: their pickle, and where the bytes of each
 * storage are. Both containers: the ZIP of torch >= 1.6 (stored entries) and
 * the older row of pickles.
 *
 * Source: torch/serialization.py, _legacy_load and _load; PKWARE APPNOTE.TXT.
 */
#ifndef PQ_FORMATS_TORCH_STORAGE_H
#define PQ_FORMATS_TORCH_STORAGE_H

#include "formats/torch_pickle.h"

/** Bytes of one storage; borrowed from the file's. */
typedef struct {
    const char    *key; /**< [key_bytes] */
    size_t         key_bytes;
    const uint8_t *bytes;
    size_t         n; /**< bytes */
} pq_torch_storage;

/** An opened file; owns everything but the file's bytes. */
typedef struct {
    bool              mapped;
    pq_pickle         pickle;
    size_t            n_storages;
    pq_torch_storage *storages;
} pq_torch_file;

/** Whether the first n bytes of a file begin like one of the two containers. */
bool pq_torch_looks(const uint8_t *bytes, size_t n);

/**
 * Takes the file apart.
 * @param[in] bytes   [n]; must outlive `out`
 * @param[in] mapped  they are of a pq_map: pages that were read are let go of
 * @retval PQ_ERR_FORMAT       Truncated, malformed, or a checksum differs.
 * @retval PQ_ERR_UNSUPPORTED  Compressed entries, big-endian data, unknown globals.
 */
pq_status pq_torch_parse(const uint8_t *bytes, size_t n, bool mapped, pq_torch_file *out,
                         pq_err *err);
void      pq_torch_free(pq_torch_file *f);

/**
 * A tensor of the pickle as float32.
 * @param[in] axes  as of pq_state.read, or NULL: in its own order
 * @retval PQ_ERR_FORMAT  It reaches outside its storage, or has too many axes.
 */
pq_status pq_torch_tensor(const pq_torch_file *f, const pq_pickle_value *tensor,
                          const size_t *axes, pq_tensor **out, pq_err *err);

#endif
