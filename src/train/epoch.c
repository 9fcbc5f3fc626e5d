#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/text.h"
#include "train/classes.h"
#include "train/hold.h"
#include "train/sparsify.h"
#include "train/steer.h"

static pq_loss_chunk chunk_of(const pq_trainer *t, const pq_net_call *c, size_t first)
{
    return (pq_loss_chunk){.kernels = c->net->kernels,
                           .rows    = c->rows,
                           .logits  = pq_net_value(c, c->net->logits),
                           .labels  = t->y + first,
                           .weights = t->w + first,
                           .scale   = t->scale};
}

static void training_loss(void *context, const pq_net_call *c)
{
    pq_trainer   *t     = context;
    const size_t  first = c->chunk * c->net->chunk;
    pq_loss_chunk k     = chunk_of(t, c, first);

    k.gradient = pq_net_gradient(c, c->net->logits);
    pq_sparse_look(c->net, c->rows, c->chunk, c->slot);
    pq_hold_look(t, c->chunk, first, c->rows, k.logits);
    if (t->teacher.net != NULL) {
        k.teacher = t->teacher.logits + first * t->loss.width;
    }
    t->results[c->chunk].loss =
        pq_loss_run(&t->loss, &k) + pq_teacher_layers(t, c, first);
}

static void validation_loss(void *context, const pq_net_call *c)
{
    pq_trainer         *t     = context;
    const size_t        first = c->chunk * c->net->chunk;
    const pq_loss_chunk k     = chunk_of(t, c, first);
    double             *hits  = t->hits + c->chunk * t->classes;
    double             *seen  = t->seen + c->chunk * t->classes;

    t->results[c->chunk].loss += pq_loss_run(&t->loss, &k);
    for (size_t i = 0; i < k.rows; i++) {
        const int32_t y    = k.labels[i];
        const float  *z    = k.logits + i * t->loss.width;
        const double  mine = (double)k.weights[i];
        seen[y] += mine;
        hits[y] += pq_loss_decision(&t->loss, z) == y ? mine : 0.0;
    }
}

static double sum_results(const pq_trainer *t, size_t n)
{
    double sum = 0.0;

    for (size_t c = 0; c * t->net->chunk < n; c++) {
        sum += t->results[c].loss;
    }
    return sum;
}

/* Says where a loss or gradient stopped being a number. */
static pq_status not_finite(pq_trainer *t, const pq_net_batch *batch, size_t epoch,
                            size_t number, double loss, pq_err *err)
{
    const size_t weight = isfinite(loss) ? pq_optimizer_blame(t->net) : SIZE_MAX;
    const char  *layer  = weight == SIZE_MAX
                              ? pq_net_blame(t->net, batch, true)
                              : t->graph->nodes[t->net->weights[weight].node].name;

    (void)pq_err_set(err, PQ_ERR_NUMERIC, __FILE__, __LINE__,
                     "epoch %zu, batch %zu: the %s is not finite, first in layer '%s'",
                     epoch, number, weight == SIZE_MAX ? "loss" : "gradient",
                     layer != NULL ? layer : "loss");
    pq_err_hint(err, "try a lower lr, or clip_norm");
    return PQ_ERR_NUMERIC;
}

/* At most ten reports a second. */
static void report(const pq_trainer *t, size_t epoch, size_t done, double loss,
                   double seconds)
{
    const size_t epochs = (size_t)t->params->epochs;
    const double rate   = seconds > 0.0 ? (double)done / seconds : 0.0;
    const double left =
        (double)(t->n_train - done) + (double)((epochs - epoch) * t->n_train);
    char note[160], metric[48] = "", time[32];

    if (t->n_history > 0 && t->n_valid > 0) {
        (void)pq_snprintf(metric, sizeof metric, "accuracy %.4f, ",
                          t->history[t->n_history - 1].accuracy);
    }
    (void)pq_snprintf(note, sizeof note, "epoch %zu, loss %.4f, %s%.3g events/s, %s left",
                      epoch, loss, metric, rate,
                      pq_seconds_text(rate > 0.0 ? left / rate : 0.0, time, sizeof time));
    pq_progress_report(t->options->progress, "events", (epoch - 1) * t->n_train + done,
                       epochs * t->n_train, note);
}

