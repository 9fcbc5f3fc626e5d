/*
 * Areas by ranks. Few events: some classes at a time, each on one thread. Many events:
 * one class at a time, its events cut at quantiles of their scores into slices that are
 * sorted and walked on their own, once the weights below each are known.
 */
#include <math.h>
#include <stdatomic.h>

#include "core/memory.h"
#include "metrics/auc.h"
#include "metrics/blocks.h"
#include "metrics/rank.h"

enum {
    FEW_EVENTS   = 1 << 17, /* classes are computed side by side */
    GROUP        = 16,      /* so many: their scores of an event lie in one cache line */
    SLICE        = 1 << 18, /* events that are sorted at a time */
    LEAST_SLICES = 8,
    MOST_SLICES  = 250,
    SAMPLES      = 64,   /* to find where a slice ends */
    FEW_BLOCK    = 4096, /* events that a thread takes at a time */
    BLOCK        = 65536,
};

/* What `order` holds of an event beside its number. */
#define POSITIVE ((uint32_t)1 << 30)
#define NEW      ((uint32_t)1 << 31) /* the first of its score */
#define EVENT    (POSITIVE - 1)

/* Scratch of a thread. */
typedef struct {
    size_t     room;
    pq_ranked *list, *spare; /* [room] */
} buffers;

/* The rest [0] and the class [1]. */
typedef struct {
    size_t class_index;
    double sum[2];    /* of weights */
    double factor[2]; /* of an influence: sqrt(n / (n - 1)) / sum */
} sides;

/* Part of a class: events whose scores lie between those of its neighbours. */
typedef struct {
    size_t    first, n; /* within `order` */
    double    weight[2], below[2];
    double    won; /* by its events of the class: sum of w times component */
    double    variance, fourths;
    uint32_t *order; /* [n] by score, rising */
} slice;

typedef struct {
    const pq_evaluation *e;
    pq_auc_area         *areas;
    pq_weight_sum       *labelled; /* [classes] events of each label */
    double              *total;    /* [n] influence on the sum of all areas */
    buffers             *of;       /* [threads] */
    uint32_t            *order;    /* [n], or [threads, n] of few events */
    /* few events */
    size_t  first;     /* class of the group */
    double *influence; /* [GROUP, n] */
    /* many events */
    sides          now;
    size_t         n_slices;
    slice         *slices; /* [n_slices] */
    uint64_t      *cuts;   /* [n_slices - 1] least key of slices 1, 2, … */
    uint8_t       *place;  /* [n] slice of the event */
    atomic_size_t *counts; /* [n_slices] */
} job;

static double weight_of(const job *j, uint32_t entry)
{
    return pq_evaluation_weight(j->e, entry & EVENT);
}

static int side_of(uint32_t entry)
{
    return (entry & POSITIVE) != 0 ? 1 : 0;
}

static uint64_t key_of(const job *j, size_t event, size_t class_index)
{
    return pq_rank_key(pq_evaluation_score(j->e, event, class_index));
}

/* An event to be sorted, which says of which side it is. */
static pq_ranked entry_of(const job *j, const sides *both, uint64_t key, size_t event)
{
    const bool positive = (size_t)j->e->labels[event] == both->class_index;

    return pq_ranked_make(key, event | (positive ? POSITIVE : 0));
}

/* Both sides of a class, and what its area says of them; false where one is empty. */
static bool weigh(const job *j, size_t class_index, sides *out, pq_auc_area *area)
{
    pq_weight_sum side[2] = {{0.0, 0.0}, j->labelled[class_index]};
    double        n[2];

    for (size_t c = 0; c < j->e->classes; c++) {
        if (c != class_index) {
            side[0].sum += j->labelled[c].sum;
            side[0].sum_squares += j->labelled[c].sum_squares;
        }
    }
    *out = (sides){.class_index = class_index};
    for (int k = 0; k < 2; k++) {
        n[k]        = pq_weight_effective(side[k]);
        out->sum[k] = side[k].sum;
        out->factor[k] =
            n[k] > 1.0 ? sqrt(n[k] / (n[k] - 1.0)) / side[k].sum : (double)NAN;
    }
    *area = (pq_auc_area){.value = (double)NAN};
    if (!(out->sum[0] > 0.0 && out->sum[1] > 0.0)) {
        return false;
    }
    area->smaller = fmin(n[0], n[1]);
    area->lone    = !(n[0] > 1.0 && n[1] > 1.0);
    return true;
}

