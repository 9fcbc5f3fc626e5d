#include "train/train.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "train/checkpoint.h"
#include "train/front.h"
#include "train/hold.h"
#include "train/sparsify.h"
#include "train/steer.h"
#include "train/trainer.h"

/* What is watched, smaller is better. */
static double watched(const pq_trainer *t, const pq_train_epoch *e)
{
    return t->n_valid == 0                         ? e->train_loss
           : t->params->monitor == PQ_MONITOR_LOSS ? e->validation_loss
                                                   : -e->accuracy;
}

/* An epoch whose recalls hold their floors is better than any that does not; among
   those that do not, the one that lacks least; then what holds a target of EBOPs. */
static bool is_better(const pq_trainer *t, const pq_train_epoch *a,
                      const pq_train_epoch *b)
{
    const double more_a = pq_steer_excess(t->params, a),
                 more_b = pq_steer_excess(t->params, b);

    if (a->shortfall < b->shortfall || a->shortfall > b->shortfall) {
        return a->shortfall < b->shortfall;
    }
    if (more_a < more_b || more_a > more_b) {
        return more_a < more_b;
    }
    return watched(t, a) < watched(t, b);
}

static const float *weights_now(const pq_trainer *t)
{
    return t->optimizer.average != NULL ? t->optimizer.average : t->net->flat;
}

static void keep_if_best(pq_trainer *t, pq_train_epoch *e)
{
    e->best = e->epoch >= pq_sparse_first(t->options->sparse) &&
              (!t->params->keep_best || t->best_epoch == 0 ||
               is_better(t, e, &t->history[t->best_epoch - 1]));
    if (e->best) {
        t->best_epoch = e->epoch;
        memcpy(t->best, weights_now(t), t->net->n_flat * sizeof(float));
    }
}

static bool is_out_of_patience(const pq_trainer *t)
{
    const size_t first = pq_sparse_first(t->options->sparse);
    size_t       best  = first;

    for (size_t i = first + 1; i <= t->n_history; i++) {
        best = is_better(t, &t->history[i - 1], &t->history[best - 1]) ? i : best;
    }
    return t->params->early_stopping > 0 && t->n_history >= first && t->n_history > 0 &&
           t->n_history - best >= (size_t)t->params->early_stopping;
}

/* What pruning does between epochs; an average of before would not be pruned. */
static pq_status end_epoch(pq_trainer *t, size_t epoch, pq_err *err)
{
    bool      moved = false;
    pq_status st    = PQ_OK;

    if (t->net->sparse != NULL) {
        PQ_TRY(pq_sparse_epoch_end(t->net, epoch, &moved, err));
    }
    if (moved) {
        pq_net_prepare(t->net);
    }
    if (moved && t->optimizer.average != NULL) {
        memcpy(t->optimizer.average, t->net->flat, t->net->n_flat * sizeof(float));
    }
cleanup:
    return st;
}

/* Those of the network that would be kept, biases included. */
static void count_ebops(const pq_trainer *t, pq_train_epoch *e)
{
    e->ebops = e->beta = (double)NAN;
    if (t->net->qat.rule == PQ_QAT_HGQ) {
        pq_net_store(t->net, weights_now(t), t->graph);
        e->ebops = pq_graph_ebops(t->graph);
        e->beta  = t->net->qat.beta;
    }
}

