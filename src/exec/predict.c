#include "exec/predict.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "core/memory.h"
#include "core/threads.h"

enum {
    READ_FLOATS = 1 << 20, /**< events read at a time: about so many values */
    ENOUGH_ROWS = 16,      /**< to know a deviation */
};

typedef struct {
    pq_dataset               *dataset;
    size_t                    split;
    const pq_predict_options *options;
    size_t                    n;     /* events */
    size_t                    read;  /* values of one in the file, */
    size_t                    count; /* and as the model takes it */
    size_t                    step;  /* events of a piece, a multiple of PQ_CHUNK */
    pq_rescale                scale;
    pq_plan                 **plans; /* [threads] */
    float                   **x;     /* [threads], each [step, count] */
    pq_predictions           *out;
    atomic_size_t             done;
} job;

/* Shapes are the same but for axes of one, or the model takes the values in a row. */
static bool fits(const pq_shape *model, const pq_shape *sample)
{
    size_t   a = 0, b = 0;
    pq_shape kept[2] = {{0, {0}}, {0, {0}}};

    for (size_t d = 0; d < model->ndim; d++) {
        if (model->dim[d] != 1) {
            kept[0].dim[kept[0].ndim++] = model->dim[d];
        }
    }
    for (size_t d = 0; d < sample->ndim; d++) {
        if (sample->dim[d] != 1) {
            kept[1].dim[kept[1].ndim++] = sample->dim[d];
        }
    }
    return pq_shape_equal(&kept[0], &kept[1]) ||
           (kept[0].ndim <= 1 && pq_shape_count(model, &a) &&
            pq_shape_count(sample, &b) && a == b);
}

pq_status pq_predict_check(const pq_plan *plan, const pq_dataset_info *info,
                           const pq_rescale *scale, pq_err *err)
{
    pq_shape  due, taken = info->sample;
    char      a[128], b[128];
    pq_status st;

    PQ_CHECK(pq_plan_inputs(plan) == 1, PQ_ERR_UNSUPPORTED,
             "the model has %zu inputs, but a dataset gives one", pq_plan_inputs(plan));
    due = pq_plan_input_shape(plan, 0);
    if (scale != NULL && scale->n > 0) {
        taken.dim[taken.ndim - 1] = scale->kept;
    }
    PQ_CHECK(fits(&due, &taken), PQ_ERR_SHAPE,
             "the events of %s are %s, but the model's input is %s", info->path,
             pq_shape_text(&info->sample, a, sizeof a), pq_shape_text(&due, b, sizeof b));
cleanup:
    return st;
}

static size_t stride_of(const pq_predict_options *options)
{
    return options->stride > 0 ? options->stride : 1;
}

/* Reads n of the chosen events, from the first-th on. */
static pq_status read_events(job *j, size_t first, size_t n, float *x, pq_err *err)
{
    const size_t   stride = stride_of(j->options);
    const pq_batch whole  = {x, j->out->labels + first, j->out->weights + first};
    pq_status      st     = PQ_OK;

    if (stride == 1) {
        return pq_rescale_read(&j->scale, j->dataset, j->split, first, n, &whole, err);
    }
    for (size_t i = 0; i < n; i++) {
        const pq_batch one = {x + i * j->count, whole.y + i, whole.weight + i};
        PQ_TRY(pq_rescale_read(&j->scale, j->dataset, j->split, (first + i) * stride, 1,
                               &one, err));
    }
cleanup:
    return st;
}

/* Mean of the first events as the model sees them, and deviation within a feature. */
static void look_at_inputs(const job *j, size_t n, const float *x)
{
    const pq_shape *sample   = &pq_dataset_describe(j->dataset)->sample;
    const size_t    all      = sample->ndim > 0 ? sample->dim[sample->ndim - 1] : 1;
    const size_t    features = pq_rescale_values(&j->scale, all);
    const size_t    rows     = n * j->count / features;
    double          mean = 0.0, variance = 0.0;

    for (size_t f = 0; f < features && rows >= ENOUGH_ROWS; f++) {
        double sum = 0.0, squares = 0.0;
        for (size_t r = 0; r < rows; r++) {
            sum += (double)x[r * features + f];
            squares += (double)x[r * features + f] * (double)x[r * features + f];
        }
        sum /= (double)rows;
        mean += sum / (double)features;
        variance += fmax(squares / (double)rows - sum * sum, 0.0) / (double)features;
    }
    j->out->input_mean      = mean;
    j->out->input_deviation = rows >= ENOUGH_ROWS ? sqrt(variance) : 1.0;
}

static pq_status run_piece(void *context, size_t piece, size_t thread, pq_err *err)
{
    job         *j     = context;
    const size_t first = piece * j->step;
    const size_t n     = j->n - first < j->step ? j->n - first : j->step;
    float       *x     = j->x[thread];
    pq_status    st;

    PQ_TRY(read_events(j, first, n, x, err));
    if (piece == 0) {
        look_at_inputs(j, n < PQ_CHUNK ? n : PQ_CHUNK, x);
    }
    memset(x + n * j->count, 0, (j->step - n) * j->count * sizeof *x);
    for (size_t at = 0; at < n; at += PQ_CHUNK) {
        const float *in = x + at * j->count;
        PQ_CHECK(!pq_progress_stopped(j->options->progress), PQ_ERR_INTERRUPTED,
                 "stopped after %zu of %zu events", atomic_load(&j->done), j->n);
        PQ_TRY(pq_plan_run(j->plans[thread], PQ_CHUNK, &in,
                           j->out->outputs + (first + at) * j->out->width, err));
    }
    (void)atomic_fetch_add(&j->done, n);
    if (thread == 0) {
        pq_progress_report(j->options->progress, "events", atomic_load(&j->done), j->n,
                           NULL);
    }
cleanup:
    return st;
}

