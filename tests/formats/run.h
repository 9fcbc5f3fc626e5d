/**
 * @file
 * For tests of formats: a graph run plainly by its kinds.
 */
#ifndef PQ_TESTS_FORMATS_RUN_H
#define PQ_TESTS_FORMATS_RUN_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/graph.h"
#include "io/hdf5.h"
#include "scratch.h"

/* Runs one sample through a checked graph; `out` has room for the output. */
static inline void run_graph(const pq_graph *g, const double *in, double *out)
{
    double **value = calloc(g->n_nodes, sizeof *value);

    for (size_t i = 0; i < g->n_nodes; i++) {
        const pq_node *node = &g->nodes[i];
        const double  *inputs[PQ_NODE_INPUTS];
        pq_shape       shapes[PQ_NODE_INPUTS];
        double        *weights[8] = {NULL};
        size_t         count      = 0;
        pq_layer_call  call       = {.layer     = node->layer,
                                     .batch     = 1,
                                     .n_in      = node->n_inputs,
                                     .in_shape  = shapes,
                                     .in        = inputs,
                                     .out_shape = node->shape,
                                     .weight    = (const double *const *)weights};
        cr_assert(pq_shape_count(&node->shape, &count));
        value[i] = calloc(count, sizeof **value);
        call.out = value[i];
        for (size_t k = 0; k < node->n_inputs; k++) {
            inputs[k] = value[node->inputs[k]];
            shapes[k] = g->nodes[node->inputs[k]].shape;
        }
        for (size_t k = 0; k < node->layer->n_weights; k++) {
            const pq_tensor *t = node->layer->weights[k].value;
            weights[k]         = calloc(t->count, sizeof *weights[k]);
            for (size_t j = 0; j < t->count; j++) {
                weights[k][j] = pq_tensor_get(t, j);
            }
        }
        if (node->n_inputs == 0) {
            memcpy(value[i], in, count * sizeof *in);
        } else {
            node->layer->kind->forward(&call);
        }
        for (size_t k = 0; k < 8; k++) {
            free(weights[k]);
        }
        if (i == g->output) {
            memcpy(out, value[i], count * sizeof *out);
        }
    }
    for (size_t i = 0; i < g->n_nodes; i++) {
        free(value[i]);
    }
    free(value);
}

/* Float32 tensor of numbers from a fixed sequence in (-1, 1). */
static inline pq_tensor *noise(pq_shape shape, unsigned seed)
{
    pq_tensor *t = NULL;

    OK(pq_tensor_create(PQ_DTYPE_F32, shape, &t, err));
    for (size_t i = 0; i < t->count; i++) {
        seed         = seed * 1664525U + 1013904223U;
        pq_f32(t)[i] = (float)(seed >> 8) / 8388608.0F - 1.0F;
    }
    return t;
}

#endif
