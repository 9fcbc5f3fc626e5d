/* A training run of the tests: a small tagger on blobs. */
#ifndef PQ_TEST_TRAIN_RUNS_H
#define PQ_TEST_TRAIN_RUNS_H

#include "support.h"

typedef struct {
    char             file[256]; /* of the events: a child reads it again */
    pq_dataset      *data;
    pq_graph        *graph;
    pq_train_params  params;
    const char      *checkpoint;
    size_t           threads, stop_after, epochs_seen;
    pq_train_summary summary;
} run;

static inline pq_graph *tagger(uint64_t seed)
{
    pq_graph *g = NULL;

    OK(pq_graph_create(&g, err));
    add(g, "in", layer_of("input shape=16"), NULL);
    add_dense(g, "fc1", 16, 32);
    add_norm(g, "norm", 32);
    add(g, "relu", layer_of("relu"), NULL);
    add(g, "drop", layer_of("dropout rate=0.1"), NULL);
    add_dense(g, "fc2", 32, 5);
    add(g, "softmax", layer_of("softmax"), NULL);
    pq_graph_init_weights(g, PQ_INIT_HE, seed);
    OK(pq_graph_check(g, err));
    return g;
}

static inline void start(run *r, const char *name, size_t events)
{
    (void)snprintf(r->file, sizeof r->file, "%s", temporary(name));
    write_dataset(r->file, PQ_SHAPE(16), 5, events, 1);
    OK(pq_dataset_open(r->file, NULL, &r->data, err));
    OK(pq_params_default(pq_train_param_table, &r->params, err));
    r->graph         = tagger(3);
    r->threads       = 2;
    r->params.epochs = 5;
    r->params.lr     = 0.01;
}

static inline pq_status train(run *r, pq_err *err)
{
    const pq_train_data    data    = {.dataset = r->data, .validation = SIZE_MAX};
    const pq_train_options options = {.threads = r->threads, .checkpoint = r->checkpoint};

    return pq_train(r->graph, &data, &r->params, &options, &r->summary, err);
}

static inline void finish_run(run *r)
{
    (void)unlink(r->file);
    pq_train_summary_free(&r->summary);
    pq_graph_free(&r->graph);
    pq_dataset_close(&r->data);
    pq_params_free(pq_train_param_table, &r->params);
}

static inline void weights_hash(const pq_graph *g, char out[65])
{
    OK(pq_graph_hash(g, out, err));
}

#endif