static pq_status make_room(buffers *b, size_t n, pq_err *err)
{
    pq_status st = PQ_OK;

    if (b->room >= n) {
        return PQ_OK;
    }
    pq_free(b->list);
    pq_free(b->spare);
    *b = (buffers){0};
    PQ_NEW(b->list, n);
    PQ_NEW(b->spare, n);
    b->room = n;
cleanup:
    return st;
}

/* Sorts the slice's events, which are in the buffer, into its order. */
static void put_in_order(const job *j, buffers *b, slice *s)
{
    uint64_t last = 0;

    pq_rank_sort(b->list, b->spare, s->n);
    s->weight[0] = 0.0;
    s->weight[1] = 0.0;
    for (size_t k = 0; k < s->n; k++) {
        const uint64_t key   = pq_ranked_key(&b->list[k]);
        const uint32_t entry = b->list[k].event;
        s->order[k]          = entry | (k == 0 || key != last ? NEW : 0);
        s->weight[side_of(entry)] += weight_of(j, entry);
        last = key;
    }
}

/* Weights of the events of one score; returns where they end. */
static size_t add_tied(const job *j, const slice *s, size_t first, double tied[2])
{
    size_t end = first;

    tied[0] = 0.0;
    tied[1] = 0.0;
    do {
        tied[side_of(s->order[end])] += weight_of(j, s->order[end]);
        end++;
    } while (end < s->n && (s->order[end] & NEW) == 0);
    return end;
}

/* component of an event = weight of the other side that it beats, ties half; `won` is
 * the sum over events of the class. */
static void count_won(const job *j, slice *s)
{
    double below = s->below[0], tied[2];

    s->won = 0.0;
    for (size_t first = 0; first < s->n;) {
        first = add_tied(j, s, first, tied);
        s->won += tied[1] * (below + tied[0] / 2.0);
        below += tied[0];
    }
}

/* influence = w (component / sum of the other side - area) / sum of its side
 * sqrt(n / (n - 1)), put or added into out [n]. */
static void add_influences(const job *j, const sides *both, double area, bool put,
                           slice *s, double *out)
{
    double below[2] = {s->below[0], s->below[1]}, tied[2];

    s->variance = 0.0;
    s->fourths  = 0.0;
    for (size_t first = 0, end; first < s->n; first = end) {
        double component[2];
        end          = add_tied(j, s, first, tied);
        component[1] = below[0] + tied[0] / 2.0;
        component[0] = both->sum[1] - below[1] - tied[1] + tied[1] / 2.0;
        for (size_t k = first; k < end; k++) {
            const uint32_t entry     = s->order[k];
            const int      side      = side_of(entry);
            const double   influence = weight_of(j, entry) *
                                     (component[side] / both->sum[1 - side] - area) *
                                     both->factor[side];
            const double square = influence * influence;
            s->variance += square;
            s->fourths += square * square;
            out[entry & EVENT] = put ? influence : out[entry & EVENT] + influence;
        }
        below[0] += tied[0];
        below[1] += tied[1];
    }
}

/* Few events: a class of the group. */
static pq_status run_class(void *context, size_t piece, size_t thread, pq_err *err)
{
    const job   *j         = context;
    const size_t c         = j->first + piece;
    pq_auc_area *area      = &j->areas[c];
    slice        all       = {.n = j->e->n, .order = j->order + thread * j->e->n};
    double      *influence = j->influence + piece * all.n; /* now the scores */
    sides        both;
    pq_status    st = PQ_OK;

    if (!weigh(j, c, &both, area)) {
        return PQ_OK;
    }
    PQ_TRY(make_room(&j->of[thread], all.n, err));
    for (size_t i = 0; i < all.n; i++) {
        j->of[thread].list[i] = entry_of(j, &both, pq_rank_key(influence[i]), i);
    }
    put_in_order(j, &j->of[thread], &all);
    count_won(j, &all);
    area->value = all.won / (both.sum[0] * both.sum[1]);
    add_influences(j, &both, area->value, true, &all, influence);
    area->variance = all.variance;
    area->fourths  = all.fourths;
cleanup:
    return st;
}

static size_t group_size(const job *j)
{
    const size_t rest = j->e->classes - j->first;

    return rest < GROUP ? rest : GROUP;
}

/* Scores of a group's classes: all of an event, and the next. */
static pq_status score_block(void *context, size_t piece, size_t thread, pq_err *err)
{
    const job   *j = context;
    const size_t n = j->e->n, first = piece * FEW_BLOCK;
    const size_t end   = n - first < FEW_BLOCK ? n : first + FEW_BLOCK;
    const size_t group = group_size(j);

    (void)thread;
    (void)err;
    for (size_t i = first; i < end; i++) {
        for (size_t g = 0; g < group; g++) {
            j->influence[g * n + i] = pq_evaluation_score(j->e, i, j->first + g);
        }
    }
    return PQ_OK;
}

