/*
 * Areas by ranks of many events: one class at a time, its events cut at quantiles of
 * their scores into slices, each of which is sorted and walked once, on its own. An
 * event's influence w f (u - area), u the part of the other side that it beats, is
 * counted about the area of a sample, near the area that is known only when all slices
 * are done: w f (u - area) = w f (v - d),  v = u - shift,  d = area - shift, so a class
 * leaves sums of powers of v, and an event the sum over classes of w f v; what of d is
 * missing there is the same for all events of a label.
 */
#include <math.h>

#include "core/memory.h"
#include "metrics/auc_sliced.h"
#include "metrics/blocks.h"

static pq_status make_room(pq_slice_buffers *b, size_t n, pq_err *err)
{
    const size_t room = n + n / 8;
    pq_status    st   = PQ_OK;

    if (b->room >= n) {
        return PQ_OK;
    }
    pq_free(b->keys);
    pq_free(b->list);
    pq_free(b->spare);
    pq_free(b->more);
    pq_free(b->events);
    *b = (pq_slice_buffers){.place = b->place, .block_keys = b->block_keys};
    PQ_NEW_UNSET(b->keys, room);
    PQ_NEW_UNSET(b->list, room);
    PQ_NEW_UNSET(b->spare, room);
    PQ_NEW_UNSET(b->more, room);
    PQ_NEW_UNSET(b->events, room);
    b->room = room;
cleanup:
    return st;
}

/* Leading bits and events of a slice, block by block. */
static void gather(const pq_sliced *j, size_t s, pq_slice_buffers *b)
{
    size_t have = 0;

    for (size_t block = 0; block < j->n_blocks; block++) {
        const uint32_t *ends  = j->ends + block * j->n_slices;
        const size_t    first = s == 0 ? 0 : ends[s - 1], n = ends[s] - first;
        const uint16_t *numbers = j->numbers + block * PQ_SLICED_BLOCK + first;
        const uint32_t *leads   = j->leads + block * PQ_SLICED_BLOCK + first;
        for (size_t i = 0; i < n; i++) {
            b->keys[have + i] = leads[i];
            b->events[have + i] =
                (uint32_t)(block * PQ_SLICED_BLOCK +
                           (numbers[i] & (PQ_SLICED_OF_CLASS - 1))) |
                ((numbers[i] & PQ_SLICED_OF_CLASS) != 0 ? PQ_SLICED_POSITIVE : 0);
        }
        have += n;
    }
}

/* Events whose keys have their leading bits in common, by all bits. */
static void refine(const pq_sliced *j, pq_slice_buffers *b, uint64_t *list, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        b->keys[k] = pq_sliced_key(j, list[k] & PQ_SLICED_EVENT);
    }
    pq_rank_sort(b->keys, b->more, b->spare, n);
    for (size_t k = 0; k < n; k++) {
        b->spare[k] = (b->more[k] & PQ_RANK_NEW) |
                      (list[b->more[k] & PQ_RANK_NUMBER] & PQ_RANK_NUMBER);
    }
    memcpy(list, b->spare, n * sizeof *list);
}

/* The slice's events by score, in place of their numbers. */
static void put_in_order(const pq_sliced *j, size_t s, size_t n, pq_slice_buffers *b)
{
    int shift;

    pq_rank_sort(b->keys, b->list, b->spare, n);
    for (size_t k = 0; k < n; k++) {
        b->list[k] = (b->list[k] & PQ_RANK_NEW) | b->events[b->list[k] & PQ_RANK_NUMBER];
    }
    (void)pq_sliced_start(j, s, &shift);
    for (size_t first = 0, end; shift > 0 && first < n; first = end) {
        for (end = first + 1; end < n && (b->list[end] & PQ_RANK_NEW) == 0; end++) {
        }
        if (end > first + 1) {
            refine(j, b, b->list + first, end - first);
        }
    }
}

/* Weights of the events of one score; returns where they end. */
static size_t add_tied(const pq_sliced *j, const pq_slice *s, const pq_slice_buffers *b,
                       size_t first, double tied[2])
{
    size_t end = first;

    tied[0] = 0.0;
    tied[1] = 0.0;
    do {
        const uint32_t entry = (uint32_t)b->list[end];
        tied[(entry & PQ_SLICED_POSITIVE) != 0 ? 1 : 0] +=
            pq_evaluation_weight(j->e, entry & PQ_SLICED_EVENT);
        end++;
    } while (end < s->n && (b->list[end] & PQ_RANK_NEW) == 0);
    return end;
}

static void add_moments(pq_slice_moments *m, double w, double v)
{
    const double second = w * w, fourth = second * second, square = v * v;

    m->second[0] += second;
    m->second[1] += second * v;
    m->second[2] += second * square;
    m->fourth[0] += fourth;
    m->fourth[1] += fourth * v;
    m->fourth[2] += fourth * square;
    m->fourth[3] += fourth * (square * v);
    m->fourth[4] += fourth * (square * square);
}

