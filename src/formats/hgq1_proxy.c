/* Proxy models of HGQ 1: layers of Keras with weights that lie on their grids, and
 * quantizers of fixed point between them. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "formats/hgq.h"
#include "formats/hgq1.h"

enum { MOST_BITS = 64 };

/* Fraction bits of a float: the place of its last bit that is set. */
static float last_bit(float x)
{
    int e = 0;

    if (x == 0.0f) {
        return 0.0f;
    }
    x = frexpf(fabsf(x), &e);
    while (x != floorf(x)) {
        x *= 2.0f;
        e--;
    }
    return (float)-e;
}

pq_status pq_hgq1_find_grids(pq_layer *layer, pq_err *err)
{
    const pq_hgq_quantizer q  = {.rounding = PQ_ROUND_RND, .overflow = PQ_OVERFLOW_SAT};
    pq_tensor             *f  = NULL;
    pq_status              st = PQ_OK;

    for (size_t i = 0; i < layer->n_weights; i++) {
        pq_weight *w    = &layer->weights[i];
        bool       fits = w->quant == NULL &&
                    (strcmp(w->name, "kernel") == 0 || strcmp(w->name, "bias") == 0);
        if (!fits) {
            continue;
        }
        pq_tensor_free(&f);
        PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, w->value->shape, &f, err));
        for (size_t n = 0; n < f->count; n++) {
            const float x = pq_f32(w->value)[n];
            pq_f32(f)[n]  = isfinite(x) ? last_bit(x) : 0.0f;
            fits = fits && isfinite(x) && fabsf(ldexpf(x, (int)pq_f32(f)[n])) < 0x1p15f;
        }
        if (fits) {
            PQ_TRY(pq_hgq_attach(&q, f, w, err));
        }
    }
cleanup:
    pq_tensor_free(&f);
    return st;
}

static size_t named(const char *const *names, const char *name)
{
    size_t i = 0;

    while (names[i] != NULL && strcmp(names[i], name) != 0) {
        i++;
    }
    return i;
}

/* Fixed point as it stands in a proxy model: sign, bits and integer bits with the sign.
 */
pq_status pq_hgq1_fixed(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    const json_t *more =
        json_object_get(json_object_get(k->config, "overrides"), "layers");
    pq_hgq_quantizer q = {0};
    const char      *round, *over;
    char             texts[3][128];
    size_t           mode[2];
    pq_status        st;

    PQ_TRY(pq_keras_word(k->config, "RND", "TRN", &round, err));
    PQ_TRY(pq_keras_word(k->config, "SAT", "WRAP", &over, err));
    mode[0] = named(pq_rounding_names, round);
    mode[1] = named(pq_overflow_names, over);
    PQ_CHECK(pq_rounding_names[mode[0]] != NULL, PQ_ERR_UNSUPPORTED,
             "RND = '%s' is not known", round);
    PQ_CHECK(pq_overflow_names[mode[1]] != NULL && mode[1] != PQ_OVERFLOW_WRAP_SM,
             PQ_ERR_UNSUPPORTED, "SAT = '%s' is not read; SAT, SAT_SYM and WRAP are",
             over);
    PQ_CHECK(more == NULL || json_object_size(more) == 0, PQ_ERR_UNSUPPORTED,
             "'overrides' is set; it is read only where it is empty");
    PQ_TRY(pq_keras_check_weights(k, 3, err));
    PQ_CHECK(pq_shape_equal(&k->weights[0]->shape, &k->weights[1]->shape) &&
                 pq_shape_equal(&k->weights[0]->shape, &k->weights[2]->shape),
             PQ_ERR_SHAPE,
             "its signs are %s, its bits %s, its integer bits %s: not of one shape",
             pq_shape_text(&k->weights[0]->shape, texts[0], sizeof texts[0]),
             pq_shape_text(&k->weights[1]->shape, texts[1], sizeof texts[1]),
             pq_shape_text(&k->weights[2]->shape, texts[2], sizeof texts[2]));
    q.rounding = (pq_rounding)mode[0];
    q.overflow = (pq_overflow)mode[1];
    PQ_TRY(pq_tensor_clone(k->weights[0], &q.k, err));
    PQ_TRY(pq_tensor_clone(k->weights[2], &q.i, err));
    PQ_TRY(pq_tensor_clone(k->weights[1], &q.f, err));
    for (size_t n = 0; n < q.k->count; n++) {
        const float bits = pq_f32(q.f)[n];
        const float sign = bits == 0.0f ? 0.0f : pq_f32(q.k)[n];
        const float i    = bits == 0.0f ? 0.0f : pq_f32(q.i)[n];
        PQ_CHECK(
            (sign == 0.0f || sign == 1.0f) && bits >= 0.0f && bits <= MOST_BITS &&
                fabsf(i) <= MOST_BITS,
            PQ_ERR_RANGE,
            "value %zu has sign %g, %g bits and %g integer bits; the sign is 0 or 1, "
            "the others at most %d",
            n, (double)sign, (double)bits, (double)i, MOST_BITS);
        pq_f32(q.k)[n] = sign;
        pq_f32(q.i)[n] = i - sign;
        pq_f32(q.f)[n] = bits - i;
    }
    for (size_t i = 0; i < target->graph->n_nodes; i++) {
        PQ_TRY(pq_hgq1_find_grids(target->graph->nodes[i].layer, err));
    }
    (void)snprintf(target->last, sizeof target->last, "%s", k->inputs[0]);
    PQ_TRY(pq_hgq_put(&q, k->name, target, err));
cleanup:
    pq_hgq_free(&q);
    return st;
}