/* Adds the influences of a group's classes, in their order. */
static pq_status add_block(void *context, size_t piece, size_t thread, pq_err *err)
{
    const job   *j = context;
    const size_t n = j->e->n, first = piece * FEW_BLOCK;
    const size_t end   = n - first < FEW_BLOCK ? n : first + FEW_BLOCK;
    const size_t group = group_size(j);

    (void)thread;
    (void)err;
    for (size_t g = 0; g < group; g++) {
        const double *influence = j->influence + g * n;
        for (size_t i = first; !isnan(j->areas[j->first + g].value) && i < end; i++) {
            j->total[i] += influence[i];
        }
    }
    return PQ_OK;
}

static pq_status rank_few(job *j, pq_err *err)
{
    const size_t classes = j->e->classes, threads = pq_evaluation_threads(j->e);
    const size_t blocks = (j->e->n + FEW_BLOCK - 1) / FEW_BLOCK;
    pq_status    st;

    PQ_NEW(j->order, threads * j->e->n);
    PQ_NEW(j->influence, group_size(j) * j->e->n);
    for (j->first = 0; j->first < classes; j->first += GROUP) {
        PQ_TRY(pq_threads_run(threads, blocks, score_block, j, err));
        PQ_TRY(pq_threads_run(threads, group_size(j), run_class, j, err));
        PQ_TRY(pq_threads_run(threads, blocks, add_block, j, err));
        pq_progress_report(j->e->progress, "areas of classes", j->first + group_size(j),
                           classes, NULL);
    }
cleanup:
    return st;
}

/* Many events: slices between quantiles of every so many-th event's score. */
static pq_status choose_cuts(job *j, pq_err *err)
{
    const size_t n     = j->n_slices * SAMPLES;
    pq_ranked   *spare = NULL, *sample = NULL;
    pq_status    st;

    PQ_NEW(sample, n);
    PQ_NEW(spare, n);
    for (size_t i = 0; i < n; i++) {
        const size_t event = i * (j->e->n / n);
        sample[i]          = pq_ranked_make(key_of(j, event, j->now.class_index), event);
    }
    pq_rank_sort(sample, spare, n);
    for (size_t s = 1; s < j->n_slices; s++) {
        j->cuts[s - 1] = pq_ranked_key(&sample[s * SAMPLES]);
    }
cleanup:
    pq_free(sample);
    pq_free(spare);
    return st;
}

/* How many of the cuts are at or below a key. */
static size_t find_slice(const job *j, uint64_t key)
{
    const uint64_t *at = j->cuts;
    size_t          n  = j->n_slices - 1;

    while (n > 1) {
        const size_t half = n / 2;
        at += at[half - 1] <= key ? half : 0;
        n -= half;
    }
    return (size_t)(at - j->cuts) + (n == 1 && *at <= key ? 1 : 0);
}

static pq_status place_block(void *context, size_t piece, size_t thread, pq_err *err)
{
    job         *j                   = context;
    const size_t first               = piece * BLOCK;
    const size_t end                 = j->e->n - first < BLOCK ? j->e->n : first + BLOCK;
    size_t       counts[MOST_SLICES] = {0};

    (void)thread;
    (void)err;
    for (size_t i = first; i < end; i++) {
        j->place[i] = (uint8_t)find_slice(j, key_of(j, i, j->now.class_index));
        counts[j->place[i]]++;
    }
    for (size_t s = 0; s < j->n_slices; s++) {
        (void)atomic_fetch_add(&j->counts[s], counts[s]);
    }
    return PQ_OK;
}

static pq_status sort_slice(void *context, size_t piece, size_t thread, pq_err *err)
{
    const job     *j    = context;
    slice         *s    = &j->slices[piece];
    const uint8_t *at   = j->place;
    size_t         have = 0;
    pq_status      st;

    PQ_TRY(make_room(&j->of[thread], s->n, err));
    while (have < s->n) {
        at                 = memchr(at, (int)piece, j->e->n - (size_t)(at - j->place));
        const size_t event = (size_t)(at - j->place);
        j->of[thread].list[have++] =
            entry_of(j, &j->now, key_of(j, event, j->now.class_index), event);
        at++;
    }
    put_in_order(j, &j->of[thread], s);
cleanup:
    return st;
}

static pq_status win_slice(void *context, size_t piece, size_t thread, pq_err *err)
{
    const job *j = context;

    (void)thread;
    (void)err;
    count_won(j, &j->slices[piece]);
    return PQ_OK;
}

