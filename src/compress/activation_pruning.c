/*
 * Activation pruning: after t_start_collecting_batch batches of the training stage, the
 * share of outputs above 0 of each channel (before a relu, over events and places) is
 * averaged over t_delta batches; channels at or below `threshold` get a mask over their
 * row of the kernel, and the next window begins. A channel that went stays away: its bias
 * alone would otherwise bring it back. Rows that are the network's outputs stay.
 *
 * Source: PQuantML 0.1.0, arXiv:2603.26595.
 */
#include <math.h>
#include <string.h>

#include "compress/sparse_training.h"

typedef struct {
    pq_sparse_params common;
    double           threshold;
    int64_t          t_delta, t_start_collecting_batch;
} ap_params;

#define AT(field) offsetof(ap_params, field)
static const pq_param params[] = {
    PQ_SPARSE_ROWS("0", "200", "1", "0", "never", NULL),
    PQ_ROW_REAL(AT(threshold), "threshold", "0.2", 0, 1,
                "share of outputs above 0 up to which a channel goes"),
    PQ_ROW_INT(AT(t_delta), "t_delta", "100", 1, 1000000, "batches of a window"),
    PQ_ROW_INT(AT(t_start_collecting_batch), "t_start_collecting_batch", "100", 0,
               1000000000, "batches of the training stage before the first window"),
    {0},
};

static const ap_params *of(const pq_sparse_run *run)
{
    return (const ap_params *)run->params;
}

/* s: sums of the window [rows], means of the last one [rows]. */
static size_t state(const void *values, const pq_sparse_kernel *k)
{
    (void)values;
    return 2 * k->rows;
}

static size_t unit(const void *values, const pq_sparse_kernel *k)
{
    (void)values;
    return k->row;
}

static pq_status begin(pq_sparse_run *run, pq_err *err)
{
    const size_t first = (size_t)(of(run)->t_start_collecting_batch + of(run)->t_delta);
    pq_status    st    = PQ_OK;

    PQ_CHECK(first <= run->steps, PQ_ERR_CONFIG,
             "t_start_collecting_batch + t_delta = %zu: the first window ends behind the "
             "%zu batches of the training stage",
             first, run->steps);
cleanup:
    return st;
}

/* Share of a channel's outputs above 0 in the batch that was. */
static float share_of(const pq_sparse_run *run, const pq_sparse_kernel *k, size_t row)
{
    double hits = 0.0;

    for (size_t c = 0; c < run->chunks; c++) {
        hits += (double)run->seen[c * run->n_seen + k->seen + row];
    }
    return (float)(hits / (double)run->events /
                   (double)(run->net->values[k->value].count / k->rows));
}

static void end_window(const pq_sparse_run *run, pq_sparse_kernel *k)
{
    for (size_t r = 0; r < k->rows; r++) {
        k->s[k->rows + r] = k->s[r] / (float)of(run)->t_delta;
        k->s[r]           = 0.0F;
        if ((double)k->s[k->rows + r] <= of(run)->threshold && !k->ends) {
            memset(k->m + r * k->row, 0, k->row * sizeof *k->m);
        }
    }
}

static void step(pq_sparse_run *run)
{
    const size_t start = (size_t)of(run)->t_start_collecting_batch;

    if (run->step <= start) {
        return;
    }
    for (size_t i = 0; i < run->n; i++) {
        pq_sparse_kernel *k = &run->kernels[i];
        for (size_t r = 0; r < k->rows; r++) {
            k->s[r] += share_of(run, k, r);
        }
        if ((run->step - start) % (size_t)of(run)->t_delta == 0) {
            end_window(run, k);
        }
    }
}

/* How much above the threshold; least what went already. */
static void score(const pq_sparse_run *run, const pq_sparse_kernel *k, float *out)
{
    for (size_t i = 0; i < k->count; i++) {
        const float more = k->s[k->rows + i / k->row] - (float)of(run)->threshold;
        out[i]           = k->m[i] > 0.0F ? fmaxf(more, 1e-9F) : more - 2.0F;
    }
}

const pq_sparse_method pq_sparse_activation_pruning = {.name  = "activation_pruning",
                                                       .state = state,
                                                       .needs_outputs = true,
                                                       .begin         = begin,
                                                       .shape = pq_sparse_mask_weights,
                                                       .backward =
                                                           pq_sparse_mask_gradient,
                                                       .step  = step,
                                                       .unit  = unit,
                                                       .score = score};

static pq_status apply(pq_compress_task *task, pq_err *err)
{
    return pq_sparse_training_apply(task, &pq_sparse_activation_pruning, params, err);
}

const pq_method pq_method_activation_pruning = PQ_SPARSE_METHOD(
    "activation_pruning",
    "prunes channels whose outputs are seldom above 0 while it trains",
    "arXiv:2603.26595", params, ap_params, pq_sparse_training_check, apply);