/* Counts an event of a side whose component, the weight of the other side that it beats,
 * ties half, is given; over the sum of the other side it is u. */
static void count(const pq_sliced *j, uint32_t entry, double w, double component,
                  pq_slice_moments *of)
{
    const int    side = (entry & PQ_SLICED_POSITIVE) != 0 ? 1 : 0;
    const double v    = component / j->now.sum[1 - side] - j->shift;

    add_moments(&of[side], w, v);
    j->total[entry & PQ_SLICED_EVENT] += w * j->now.factor[side] * v;
}

/* Counts the events of one score, from `first` on; returns where they end. */
static size_t count_tied(const pq_sliced *j, const pq_slice *s, const pq_slice_buffers *b,
                         size_t first, double below[2], double *won, pq_slice_moments *of)
{
    double       tied[2], component[2];
    const size_t end = add_tied(j, s, b, first, tied);

    component[1] = below[0] + tied[0] / 2.0;
    component[0] = j->now.sum[1] - below[1] - tied[1] + tied[1] / 2.0;
    *won += tied[1] * component[1];
    for (size_t k = first; k < end; k++) {
        const uint32_t entry = (uint32_t)b->list[k];
        const double   w     = pq_evaluation_weight(j->e, entry & PQ_SLICED_EVENT);
        count(j, entry, w, component[(entry & PQ_SLICED_POSITIVE) != 0 ? 1 : 0], of);
    }
    below[0] += tied[0];
    below[1] += tied[1];
    return end;
}

/* Counts the slice's events by rising score. */
static void walk(const pq_sliced *j, const pq_slice_buffers *b, pq_slice *s)
{
    double           below[2] = {s->below[0], s->below[1]}, won = 0.0;
    pq_slice_moments of[2] = {{{0}, {0}}, {{0}, {0}}};

    for (size_t k = 0; k < s->n;) {
        const uint32_t entry    = (uint32_t)b->list[k];
        const bool     positive = (entry & PQ_SLICED_POSITIVE) != 0;
        if (k + PQ_SLICED_AHEAD < s->n) {
            __builtin_prefetch(
                &j->total[(uint32_t)b->list[k + PQ_SLICED_AHEAD] & PQ_SLICED_EVENT], 1);
        }
        if (k + 1 < s->n && (b->list[k + 1] & PQ_RANK_NEW) == 0) {
            k = count_tied(j, s, b, k, below, &won, of);
            continue;
        }
        const double w = pq_evaluation_weight(j->e, entry & PQ_SLICED_EVENT);
        count(j, entry, w, positive ? below[0] : j->now.sum[1] - below[1], of);
        won += positive ? w * below[0] : 0.0;
        below[0] += positive ? 0.0 : w;
        below[1] += positive ? w : 0.0;
        k++;
    }
    s->won = won;
    memcpy(s->of, of, sizeof of);
}

static pq_status rank_slice(void *context, size_t piece, size_t thread, pq_err *err)
{
    const pq_sliced  *j = context;
    pq_slice_buffers *b = &j->of[thread];
    pq_slice         *s = &j->slices[piece];
    pq_status         st;

    PQ_TRY(make_room(b, s->n, err));
    gather(j, piece, b);
    put_in_order(j, piece, s->n, b);
    walk(j, b, s);
cleanup:
    return st;
}

static double not_below_0(double x)
{
    return x < 0.0 ? 0.0 : x; /* NAN stays */
}

/* Sum of I^2 and of I^4, I = w f (v - d), over the events of all slices. */
static void add_spread(const pq_sliced *j, double d, pq_auc_area *area)
{
    for (int side = 0; side < 2; side++) {
        const double     f2 = j->now.factor[side] * j->now.factor[side];
        pq_slice_moments m  = {{0}, {0}};
        for (size_t s = 0; s < j->n_slices; s++) {
            for (int k = 0; k < 3; k++) {
                m.second[k] += j->slices[s].of[side].second[k];
            }
            for (int k = 0; k < 5; k++) {
                m.fourth[k] += j->slices[s].of[side].fourth[k];
            }
        }
        area->variance +=
            f2 * not_below_0(m.second[2] - 2.0 * d * m.second[1] + d * d * m.second[0]);
        area->fourths +=
            f2 * f2 *
            not_below_0(m.fourth[4] - 4.0 * d * m.fourth[3] + 6.0 * d * d * m.fourth[2] -
                        4.0 * d * d * d * m.fourth[1] + d * d * d * d * m.fourth[0]);
    }
}