static pq_status weigh_slice(void *context, size_t piece, size_t thread, pq_err *err)
{
    const job *j = context;

    (void)thread;
    (void)err;
    add_influences(j, &j->now, j->areas[j->now.class_index].value, false,
                   &j->slices[piece], j->total);
    return PQ_OK;
}

/* Sorts a class into slices, and says what lies below each. */
static pq_status cut_class(job *j, pq_err *err)
{
    const size_t threads  = pq_evaluation_threads(j->e);
    double       below[2] = {0.0, 0.0};
    size_t       first    = 0;
    pq_status    st;

    for (size_t s = 0; s < j->n_slices; s++) {
        atomic_store(&j->counts[s], 0);
    }
    PQ_TRY(choose_cuts(j, err));
    PQ_TRY(pq_threads_run(threads, (j->e->n + BLOCK - 1) / BLOCK, place_block, j, err));
    for (size_t s = 0; s < j->n_slices; s++) {
        j->slices[s] = (slice){
            .first = first, .n = atomic_load(&j->counts[s]), .order = j->order + first};
        first += j->slices[s].n;
    }
    PQ_TRY(pq_threads_run(threads, j->n_slices, sort_slice, j, err));
    for (size_t s = 0; s < j->n_slices; s++) {
        for (int k = 0; k < 2; k++) {
            j->slices[s].below[k] = below[k];
            below[k] += j->slices[s].weight[k];
        }
    }
cleanup:
    return st;
}

static pq_status rank_class(job *j, pq_auc_area *area, pq_err *err)
{
    const size_t threads = pq_evaluation_threads(j->e);
    double       won     = 0.0;
    pq_status    st;

    PQ_TRY(cut_class(j, err));
    PQ_TRY(pq_threads_run(threads, j->n_slices, win_slice, j, err));
    for (size_t s = 0; s < j->n_slices; s++) {
        won += j->slices[s].won;
    }
    area->value = won / (j->now.sum[0] * j->now.sum[1]);
    PQ_TRY(pq_threads_run(threads, j->n_slices, weigh_slice, j, err));
    for (size_t s = 0; s < j->n_slices; s++) {
        area->variance += j->slices[s].variance;
        area->fourths += j->slices[s].fourths;
    }
cleanup:
    return st;
}

static pq_status rank_many(job *j, pq_err *err)
{
    const size_t n = j->e->n;
    pq_status    st;

    j->n_slices = (n + SLICE - 1) / SLICE;
    j->n_slices = j->n_slices < LEAST_SLICES  ? LEAST_SLICES
                  : j->n_slices > MOST_SLICES ? MOST_SLICES
                                              : j->n_slices;
    PQ_NEW(j->order, n);
    PQ_NEW(j->place, n);
    PQ_NEW(j->slices, j->n_slices);
    PQ_NEW(j->cuts, j->n_slices);
    PQ_NEW(j->counts, j->n_slices);
    for (size_t c = 0; c < j->e->classes; c++) {
        if (weigh(j, c, &j->now, &j->areas[c])) {
            PQ_TRY(rank_class(j, &j->areas[c], err));
        }
        pq_progress_report(j->e->progress, "areas of classes", c + 1, j->e->classes,
                           NULL);
    }
cleanup:
    return st;
}

static void job_free(job *j)
{
    for (size_t t = 0; j->of != NULL && t < pq_evaluation_threads(j->e); t++) {
        pq_free(j->of[t].list);
        pq_free(j->of[t].spare);
    }
    pq_free(j->of);
    pq_free(j->labelled);
    pq_free(j->total);
    pq_free(j->order);
    pq_free(j->influence);
    pq_free(j->slices);
    pq_free(j->cuts);
    pq_free(j->place);
    pq_free(j->counts);
}

pq_status pq_auc_ranked(const pq_evaluation *e, pq_auc_area *areas, pq_err *err)
{
    job       j = {.e = e, .areas = areas};
    pq_status st;

    PQ_CHECK(e->n <= EVENT, PQ_ERR_RANGE, "%zu events are more than the %u ranked", e->n,
             EVENT);
    PQ_NEW(j.of, pq_evaluation_threads(e));
    PQ_NEW(j.labelled, e->classes);
    PQ_NEW(j.total, e->n);
    for (size_t i = 0; i < e->n; i++) {
        pq_weight_add(&j.labelled[e->labels[i]], pq_evaluation_weight(e, i));
    }
    PQ_TRY(e->n <= FEW_EVENTS ? rank_few(&j, err) : rank_many(&j, err));
    areas[e->classes] = pq_auc_mean(e, areas, j.total);
cleanup:
    job_free(&j);
    return st;
}