static pq_status run_epochs(pq_trainer *t, const char *name, bool *stopped, pq_err *err)
{
    const pq_train_options *o  = t->options;
    pq_status               st = PQ_OK;

    for (*stopped = is_out_of_patience(t);
         !*stopped && t->n_history < (size_t)t->params->epochs;
         *stopped = is_out_of_patience(t)) {
        pq_train_epoch *e = &t->history[t->n_history];
        e->recall = t->n_valid > 0 ? t->recalls + t->n_history * t->classes : NULL;
        PQ_TRY(pq_trainer_epoch(t, t->n_history + 1, e, err));
        PQ_TRY(end_epoch(t, e->epoch, err));
        count_ebops(t, e);
        PQ_TRY(pq_trainer_validate(t, weights_now(t), e, err));
        pq_hold_epoch(t, e);
        keep_if_best(t, e);
        t->n_history++;
        PQ_TRY(pq_front_keep(t, weights_now(t), err));
        if (o->checkpoint != NULL) {
            PQ_TRY(pq_checkpoint_write(t, name, o->checkpoint, err));
        }
        if (o->epoch_done != NULL) {
            o->epoch_done(o->context, e);
        }
    }
cleanup:
    return st;
}

static void summarise(pq_trainer *t, bool stopped, pq_train_summary *out)
{
    const pq_train_epoch *best =
        t->best_epoch > 0 ? &t->history[t->best_epoch - 1] : NULL;

    *out       = (pq_train_summary){.n_epochs          = t->n_history,
                                    .history           = t->history,
                                    .first             = pq_sparse_first(t->options->sparse),
                                    .best              = t->best_epoch,
                                    .n_classes         = t->classes,
                                    .recalls           = t->recalls,
                                    .floors            = t->floors,
                                    .floor_held        = best == NULL || best->shortfall <= 0.0,
                                    .stopped_early     = stopped,
                                    .resumed           = t->resumed,
                                    .events            = t->n_train,
                                    .validation_events = t->n_valid,
                                    .chunk             = t->net->chunk};
    t->history = NULL;
    t->recalls = NULL;
    t->floors  = NULL;
    pq_hold_free(&t->hold); /* which reads them */
}

static pq_status resume(pq_trainer *t, const pq_train_data *data, char *name, pq_err *err)
{
    const pq_train_options *o = t->options;
    pq_status               st;

    if (o->checkpoint == NULL) {
        return PQ_OK;
    }
    PQ_TRY(pq_checkpoint_name(t, data, name, err));
    st = pq_checkpoint_read(t, name, o->checkpoint, &t->resumed,
                            o->replace_checkpoint ? NULL : err);
    if (st == PQ_ERR_FORMAT && o->replace_checkpoint) {
        t->resumed = false;
        st         = PQ_OK;
    }
cleanup:
    return st;
}

pq_status pq_train(pq_graph *graph, const pq_train_data *data,
                   const pq_train_params *params, const pq_train_options *options,
                   pq_train_summary *out, pq_err *err)
{
    pq_trainer     t      = {.graph = graph, .params = params, .options = options};
    const unsigned state  = pq_flush_denormals();
    const size_t   before = pq_memory_bytes();
    char           name[PQ_HASH_TEXT];
    bool           stopped = false;
    pq_status      st;

    pq_memory_peak_start();
    PQ_TRY(pq_train_check(params, err));
    if (params->epochs == 0) {
        *out = (pq_train_summary){.first = 1, .floor_held = true};
        goto cleanup;
    }
    PQ_TRY(pq_trainer_create(&t, data, err));
    PQ_TRY(resume(&t, data, name, err));
    st = run_epochs(&t, name, &stopped, err);
    if (st == PQ_OK) {
        st = pq_front_attach(&t, graph, err);
    }
    pq_net_store(t.net, t.best, graph);
    if (st == PQ_OK) {
        st = pq_sparse_mark(t.net, t.best, graph, err);
    }
    if (st == PQ_OK || st == PQ_ERR_NUMERIC || st == PQ_ERR_INTERRUPTED) {
        summarise(&t, stopped, out);
        out->peak_bytes = pq_memory_peak() - before;
    }
cleanup:
    pq_restore_denormals(state);
    pq_trainer_free(&t);
    return st;
}

void pq_train_summary_free(pq_train_summary *s)
{
    pq_free(s->history);
    pq_free(s->recalls);
    pq_free(s->floors);
    *s = (pq_train_summary){0};
}
