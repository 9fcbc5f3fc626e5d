#include "train/checkpoint.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "kernels/cpu.h"
#include "train/front.h"
#include "train/hold.h"
#include "train/sparsify.h"

/* Raised when the numbers of training change: an older checkpoint would be gone on from
   with other arithmetic than it began with. */
#define NUMERICS "3"

static const char magic[] = "pquant-train-5\n";

enum { MAGIC = sizeof magic - 1, NAME = PQ_HASH_TEXT - 1 };

/* What stands before history and arrays. */
typedef struct {
    uint64_t n_flat, n_history, best_epoch, steps, moments, n_front;
} counts;

pq_status pq_checkpoint_name(const pq_trainer *t, const pq_train_data *data,
                             char out[PQ_HASH_TEXT], pq_err *err)
{
    const pq_graph *others[] = {t->options->teacher, t->options->reference};
    char            text[PQ_HASH_TEXT];
    pq_train_params shown  = *t->params; /* borrows the strings */
    pq_text         params = {0};
    pq_hash         h;
    pq_status       st;

    if (shown.schedule == PQ_SCHEDULE_CONSTANT || shown.schedule == PQ_SCHEDULE_STEP) {
        shown.epochs =
            t->options->sparse != NULL
                ? shown.epochs
                : 0; /* only how far it goes: a finished run can be prolonged */
    }
    pq_params_print(pq_train_param_table, &shown, &params);
    PQ_CHECK(!params.failed, PQ_ERR_NOMEM, "cannot allocate a string");
    pq_hash_start(&h);
    pq_hash_text(&h, NUMERICS);
    pq_hash_text(&h, pq_isa_name(pq_cpu_isa()));
    pq_hash_text(&h, params.text);
    pq_hash_text(&h, t->options->sparse != NULL ? t->options->sparse->key : "");
    PQ_TRY(pq_graph_hash(t->graph, text, err));
    pq_hash_text(&h, text);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        text[0] = '\0';
        if (others[i] != NULL) {
            PQ_TRY(pq_graph_hash(others[i], text, err));
        }
        pq_hash_text(&h, text);
    }
    PQ_TRY(pq_dataset_hash(data->dataset, data->train, text, err));
    pq_hash_text(&h, text);
    if (data->validation != SIZE_MAX) {
        PQ_TRY(pq_dataset_hash(pq_train_watched(data), data->validation, text, err));
        pq_hash_text(&h, text);
    }
    pq_hash_end(&h, out);
cleanup:
    pq_text_free(&params);
    return st;
}

/* The arrays, in order. */
typedef struct {
    void  *data;
    size_t bytes;
} part;

enum { PARTS = 11 };

static size_t list_parts(const pq_trainer *t, size_t n_history, size_t n_front,
                         part parts[PARTS])
{
    const size_t        floats = t->net->n_flat * sizeof(float);
    const size_t        holds  = t->hold.on ? t->classes * sizeof(double) : 0;
    const pq_optimizer *o      = &t->optimizer;
    const part          all[]  = {{t->history, n_history * sizeof *t->history},
                                  {t->recalls, n_history * t->classes * sizeof *t->recalls},
                                  {t->net->flat, floats},
                                  {t->best, floats},
                                  {o->first, floats},
                                  {o->second, o->second != NULL ? floats : 0},
                                  {o->average, o->average != NULL ? floats : 0},
                                  {t->hold.u, holds},
                                  {t->hold.aim, holds},
                                  {t->front.weights, n_front * floats},
                                  {t->front.epochs, n_front * sizeof(size_t)}};
    size_t              bytes  = 0;

    memcpy(parts, all, sizeof all);
    for (size_t i = 0; i < PARTS; i++) {
        bytes += all[i].bytes;
    }
    return bytes;
}

static counts counts_of(const pq_trainer *t)
{
    const pq_optimizer *o = &t->optimizer;

    return (counts){.n_front    = t->front.n,
                    .n_flat     = t->net->n_flat,
                    .n_history  = t->n_history,
                    .best_epoch = t->best_epoch,
                    .steps      = o->steps,
                    .moments =
                        (o->second != NULL ? 1U : 0U) + (o->average != NULL ? 2U : 0U)};
}

static void digest(const char *bytes, size_t n, char out[PQ_HASH_TEXT])
{
    pq_hash h;

    pq_hash_start(&h);
    pq_hash_bytes(&h, bytes, n);
    pq_hash_end(&h, out);
}

pq_status pq_checkpoint_write(const pq_trainer *t, const char *name, const char *path,
                              pq_err *err)
{
    part         parts[PARTS];
    const counts c      = counts_of(t);
    const size_t before = MAGIC + NAME + sizeof c;
    const size_t n      = before + list_parts(t, t->n_history, t->front.n, parts);
    char        *bytes  = NULL, *at, sum[PQ_HASH_TEXT];
    pq_status    st;

    PQ_NEW(bytes, n + NAME);
    memcpy(bytes, magic, MAGIC);
    memcpy(bytes + MAGIC, name, NAME);
    memcpy(bytes + MAGIC + NAME, &c, sizeof c);
    at = bytes + before;
    for (size_t i = 0; i < PARTS; i++) {
        memcpy(at, parts[i].data != NULL ? parts[i].data : bytes, parts[i].bytes);
        at += parts[i].bytes;
    }
    digest(bytes, n, sum);
    memcpy(at, sum, NAME);
    PQ_TRY(pq_file_write(path, bytes, n + NAME, err));
cleanup:
    pq_free(bytes);
    return st;
}