static double mean_loss(double total, double weight)
{
    return weight > 0.0 ? total / weight : 0.0;
}

static pq_status order_epoch(pq_trainer *t, size_t epoch, pq_err *err)
{
    const uint64_t seed = (uint64_t)t->params->seed;

    if (t->params->sampling == PQ_SAMPLING_BALANCED) {
        return pq_order_balanced(seed, epoch, &t->train_events, t->classes,
                                 t->train_index, t->n_train, t->order, err);
    }
    if (t->ordering.epoch != epoch) {
        pq_order_start(seed, epoch, t->train_index, t->n_train, t->next_order,
                       &t->ordering);
    }
    pq_order_go_on(&t->ordering, t->n_train);
    t->next_order = t->order;
    t->order      = t->ordering.out;
    t->ordering   = (pq_order){0};
    if (epoch < (size_t)t->params->epochs) {
        pq_order_start(seed, epoch + 1, t->train_index, t->n_train, t->next_order,
                       &t->ordering);
        t->swaps = (size_t)t->params->batch;
    }
    return PQ_OK;
}

static void prepare_aside(void *trainer)
{
    pq_trainer *t = trainer;

    pq_batch_gather(t, &t->train_events, t->class_weight);
    pq_order_go_on(&t->ordering, t->swaps);
}

/* Before the batch that starts with event `first` of an epoch, counted from 1. */
static pq_course course_of(const pq_trainer *t, size_t epoch, size_t first, size_t most)
{
    const double batches = (double)((t->n_train + most - 1) / most);
    const double done    = (double)(epoch - 1);

    return (pq_course){.epoch = done + (double)first / (double)t->n_train,
                       .step  = done * batches + (double)(first / most),
                       .steps = (double)t->params->epochs * batches};
}

pq_status pq_trainer_epoch(pq_trainer *t, size_t epoch, pq_train_epoch *out, pq_err *err)
{
    const double start = pq_clock_wall_s();
    const size_t most =
        (size_t)t->params->batch < t->n_train ? (size_t)t->params->batch : t->n_train;
    double    total = 0.0, weight = 0.0, last;
    size_t    number = 0;
    pq_rng    keys   = pq_rng_stream((uint64_t)t->params->seed ^ epoch << 32, "batch");
    pq_status st;

    out->epoch       = epoch;
    t->net->qat.beta = pq_steer_beta(t->params, t->history, t->n_history);
    t->told_s        = t->told_s > 0.0 ? t->told_s : start;
    PQ_TRY(order_epoch(t, epoch, err));
    if (t->n_train / most >= PQ_TRIAL_AGAIN) {
        pq_trial_start(&t->trial, t->pool);
    }
    if (t->net->sparse != NULL) {
        PQ_TRY(pq_sparse_epoch(t->net, epoch, (t->n_train + most - 1) / most, err));
        pq_net_prepare(t->net);
    }
    t->augment          = t->how.height > 0;
    t->net->norms_fixed = t->params->fold_norm_after != PQ_UNSET &&
                          (int64_t)epoch > t->params->fold_norm_after;
    pq_batch_announce(t, t->order, most);
    pq_batch_gather(t, &t->train_events, t->class_weight);
    last = pq_clock_wall_s();
    for (size_t i = 0; i < t->n_train; i += most, number++) {
        const size_t    n  = t->n_train - i < most ? t->n_train - i : most;
        const pq_course at = course_of(t, epoch, i, most);
        double          loss, now;
        PQ_CHECK(t->options->stop == NULL || *t->options->stop == 0, PQ_ERR_INTERRUPTED,
                 "interrupted in epoch %zu of %zu", epoch, (size_t)t->params->epochs);
        const size_t       left  = t->n_train - i - n;
        const pq_net_batch batch = {.n    = n,
                                    .step = t->key = pq_rng_bits(&keys),
                                    .fill          = pq_trainer_fill,
                                    .loss          = training_loss,
                                    .context       = t,
                                    .aside         = left > 0 ? prepare_aside : NULL};
        pq_batch_take(t, &t->train_events);
        pq_batch_announce(t, t->order + i + n, left < most ? left : most);
        pq_teacher_run(t, &t->teacher, n);
        pq_sparse_batch(t->net, n);
        pq_net_train(t->net, &batch);
        pq_hold_step(t, i, n);
        loss = sum_results(t, n) + pq_grids_penalty(t->net) + pq_sparse_penalty(t->net);
        out->lr = pq_learning_rate(t->params, &at);
        if (!isfinite(loss) ||
            !pq_optimizer_step(&t->optimizer, t->net,
                               (n + t->net->chunk - 1) / t->net->chunk, out->lr)) {
            st = not_finite(t, &batch, epoch, number + 1, loss, err);
            goto cleanup;
        }
        total += loss * t->weight;
        weight += t->weight;
        now = pq_clock_wall_s();
        pq_trial_step(&t->trial, t->pool, now - last);
        last = now;
        if (now - t->told_s > 0.1) {
            report(t, epoch, i + n, mean_loss(total, weight), now - start);
            t->told_s = now;
        }
    }
    out->train_loss   = mean_loss(total, weight);
    out->seconds      = pq_clock_wall_s() - start;
    out->events_per_s = (double)t->n_train / out->seconds;
    out->threads      = pq_pool_working(t->pool);
cleanup:
    return st;
}

