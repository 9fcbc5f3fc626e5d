/* Areas by ranks: of few events some classes at a time, each on one thread. */
#include <math.h>

#include "core/memory.h"
#include "metrics/auc.h"
#include "metrics/blocks.h"
#include "metrics/rank.h"

enum {
    FEW_EVENTS = 1 << 17, /* more are cut into slices: auc_sliced.c */
    GROUP      = 16,      /* classes: their scores of an event lie in one cache line */
    BLOCK      = 4096,    /* events that a thread takes at a time */
};

/* What `order` holds of an event beside its number. */
#define POSITIVE ((uint32_t)1 << 30)
#define NEW      ((uint32_t)1 << 31) /* the first of its score */
#define EVENT    (POSITIVE - 1)

/* Scratch of a thread. */
typedef struct {
    uint64_t *keys, *list, *spare; /* [n] */
    uint32_t *order;               /* [n] by score, rising */
} buffers;

typedef struct {
    const pq_evaluation *e;
    pq_auc_area         *areas;
    pq_weight_sum       *labelled;  /* [classes] events of each label */
    double              *total;     /* [n] influence on the sum of all areas */
    buffers             *of;        /* [threads] */
    size_t               first;     /* class of the group */
    double              *influence; /* [GROUP, n], before that the scores */
} job;

static double weight_of(const job *j, uint32_t entry)
{
    return pq_evaluation_weight(j->e, entry & EVENT);
}

static int side_of(uint32_t entry)
{
    return (entry & POSITIVE) != 0 ? 1 : 0;
}

bool pq_auc_weigh(const pq_evaluation *e, const pq_weight_sum *labelled,
                  size_t class_index, pq_auc_sides *out, pq_auc_area *area)
{
    pq_weight_sum side[2] = {{0.0, 0.0}, labelled[class_index]};
    double        n[2];

    for (size_t c = 0; c < e->classes; c++) {
        if (c != class_index) {
            side[0].sum += labelled[c].sum;
            side[0].sum_squares += labelled[c].sum_squares;
        }
    }
    *out = (pq_auc_sides){.class_index = class_index};
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

    if (b->order != NULL) {
        return PQ_OK;
    }
    pq_free(b->keys);
    pq_free(b->list);
    pq_free(b->spare);
    *b = (buffers){0};
    PQ_NEW(b->keys, n);
    PQ_NEW(b->list, n);
    PQ_NEW(b->spare, n);
    PQ_NEW(b->order, n);
cleanup:
    return st;
}

/* Sorts the events of a class by their scores [n]. */
static void put_in_order(const job *j, size_t class_index, const double *scores,
                         buffers *b)
{
    for (size_t i = 0; i < j->e->n; i++) {
        b->keys[i] = pq_rank_key(scores[i]);
    }
    pq_rank_sort(b->keys, b->list, b->spare, j->e->n);
    for (size_t k = 0; k < j->e->n; k++) {
        const uint32_t event    = (uint32_t)(b->list[k] & PQ_RANK_NUMBER);
        const bool     positive = (size_t)j->e->labels[event] == class_index;
        b->order[k]             = event | (positive ? POSITIVE : 0) |
                      ((b->list[k] & PQ_RANK_NEW) != 0 ? NEW : 0);
    }
}

/* Weights of the events of one score; returns where they end. */
static size_t add_tied(const job *j, const uint32_t *order, size_t first, double tied[2])
{
    size_t end = first;

    tied[0] = 0.0;
    tied[1] = 0.0;
    do {
        tied[side_of(order[end])] += weight_of(j, order[end]);
        end++;
    } while (end < j->e->n && (order[end] & NEW) == 0);
    return end;
}

/* Whether no other event has the score of that at `first`, as nearly always. */
static bool is_single(const job *j, const uint32_t *order, size_t first)
{
    return first + 1 == j->e->n || (order[first + 1] & NEW) != 0;
}

/* component of an event = weight of the other side that it beats, ties half: the sum over
 * events of the class of w times component. */
static double count_won(const job *j, const uint32_t *order)
{
    double below = 0.0, won = 0.0, tied[2];

    for (size_t first = 0; first < j->e->n;) {
        if (is_single(j, order, first)) {
            const double w = weight_of(j, order[first]);
            won += side_of(order[first]) == 1 ? w * below : 0.0;
            below += side_of(order[first]) == 1 ? 0.0 : w;
            first++;
            continue;
        }
        first = add_tied(j, order, first, tied);
        won += tied[1] * (below + tied[0] / 2.0);
        below += tied[0];
    }
    return won;
}

