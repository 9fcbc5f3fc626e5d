/* Which zeros of a weight are pruned, beside it (docs/file-formats.md). */
#include "formats/pquant_mask.h"

#include "core/memory.h"

/* Beside the weight: which of its zeros are pruned. */
static char *mask_path(const char *weight)
{
    return pq_format("%s.pruned", weight);
}

pq_status pq_h5_save_mask(pq_h5 *file, const char *weight, const pq_weight *w,
                          pq_err *err)
{
    char        *path  = mask_path(weight);
    uint8_t     *bits  = NULL;
    size_t       other = 0, at = 0;
    const size_t zeros = pq_weight_zeros(w, &other);
    pq_tensor    view  = {.dtype = PQ_DTYPE_U8};
    pq_status    st;

    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    if (other == 0) {
        goto cleanup;
    }
    PQ_NEW(bits, pq_mask_bytes(zeros));
    for (size_t i = 0; i < w->value->count; i++) {
        if (pq_f32(w->value)[i] == 0.0F) {
            bits[at / 8] |= (uint8_t)(pq_weight_is_pruned(w, i) ? 1u << at % 8 : 0u);
            at++;
        }
    }
    view.count = pq_mask_bytes(zeros);
    view.shape = PQ_SHAPE(view.count);
    view.data  = bits;
    PQ_TRY(pq_h5_write(file, path, &view, 0, err));
cleanup:
    pq_free(path);
    pq_free(bits);
    return st;
}

pq_status pq_h5_load_mask(pq_h5 *file, const char *weight, pq_weight *w, pq_err *err)
{
    char      *path = mask_path(weight);
    pq_tensor *bits = NULL;
    size_t     none = 0, at = 0, due;
    pq_status  st;

    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    if (!pq_h5_has(file, path)) {
        PQ_TRY(pq_weight_prune_zeros(w, err));
        goto cleanup;
    }
    due = pq_mask_bytes(pq_weight_zeros(w, &none));
    PQ_TRY(pq_h5_read(file, path, PQ_DTYPE_U8, due, &bits, err));
    PQ_CHECK(bits->count == due, PQ_ERR_FORMAT,
             "%s: %s has %zu bytes where %zu are due, a bit for each zero",
             pq_h5_path(file), path, bits->count, due);
    PQ_NEW(w->pruned, pq_mask_bytes(w->value->count));
    for (size_t i = 0; i < w->value->count; i++) {
        if (pq_f32(w->value)[i] == 0.0F) {
            const unsigned bit = ((const uint8_t *)bits->data)[at / 8] >> at % 8 & 1u;
            w->pruned[i / 8] |= (uint8_t)(bit << i % 8);
            at++;
        }
    }
cleanup:
    pq_free(path);
    pq_tensor_free(&bits);
    return st;
}
