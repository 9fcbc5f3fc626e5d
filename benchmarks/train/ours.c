/*
 * pquant's side of the comparison, as a shared library that compare.py loads:
 * a network of the zoo in training, one epoch a call.
 */
#include <stdio.h>

#include "core/memory.h"
#include "formats/zoo.h"
#include "train/trainer.h"

#define EXPORT __attribute__((visibility("default")))

typedef struct {
    pq_trainer       trainer;
    pq_graph        *graph;
    pq_dataset      *data;
    pq_train_params  params;
    pq_train_options options;
    size_t           epochs;
} session;

EXPORT void bench_close(void *handle)
{
    session *s = handle;

    pq_trainer_free(&s->trainer);
    pq_graph_free(&s->graph);
    pq_dataset_close(&s->data);
    pq_params_free(pq_train_param_table, &s->params);
    pq_free(s);
}

static pq_status open_session(session *s, const char *net, const char *path,
                              const char *batch, pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_params_default(pq_train_param_table, &s->params, err));
    PQ_TRY(pq_params_set(pq_train_param_table, &s->params, "batch", batch, err));
    PQ_TRY(pq_params_set(pq_train_param_table, &s->params, "validation", "0", err));
    PQ_TRY(pq_params_set(pq_train_param_table, &s->params, "epochs", "100000", err));
    PQ_TRY(pq_zoo_build(net, 1, &s->graph, err));
    PQ_TRY(pq_dataset_open(path, NULL, &s->data, err));
    s->trainer =
        (pq_trainer){.graph = s->graph, .params = &s->params, .options = &s->options};
    PQ_TRY(pq_trainer_create(
        &s->trainer, &(pq_train_data){.dataset = s->data, .validation = SIZE_MAX}, err));
cleanup:
    return st;
}

/* Handle, or NULL with the reason on stderr. */
EXPORT void *bench_open(const char *net, const char *path, const char *batch,
                        size_t threads)
{
    session *s   = pq_calloc(1, sizeof *s);
    pq_err   err = {0};

    if (s == NULL) {
        return NULL;
    }
    s->options.threads = threads;
    if (open_session(s, net, path, batch, &err) != PQ_OK) {
        (void)fprintf(stderr, "ours: %s\n", err.message);
        bench_close(s);
        return NULL;
    }
    return s;
}

/* Seconds of one epoch, and its mean loss; negative after a failure. */
EXPORT double bench_epoch(void *handle, double *loss)
{
    session       *s     = handle;
    pq_train_epoch e     = {0};
    pq_err         err   = {0};
    const unsigned state = pq_flush_denormals();
    const bool     ok    = pq_trainer_epoch(&s->trainer, ++s->epochs, &e, &err) == PQ_OK;

    pq_restore_denormals(state);
    if (!ok) {
        (void)fprintf(stderr, "ours: %s\n", err.message);
    }
    *loss = e.train_loss;
    return ok ? e.seconds : -1.0;
}

/* "avx512": what the numbers were made with. */
EXPORT const char *bench_about(void)
{
    return pq_isa_name(pq_cpu_isa());
}