static pq_status rank_class(pq_sliced *j, pq_auc_area *area, pq_err *err)
{
    double    won = 0.0, d;
    pq_status st;

    PQ_TRY(pq_sliced_cut(j, err));
    PQ_TRY(pq_threads_run(pq_evaluation_threads(j->e), j->n_slices, rank_slice, j, err));
    for (size_t s = 0; s < j->n_slices; s++) {
        won += j->slices[s].won;
    }
    area->value = won / (j->now.sum[0] * j->now.sum[1]);
    d           = area->value - j->shift;
    add_spread(j, d, area);
    for (size_t c = 0; c < j->e->classes; c++) {
        j->missing[c] += j->now.factor[c == j->now.class_index ? 1 : 0] * d;
    }
cleanup:
    return st;
}

static void add_labels(const pq_evaluation *e, const void *context, size_t first,
                       size_t end, double *sums)
{
    (void)context;
    for (size_t i = first; i < end; i++) {
        const double w = pq_evaluation_weight(e, i);
        sums[2 * (size_t)e->labels[i]] += w;
        sums[2 * (size_t)e->labels[i] + 1] += w * w;
    }
}

static void add_influences(const pq_evaluation *e, const void *context, size_t first,
                           size_t end, double *sums)
{
    const pq_sliced *j = context;

    for (size_t i = first; i < end; i++) {
        const double influence =
            (j->total[i] - pq_evaluation_weight(e, i) * j->missing[e->labels[i]]) /
            (double)j->defined;
        const double square = influence * influence;
        sums[0] += square;
        sums[1] += square * square;
    }
}

static pq_status make_job(pq_sliced *j, pq_err *err)
{
    const size_t n = j->e->n, slices = (n + PQ_SLICED_EVENTS - 1) / PQ_SLICED_EVENTS;
    pq_status    st;

    j->n_blocks = (n + PQ_SLICED_BLOCK - 1) / PQ_SLICED_BLOCK;
    j->n_slices = slices < PQ_SLICED_LEAST_SLICES  ? PQ_SLICED_LEAST_SLICES
                  : slices > PQ_SLICED_MOST_SLICES ? PQ_SLICED_MOST_SLICES
                                                   : slices;
    PQ_NEW(j->of, pq_evaluation_threads(j->e));
    PQ_NEW(j->labelled, j->e->classes);
    PQ_NEW(j->missing, j->e->classes);
    PQ_NEW_UNSET(j->total, n);
    pq_advise_scattered(j->total, n * sizeof *j->total);
    PQ_NEW(j->slices, j->n_slices);
    PQ_NEW(j->cuts, j->n_slices);
    PQ_NEW_UNSET(j->numbers, n);
    PQ_NEW_UNSET(j->leads, n);
    PQ_NEW(j->ends, j->n_blocks * j->n_slices);
    PQ_NEW(j->weights, j->n_blocks * j->n_slices * 2);
cleanup:
    return st;
}

static void job_free(pq_sliced *j)
{
    for (size_t t = 0; j->of != NULL && t < pq_evaluation_threads(j->e); t++) {
        pq_free(j->of[t].place);
        pq_free(j->of[t].block_keys);
        pq_free(j->of[t].keys);
        pq_free(j->of[t].list);
        pq_free(j->of[t].spare);
        pq_free(j->of[t].more);
        pq_free(j->of[t].events);
    }
    pq_free(j->of);
    pq_free(j->labelled);
    pq_free(j->missing);
    pq_free(j->total);
    pq_free(j->slices);
    pq_free(j->cuts);
    pq_free(j->numbers);
    pq_free(j->leads);
    pq_free(j->ends);
    pq_free(j->weights);
}

pq_status pq_auc_sliced(const pq_evaluation *e, pq_auc_area *areas, pq_err *err)
{
    pq_sliced j = {.e = e, .nothing_yet = true};
    double    sums[2];
    pq_status st;

    _Static_assert(sizeof(pq_weight_sum) == 2 * sizeof(double), "two sums");
    PQ_CHECK(e->n <= PQ_SLICED_EVENT, PQ_ERR_RANGE,
             "%zu events are more than the %u ranked", e->n, PQ_SLICED_EVENT);
    PQ_TRY(make_job(&j, err));
    PQ_TRY(pq_blocks_sum(e, add_labels, NULL, 2 * e->classes, (double *)j.labelled, err));
    for (size_t c = 0; c < e->classes; c++) {
        if (pq_auc_weigh(e, j.labelled, c, &j.now, &areas[c])) {
            PQ_TRY(rank_class(&j, &areas[c], err));
            j.nothing_yet = false;
        }
        pq_progress_report(e->progress, "areas of classes", c + 1, e->classes, NULL);
    }
    areas[e->classes] = pq_auc_mean_value(e, areas, &j.defined);
    if (j.defined > 0) {
        PQ_TRY(pq_blocks_sum(e, add_influences, &j, 2, sums, err));
        areas[e->classes].variance = sums[0];
        areas[e->classes].fourths  = sums[1];
    }
cleanup:
    job_free(&j);
    return st;
}
