#include "layers/layer.h"

#include <string.h>

#include "core/memory.h"
#include "tensor/store.h"

#define X(kind) extern const pq_layer_kind pq_layer_kind_##kind;
#include "layers/kinds.def"
#undef X

const pq_layer_kind *const pq_layer_kinds[] = {
#define X(kind) &pq_layer_kind_##kind,
#include "layers/kinds.def"
#undef X
    NULL,
};

const pq_layer_kind *pq_layer_kind_find(const char *name)
{
    for (size_t i = 0; pq_layer_kinds[i] != NULL; i++) {
        if (strcmp(pq_layer_kinds[i]->name, name) == 0) {
            return pq_layer_kinds[i];
        }
    }
    return NULL;
}

static pq_status kind_of(const char *name, const pq_layer_kind **out, pq_err *err)
{
    const char *names[sizeof pq_layer_kinds / sizeof *pq_layer_kinds];
    size_t      n = 0;
    const char *near;
    pq_status   st;

    for (; pq_layer_kinds[n] != NULL; n++) {
        names[n] = pq_layer_kinds[n]->name;
    }
    *out = pq_layer_kind_find(name);
    near = *out == NULL ? pq_nearest(name, names, n) : NULL;
    PQ_CHECK(*out != NULL, PQ_ERR_UNSUPPORTED, "unknown layer kind '%s'%s%s%s", name,
             near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
             near != NULL ? "'?" : "");
cleanup:
    return st;
}

pq_status pq_layer_create(const char *kind, pq_layer **out, pq_err *err)
{
    const pq_layer_kind *k;
    pq_status            st;

    PQ_TRY(kind_of(kind, &k, err));
    st = pq_layer_of_kind(k, out, err);
cleanup:
    return st;
}

pq_status pq_layer_of_kind(const pq_layer_kind *kind, pq_layer **out, pq_err *err)
{
    pq_layer *layer = NULL;
    pq_status st;

    PQ_NEW(layer, 1);
    layer->kind   = kind;
    layer->params = pq_calloc(1, kind->params_size);
    PQ_CHECK(layer->params != NULL, PQ_ERR_NOMEM,
             "cannot allocate the attributes of a layer");
    PQ_TRY(pq_params_default(kind->params, layer->params, err));
    *out  = layer;
    layer = NULL;
cleanup:
    pq_layer_free(&layer);
    return st;
}

static void free_weight(pq_weight *w)
{
    pq_free(w->name);
    if (w->borrowed) {
        return;
    }
    pq_tensor_free(&w->value);
    pq_quant_free(&w->quant);
    pq_free(w->pruned);
}

void pq_layer_free(pq_layer **layer)
{
    pq_layer *l = *layer;

    if (l == NULL) {
        return;
    }
    for (size_t i = 0; i < l->n_weights; i++) {
        free_weight(&l->weights[i]);
    }
    pq_free(l->weights);
    if (l->params != NULL) {
        pq_params_free(l->kind->params, l->params);
        pq_free(l->params);
    }
    pq_free(l);
    *layer = NULL;
}

static pq_status clone_weight(const pq_weight *from, pq_layer *to, pq_err *err)
{
    const size_t bytes = pq_mask_bytes(from->value->count);
    pq_tensor   *value = NULL;
    pq_weight   *w;
    pq_status    st;

    PQ_TRY(pq_tensor_clone(from->value, &value, err));
    PQ_TRY(pq_layer_add_weight(to, from->name, value, err));
    w = &to->weights[to->n_weights - 1];
    if (from->pruned != NULL) {
        PQ_NEW(w->pruned, bytes);
        memcpy(w->pruned, from->pruned, bytes);
    }
    if (from->quant != NULL) {
        PQ_TRY(pq_quant_clone(from->quant, &w->quant, err));
    }
cleanup:
    return st;
}

/* The weights are room for all of them. */
static pq_status share_weight(const pq_weight *from, pq_layer *to, pq_err *err)
{
    pq_weight *w  = &to->weights[to->n_weights];
    pq_weight  as = *from;
    pq_status  st;

    as.borrowed = true;
    as.name     = NULL;
    PQ_STRDUP(as.name, from->name);
    *w = as;
    to->n_weights++;
cleanup:
    return st;
}