/* One pass over the validation events; NULL, or the first layer whose output is not
   finite where the loss is not. */
static const char *run_validation(pq_trainer *t, double *loss)
{
    const size_t most = t->net->batch;
    double       sum = 0.0, weight = 0.0;

    t->augment = false;
    memset(t->hits, 0, t->net->chunks * t->classes * sizeof *t->hits);
    memset(t->seen, 0, t->net->chunks * t->classes * sizeof *t->seen);
    for (size_t i = 0; i < t->n_valid; i += most) {
        const size_t       n     = t->n_valid - i < most ? t->n_valid - i : most;
        const pq_net_batch batch = {
            .n = n, .fill = pq_trainer_fill, .loss = validation_loss, .context = t};
        pq_batch_start(t, t->valid_events, t->valid_index + i, n);
        memset(t->results, 0, t->net->chunks * sizeof *t->results);
        pq_net_infer(t->net, &batch);
        sum += sum_results(t, n) * t->weight;
        weight += t->weight;
        if (!isfinite(sum)) {
            const char *layer = pq_net_blame(t->net, &batch, false);
            return layer != NULL ? layer : "loss";
        }
    }
    *loss = mean_loss(sum, weight) + pq_grids_penalty(t->net) + pq_sparse_penalty(t->net);
    return NULL;
}

/* The layer of the first weight that is not finite, or NULL. */
static const char *blame_weights(const pq_trainer *t, const float *flat)
{
    for (size_t i = 0; i < t->net->n_rows; i++) {
        const pq_net_weight *w = &t->net->weights[i];
        for (size_t k = 0; k < w->count; k++) {
            if (!isfinite(flat[w->offset + k])) {
                return t->graph->nodes[w->node].name;
            }
        }
    }
    return NULL;
}

pq_status pq_trainer_validate(pq_trainer *t, const float *flat, pq_train_epoch *out,
                              pq_err *err)
{
    const size_t bytes = t->net->n_flat * sizeof(float);
    const char  *layer = blame_weights(t, flat), *what = "a weight";
    pq_status    st;

    out->validation_loss = out->accuracy = out->lowest_recall = (double)NAN;
    if (layer == NULL && t->n_valid > 0) {
        memcpy(t->aside, t->net->flat, bytes);
        memcpy(t->net->flat, flat, bytes);
        pq_net_prepare(t->net);
        layer = run_validation(t, &out->validation_loss);
        what  = "the validation loss";
        memcpy(t->net->flat, t->aside, bytes);
        pq_net_prepare(t->net);
    }
    PQ_CHECK(layer == NULL, PQ_ERR_NUMERIC,
             "epoch %zu: %s is not finite, first in layer '%s'", out->epoch, what, layer);
    if (t->n_valid > 0) {
        pq_classes_score(t, out);
    }
cleanup:
    if (st != PQ_OK) {
        pq_err_hint(err, "try a lower lr, or clip_norm");
    }
    return st;
}
