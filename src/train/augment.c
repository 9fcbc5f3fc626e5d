#include "train/augment.h"

#include <string.h>

#include "core/rng.h"

pq_status pq_augment_init(const pq_shape *sample, bool flip, size_t crop, pq_augment *out,
                          pq_err *err)
{
    char      text[128];
    pq_status st;

    PQ_CHECK(sample->ndim == 3, PQ_ERR_CONFIG,
             "augment_flip and augment_crop need images, but the events are %s",
             pq_shape_text(sample, text, sizeof text));
    *out = (pq_augment){sample->dim[0], sample->dim[1], sample->dim[2], flip, crop};
cleanup:
    return st;
}

static void copy_row(const pq_augment *a, const float *from, ptrdiff_t shift, bool mirror,
                     float *to)
{
    for (size_t x = 0; x < a->width; x++) {
        const ptrdiff_t at    = (ptrdiff_t)(mirror ? a->width - 1 - x : x) + shift;
        float          *pixel = to + x * a->channels;
        if (at >= 0 && at < (ptrdiff_t)a->width) {
            memcpy(pixel, from + (size_t)at * a->channels, a->channels * sizeof *pixel);
        } else {
            memset(pixel, 0, a->channels * sizeof *pixel);
        }
    }
}

void pq_augment_image(const pq_augment *a, uint64_t key, size_t event, const float *from,
                      float *to)
{
    pq_rng          rng    = pq_rng_stream(key + event, "augment");
    const bool      mirror = a->flip && pq_rng_below(&rng, 2) == 1;
    const ptrdiff_t down   = (ptrdiff_t)pq_rng_below(&rng, 2 * a->crop + 1);
    const ptrdiff_t right  = (ptrdiff_t)pq_rng_below(&rng, 2 * a->crop + 1);
    const size_t    row    = a->width * a->channels;

    for (size_t y = 0; y < a->height; y++) {
        const ptrdiff_t at = (ptrdiff_t)y + down - (ptrdiff_t)a->crop;
        if (at >= 0 && at < (ptrdiff_t)a->height) {
            copy_row(a, from + (size_t)at * row, right - (ptrdiff_t)a->crop, mirror,
                     to + y * row);
        } else {
            memset(to + y * row, 0, row * sizeof *to);
        }
    }
}