static pq_status copy_layer(const pq_layer *layer, bool share, pq_layer **out,
                            pq_err *err)
{
    pq_layer *copy = NULL;
    pq_status st;

    PQ_TRY(pq_layer_of_kind(layer->kind, &copy, err));
    PQ_TRY(pq_params_copy(layer->kind->params, layer->params, copy->params, err));
    if (share) {
        PQ_NEW(copy->weights, layer->n_weights);
    }
    for (size_t i = 0; i < layer->n_weights; i++) {
        PQ_TRY(share ? share_weight(&layer->weights[i], copy, err)
                     : clone_weight(&layer->weights[i], copy, err));
    }
    *out = copy;
    copy = NULL;
cleanup:
    pq_layer_free(&copy);
    return st;
}

pq_status pq_layer_clone(const pq_layer *layer, pq_layer **out, pq_err *err)
{
    return copy_layer(layer, false, out, err);
}

pq_status pq_layer_share(const pq_layer *layer, pq_layer **out, pq_err *err)
{
    return copy_layer(layer, true, out, err);
}

pq_status pq_layer_set(pq_layer *layer, const char *attribute, const char *text,
                       pq_err *err)
{
    return pq_params_set(layer->kind->params, layer->params, attribute, text, err);
}

size_t pq_layer_weight_index(const pq_layer *layer, const char *name)
{
    for (size_t i = 0; i < layer->n_weights; i++) {
        if (strcmp(layer->weights[i].name, name) == 0) {
            return i;
        }
    }
    return SIZE_MAX;
}

pq_weight *pq_layer_weight(const pq_layer *layer, const char *name)
{
    const size_t i = pq_layer_weight_index(layer, name);

    return i == SIZE_MAX ? NULL : &layer->weights[i];
}

pq_status pq_layer_add_weight(pq_layer *layer, const char *name, pq_tensor *value,
                              pq_err *err)
{
    const size_t n     = layer->n_weights;
    char        *copy  = NULL;
    pq_weight   *grown = NULL;
    pq_status    st;

    PQ_CHECK(layer->kind->role != NULL, PQ_ERR_FORMAT,
             "a layer of kind '%s' has no weights, but '%s' is given", layer->kind->name,
             name);
    PQ_CHECK(value->dtype == PQ_DTYPE_F32, PQ_ERR_FORMAT,
             "weight '%s' is %s, not float32", name, pq_dtype_name(value->dtype));
    PQ_CHECK(pq_layer_weight(layer, name) == NULL, PQ_ERR_FORMAT,
             "weight '%s' is given twice", name);
    PQ_STRDUP(copy, name);
    grown = pq_recalloc(layer->weights, n, n + 1, sizeof *grown);
    PQ_CHECK(grown != NULL, PQ_ERR_NOMEM, "cannot allocate a weight");
    layer->weights          = grown;
    layer->weights[n].name  = copy;
    layer->weights[n].value = value;
    layer->n_weights++;
    return PQ_OK;
cleanup:
    pq_free(copy);
    pq_tensor_free(&value);
    return st;
}

pq_status pq_weight_prune_zeros(pq_weight *w, pq_err *err)
{
    pq_status st = PQ_OK;

    if (w->pruned == NULL) {
        PQ_NEW(w->pruned, pq_mask_bytes(w->value->count));
    }
    for (size_t i = 0; i < w->value->count; i++) {
        const unsigned bit = pq_f32(w->value)[i] == 0.0f ? 1u << i % 8 : 0u;
        w->pruned[i / 8] |= (uint8_t)bit;
    }
cleanup:
    return st;
}

void pq_weight_unprune(pq_weight *w)
{
    pq_free(w->pruned);
    w->pruned = NULL;
}

size_t pq_weight_zeros(const pq_weight *w, size_t *rounded)
{
    size_t zeros = 0;

    *rounded = 0;
    for (size_t i = 0; i < w->value->count; i++) {
        if (pq_f32(w->value)[i] == 0.0f) {
            zeros++;
            *rounded += pq_weight_is_pruned(w, i) ? 0 : 1;
        }
    }
    return zeros;
}

size_t pq_weight_stored_bytes(const pq_weight *w)
{
    size_t bytes = pq_quant_packed_bytes(w->quant, w->value, false);

    if (w->pruned != NULL) {
        (void)pq_store_least(w->quant, w->value, &bytes);
    }
    return bytes + (w->quant != NULL ? pq_quant_side_bytes(w->quant) : 0);
}