/* influence = w (component / sum of the other side - area) / sum of its side
 * sqrt(n / (n - 1)), put into out [n]. */
static void put_influence(const job *j, const pq_auc_sides *both, uint32_t entry,
                          double component, pq_auc_area *area, double *out)
{
    const int    side      = side_of(entry);
    const double influence = weight_of(j, entry) *
                             (component / both->sum[1 - side] - area->value) *
                             both->factor[side];
    const double square = influence * influence;

    area->variance += square;
    area->fourths += square * square;
    out[entry & EVENT] = influence;
}

static void put_influences(const job *j, const pq_auc_sides *both, const uint32_t *order,
                           pq_auc_area *area, double *out)
{
    double below[2] = {0.0, 0.0}, tied[2];

    for (size_t first = 0, end; first < j->e->n; first = end) {
        double component[2];
        end = first + 1;
        if (is_single(j, order, first)) {
            const bool   positive = side_of(order[first]) == 1;
            const double w        = weight_of(j, order[first]);
            put_influence(j, both, order[first],
                          positive ? below[0] : both->sum[1] - below[1], area, out);
            below[0] += positive ? 0.0 : w;
            below[1] += positive ? w : 0.0;
            continue;
        }
        end          = add_tied(j, order, first, tied);
        component[1] = below[0] + tied[0] / 2.0;
        component[0] = both->sum[1] - below[1] - tied[1] + tied[1] / 2.0;
        for (size_t k = first; k < end; k++) {
            put_influence(j, both, order[k], component[side_of(order[k])], area, out);
        }
        below[0] += tied[0];
        below[1] += tied[1];
    }
}

/* A class of the group. */
static pq_status run_class(void *context, size_t piece, size_t thread, pq_err *err)
{
    const job   *j         = context;
    const size_t c         = j->first + piece;
    pq_auc_area *area      = &j->areas[c];
    buffers     *b         = &j->of[thread];
    double      *influence = j->influence + piece * j->e->n; /* now the scores */
    pq_auc_sides both;
    pq_status    st = PQ_OK;

    if (!pq_auc_weigh(j->e, j->labelled, c, &both, area)) {
        return PQ_OK;
    }
    PQ_TRY(make_room(b, j->e->n, err));
    put_in_order(j, c, influence, b);
    area->value = count_won(j, b->order) / (both.sum[0] * both.sum[1]);
    put_influences(j, &both, b->order, area, influence);
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
    const size_t n = j->e->n, first = piece * BLOCK;
    const size_t end   = n - first < BLOCK ? n : first + BLOCK;
    const size_t group = group_size(j);

    (void)thread;
    (void)err;
    for (size_t i = first; i < end; i++) {
        const float       *row  = j->e->outputs + i * j->e->width;
        const pq_head_norm norm = pq_evaluation_norm(j->e, i);
        for (size_t g = 0; g < group; g++) {
            j->influence[g * n + i] = pq_head_score(j->e->width, row, norm, j->first + g);
        }
    }
    return PQ_OK;
}

/* Adds the influences of a group's classes, in their order. */
static pq_status add_block(void *context, size_t piece, size_t thread, pq_err *err)
{
    const job   *j = context;
    const size_t n = j->e->n, first = piece * BLOCK;
    const size_t end   = n - first < BLOCK ? n : first + BLOCK;
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
    const size_t blocks = (j->e->n + BLOCK - 1) / BLOCK;
    pq_status    st;

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

static void job_free(job *j)
{
    for (size_t t = 0; j->of != NULL && t < pq_evaluation_threads(j->e); t++) {
        pq_free(j->of[t].keys);
        pq_free(j->of[t].list);
        pq_free(j->of[t].spare);
        pq_free(j->of[t].order);
    }
    pq_free(j->of);
    pq_free(j->labelled);
    pq_free(j->total);
    pq_free(j->influence);
}

pq_status pq_auc_ranked(const pq_evaluation *e, pq_auc_area *areas, pq_err *err)
{
    job       j = {.e = e, .areas = areas};
    pq_status st;

    if (e->n > FEW_EVENTS) {
        return pq_auc_sliced(e, areas, err);
    }
    PQ_NEW(j.of, pq_evaluation_threads(e));
    PQ_NEW(j.labelled, e->classes);
    PQ_NEW(j.total, e->n);
    for (size_t i = 0; i < e->n; i++) {
        pq_weight_add(&j.labelled[e->labels[i]], pq_evaluation_weight(e, i));
    }
    PQ_TRY(rank_few(&j, err));
    areas[e->classes] = pq_auc_mean(e, areas, j.total);
cleanup:
    job_free(&j);
    return st;
}
