/* One layer with inputs and weights in double, for the tests of this room. */
#ifndef PQ_TESTS_LAYERS_RUN_H
#define PQ_TESTS_LAYERS_RUN_H

#include <criterion/criterion.h>
#include <string.h>

#include "core/memory.h"
#include "core/rng.h"
#include "layers/cases.h"
#include "layers/kinds.h"
#include "layers/layer.h"

typedef struct {
    pq_layer *layer;
    size_t    batch, n_in;
    pq_shape  in_shape[RUN_MAX], out_shape;
    double   *in[RUN_MAX], *weight[RUN_MAX], *out;
} run;

static inline size_t run_items(const pq_shape *shape)
{
    size_t n = 0;

    cr_assert(pq_shape_count(shape, &n));
    return n;
}

/* Sets "a=1; b=2". */
static inline void run_set(pq_layer *layer, const char *attributes)
{
    char   copy[256], *save = NULL;
    pq_err err = {0};

    cr_assert_lt(strlen(attributes), sizeof copy);
    strcpy(copy, attributes);
    for (char *item = strtok_r(copy, "; ", &save); item != NULL;
         item       = strtok_r(NULL, "; ", &save)) {
        char *value = strchr(item, '=');
        *value++    = '\0';
        cr_assert_eq(pq_layer_set(layer, item, value, &err), PQ_OK, "%s", err.message);
    }
}

static inline pq_layer *run_layer(const char *kind, const char *attributes)
{
    pq_layer *layer = NULL;

    cr_assert_eq(pq_layer_create(kind, &layer, NULL), PQ_OK);
    run_set(layer, attributes);
    return layer;
}

/* Adds a weight of zeros, or of the values given. */
static inline void run_weight(pq_layer *layer, const char *name, pq_shape shape,
                              const float *values)
{
    pq_tensor *t = NULL;

    cr_assert_eq(pq_tensor_create(PQ_DTYPE_F32, shape, &t, NULL), PQ_OK);
    if (values != NULL) {
        memcpy(t->data, values, t->count * sizeof *values);
    }
    cr_assert_eq(pq_layer_add_weight(layer, name, t, NULL), PQ_OK);
}

/* Takes the layer; allocates everything; weights are copied, inputs are zero. */
static inline run run_create(pq_layer *layer, size_t batch, size_t n_in,
                             const pq_shape *shapes)
{
    run    r   = {.layer = layer, .batch = batch, .n_in = n_in};
    pq_err err = {0};

    memcpy(r.in_shape, shapes, n_in * sizeof *shapes);
    cr_assert_eq(layer->kind->shape(layer, n_in, shapes, &r.out_shape, &err), PQ_OK,
                 "%s: %s", layer->kind->name, err.message);
    for (size_t k = 0; k < n_in; k++) {
        r.in[k] = pq_calloc(batch * run_items(&shapes[k]), sizeof(double));
    }
    for (size_t k = 0; k < layer->n_weights; k++) {
        const pq_tensor *t = layer->weights[k].value;
        r.weight[k]        = pq_calloc(t->count, sizeof(double));
        for (size_t i = 0; i < t->count; i++) {
            r.weight[k][i] = pq_tensor_get(t, i);
        }
    }
    r.out = pq_calloc(batch * run_items(&r.out_shape), sizeof(double));
    return r;
}

static inline pq_layer_call run_call(const run *r)
{
    return (pq_layer_call){.layer     = r->layer,
                           .batch     = r->batch,
                           .n_in      = r->n_in,
                           .in_shape  = r->in_shape,
                           .in        = (const double *const *)r->in,
                           .out_shape = r->out_shape,
                           .out       = r->out,
                           .weight    = (const double *const *)r->weight};
}

static inline void run_forward(const run *r)
{
    const pq_layer_call call = run_call(r);

    r->layer->kind->forward(&call);
}

static inline void run_free(run *r)
{
    for (size_t k = 0; k < RUN_MAX; k++) {
        pq_free(r->in[k]);
        pq_free(r->weight[k]);
    }
    pq_free(r->out);
    pq_layer_free(&r->layer);
}

#endif