static size_t choose_step(const job *j, size_t threads)
{
    size_t step = j->options->batch;

    if (step == 0) {
        step = READ_FLOATS / (j->read == 0 ? 1 : j->read);
        step = step < j->n / (2 * threads) ? step : j->n / (2 * threads);
    }
    step = step < j->n ? step : j->n;
    return step < PQ_CHUNK ? PQ_CHUNK : (step + PQ_CHUNK - 1) / PQ_CHUNK * PQ_CHUNK;
}

/* One plan and one buffer a thread. */
static pq_status make_plans(job *j, const pq_graph *graph, size_t threads, pq_err *err)
{
    const pq_plan_options options = {.engine = j->options->engine, .batch = PQ_CHUNK};
    pq_shape              shape;
    pq_status             st;

    PQ_NEW(j->plans, threads);
    PQ_NEW(j->x, threads);
    PQ_TRY(pq_plan_create_lean(graph, &options, &j->plans[0], err));
    PQ_TRY(
        pq_predict_check(j->plans[0], pq_dataset_describe(j->dataset), &j->scale, err));
    for (size_t t = 0; t < threads; t++) {
        if (t > 0) {
            PQ_TRY(pq_plan_fork(j->plans[0], &j->plans[t], err));
        }
        PQ_CHECK(j->read < SIZE_MAX / sizeof(float) / j->step, PQ_ERR_NOMEM,
                 "%zu events of %zu values do not fit into memory", j->step, j->read);
        PQ_NEW(j->x[t], j->step * j->read);
    }
    shape = pq_plan_output_shape(j->plans[0]);
    PQ_CHECK(pq_shape_count(&shape, &j->out->width), PQ_ERR_SHAPE,
             "the output is too large");
cleanup:
    return st;
}

static void job_free(job *j, size_t threads)
{
    for (size_t t = threads; t-- > 0;) {
        if (j->plans != NULL) {
            pq_plan_free(&j->plans[t]); /* forks go before the plan they share */
        }
        if (j->x != NULL) {
            pq_free(j->x[t]);
        }
    }
    pq_free(j->plans);
    pq_free(j->x);
    pq_rescale_free(&j->scale);
}

pq_status pq_predict(const pq_graph *graph, pq_dataset *dataset, size_t split,
                     const pq_predict_options *options, pq_predictions *out, pq_err *err)
{
    const pq_dataset_info *info    = pq_dataset_describe(dataset);
    size_t                 threads = options->threads;
    pq_predictions         made    = {.n = info->splits[split].n};
    job                    j = {.dataset = dataset, .split = split, .options = options};
    pq_text                kernels = {0};
    size_t                 rows;
    pq_status              st;

    made.n  = (made.n + stride_of(options) - 1) / stride_of(options);
    threads = threads == 0 ? pq_threads_available() : threads;
    made.n  = options->limit > 0 && options->limit < made.n ? options->limit : made.n;
    j.n     = made.n;
    j.out   = &made;
    PQ_CHECK(made.n >= 1, PQ_ERR_FORMAT, "%s has no events in split '%s'", info->path,
             info->splits[split].name);
    PQ_CHECK(pq_shape_count(&info->sample, &j.read), PQ_ERR_SHAPE,
             "an event of %s has too many values", info->path);
    PQ_TRY(pq_rescale_make(graph, info, &j.scale, err));
    j.count = pq_rescale_values(&j.scale, j.read);
    threads = threads < (made.n + PQ_CHUNK - 1) / PQ_CHUNK
                  ? threads
                  : (made.n + PQ_CHUNK - 1) / PQ_CHUNK;
    j.step  = choose_step(&j, threads);
    PQ_TRY(make_plans(&j, graph, threads, err));
    pq_plan_kernels(j.plans[0], &kernels);
    PQ_CHECK(!kernels.failed, PQ_ERR_NOMEM, "cannot allocate a text");
    PQ_STRDUP(made.kernels, kernels.text != NULL ? kernels.text : "");
    rows = (made.n + PQ_CHUNK - 1) / PQ_CHUNK * PQ_CHUNK;
    PQ_CHECK(rows <= SIZE_MAX / sizeof(float) / (made.width == 0 ? 1 : made.width),
             PQ_ERR_NOMEM, "%zu events of %zu outputs do not fit into memory", rows,
             made.width);
    PQ_NEW_UNSET(made.outputs, rows * made.width);
    PQ_NEW_UNSET(made.labels, made.n);
    PQ_NEW_UNSET(made.weights, made.n);
    PQ_TRY(pq_threads_run(threads, (made.n + j.step - 1) / j.step, run_piece, &j, err));
    pq_progress_report(options->progress, "events", made.n, made.n, NULL);
    *out = made;
    made = (pq_predictions){0};
cleanup:
    job_free(&j, threads);
    pq_text_free(&kernels);
    pq_predictions_free(&made);
    return st;
}

void pq_predictions_free(pq_predictions *p)
{
    pq_free(p->outputs);
    pq_free(p->labels);
    pq_free(p->weights);
    pq_free(p->kernels);
    *p = (pq_predictions){0};
}