/* Epochs count from 1, and a bool is 0 or 1. */
static pq_status check_history(const char *path, const char *at, size_t n, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; i < n; i++) {
        const char   *row = at + i * sizeof(pq_train_epoch);
        unsigned char best;
        size_t        epoch;
        memcpy(&epoch, row + offsetof(pq_train_epoch, epoch), sizeof epoch);
        memcpy(&best, row + offsetof(pq_train_epoch, best), sizeof best);
        PQ_CHECK(epoch == i + 1 && best <= 1, PQ_ERR_FORMAT,
                 "%s: row %zu of the checkpoint's history is of epoch %zu", path, i + 1,
                 epoch);
    }
cleanup:
    return st;
}

/* Weights are finite: training stops before it writes others. */
static pq_status check_weights(const char *path, const char *at, size_t n, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; i < n; i++) {
        float x;
        memcpy(&x, at + i * sizeof x, sizeof x);
        PQ_CHECK(isfinite(x), PQ_ERR_FORMAT, "%s: the checkpoint holds a weight of %g",
                 path, (double)x);
    }
cleanup:
    return st;
}

/* The networks of a front and their epochs, the last parts before `end`. */
static pq_status check_front(const char *path, const char *end, const counts *c,
                             pq_err *err)
{
    const size_t n      = (size_t)c->n_front;
    const char  *epochs = end - n * sizeof(size_t);
    size_t       epoch, before = 0;
    pq_status    st;

    PQ_TRY(check_weights(path, epochs - n * (size_t)c->n_flat * sizeof(float),
                         n * (size_t)c->n_flat, err));
    for (size_t i = 0; i < n; i++) {
        memcpy(&epoch, epochs + i * sizeof epoch, sizeof epoch);
        PQ_CHECK(epoch > before && epoch <= c->n_history, PQ_ERR_FORMAT,
                 "%s: the checkpoint's front has an epoch %zu, of %zu", path, epoch,
                 (size_t)c->n_history);
        before = epoch;
    }
cleanup:
    return st;
}

static pq_status check(const pq_trainer *t, const char *name, const char *path,
                       const char *bytes, size_t n, counts *c, pq_err *err)
{
    const size_t before = MAGIC + NAME + sizeof *c;
    const counts due    = counts_of(t);
    part         parts[PARTS];
    char         sum[PQ_HASH_TEXT];
    pq_status    st;

    PQ_CHECK(n >= before + NAME && memcmp(bytes, magic, MAGIC) == 0, PQ_ERR_FORMAT,
             "%s: not a checkpoint of a training run", path);
    digest(bytes, n - NAME, sum);
    PQ_CHECK(memcmp(bytes + n - NAME, sum, NAME) == 0, PQ_ERR_FORMAT,
             "%s: the checkpoint is damaged", path);
    PQ_CHECK(memcmp(bytes + MAGIC, name, NAME) == 0, PQ_ERR_FORMAT,
             "%s: the checkpoint belongs to a run with other options, events, weights or "
             "instructions of the processor",
             path);
    memcpy(c, bytes + MAGIC + NAME, sizeof *c);
    PQ_CHECK(c->n_history <= (uint64_t)t->params->epochs, PQ_ERR_FORMAT,
             "%s: the checkpoint already has %zu epochs, more than %zu", path,
             (size_t)c->n_history, (size_t)t->params->epochs);
    PQ_CHECK(c->n_flat == due.n_flat && c->moments == due.moments &&
                 c->n_front <= (t->params->hgq_front ? c->n_history : 0) &&
                 n == before +
                          list_parts(t, (size_t)c->n_history, (size_t)c->n_front, parts) +
                          NAME,
             PQ_ERR_FORMAT, "%s: the checkpoint has other sizes than this run", path);
    PQ_CHECK(c->best_epoch <= c->n_history, PQ_ERR_FORMAT,
             "%s: the checkpoint says that epoch %llu was the best, of %zu", path,
             (unsigned long long)c->best_epoch, (size_t)c->n_history);
    PQ_TRY(check_history(path, bytes + before, (size_t)c->n_history, err));
    const char *weights = bytes + before + parts[0].bytes + parts[1].bytes;
    PQ_TRY(check_weights(path, weights, 2 * (size_t)c->n_flat, err)); /* last, best */
    PQ_TRY(check_front(path, bytes + n - NAME, c, err));
cleanup:
    return st;
}

pq_status pq_checkpoint_read(pq_trainer *t, const char *name, const char *path,
                             bool *found, pq_err *err)
{
    char       *bytes = NULL;
    const char *at;
    size_t      n = 0;
    part        parts[PARTS];
    counts      c;
    pq_status   st = PQ_OK;

    *found = pq_file_exists(path);
    if (!*found) {
        return PQ_OK;
    }
    PQ_TRY(pq_file_read(path, SIZE_MAX - 1, &bytes, &n, err));
    PQ_TRY(check(t, name, path, bytes, n, &c, err));
    t->n_history       = (size_t)c.n_history;
    t->best_epoch      = (size_t)c.best_epoch;
    t->optimizer.steps = c.steps;
    PQ_TRY(pq_front_reserve(t, (size_t)c.n_front, err));
    t->front.n = (size_t)c.n_front;
    (void)list_parts(t, t->n_history, t->front.n, parts);
    at = bytes + MAGIC + NAME + sizeof c;
    for (size_t i = 0; i < PARTS; i++) {
        if (parts[i].bytes > 0) {
            memcpy(parts[i].data, at, parts[i].bytes);
        }
        at += parts[i].bytes;
    }
    for (size_t i = 0; i < t->n_history; i++) { /* pointers do not outlive a process */
        t->history[i].recall = t->n_valid > 0 ? t->recalls + i * t->classes : NULL;
    }
    pq_hold_resume(t);
    pq_net_prepare(t->net);
cleanup:
    pq_free(bytes);
    return st;
}
