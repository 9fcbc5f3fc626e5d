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
#include "metrics/auc.h"
#include "metrics/blocks.h"
#include "metrics/rank.h"

enum {
    SLICE        = 1 << 16, /* events that are sorted at a time: they stay in the cache */
    LEAST_SLICES = 8,
    MOST_SLICES  = 250,
    CELL_BITS    = 11, /* cells that a key's slice is looked for in */
    CELLS        = 1 << CELL_BITS,
    SAMPLES      = 64,      /* to find where a slice ends */
    BLOCK        = 1 << 15, /* events whose number in it leaves a bit of two bytes */
    AHEAD        = 24,      /* events to be fetched */
};

/* What an event is beside its number. */
#define POSITIVE ((uint32_t)1 << 30)
#define EVENT    (POSITIVE - 1)

#define OF_CLASS ((uint16_t)BLOCK)

/* Scratch of a thread. */
typedef struct {
    uint8_t  *place;      /* [BLOCK] slice of the event */
    uint64_t *block_keys; /* [BLOCK] */
    size_t    room;
    uint64_t *keys, *list, *spare, *more; /* [room] */
    uint32_t *events;                     /* [room] */
} buffers;

/* Sums over events of w^2 v^0, v^1, v^2 and of w^4 v^0 to v^4. */
typedef struct {
    double second[3], fourth[5];
} moments;

/* Events whose scores of a class lie between those of its neighbours. */
typedef struct {
    size_t  n;
    double  below[2]; /* weight of all slices before it */
    double  won;      /* by its events of the class: sum of w times component */
    moments of[2];    /* sides */
} slice;

typedef struct {
    const pq_evaluation *e;
    pq_auc_area         *areas;
    pq_weight_sum       *labelled; /* [classes] events of each label */
    double              *total;    /* [n] sum over classes of w f v */
    double              *missing;  /* [classes] sum over classes of f d, of each label */
    size_t               defined;  /* classes that are there */
    bool                 nothing_yet; /* of them is counted */
    buffers             *of;          /* [threads] */
    size_t               n_slices, n_blocks;
    pq_auc_sides         now;
    double               shift;
    slice               *slices; /* [n_slices] */
    uint64_t            *cuts;   /* [n_slices - 1] least key of slices 1, 2, … */
    int                  cell_shift;
    uint8_t              before[CELLS + 1]; /* cuts before each cell */
    uint16_t            *numbers;           /* [n] events of each block, slice by slice */
    uint32_t            *leads;             /* [n] leading bits of their keys */
    uint32_t            *ends;    /* [n_blocks, n_slices] where they end in it */
    double              *weights; /* [n_blocks, n_slices, 2] of them, by side */
} job;

static uint64_t key_of(const job *j, size_t event)
{
    return pq_rank_key(pq_evaluation_score(j->e, event, j->now.class_index));
}

static size_t side_of(const job *j, size_t event)
{
    return (size_t)j->e->labels[event] == j->now.class_index ? 1 : 0;
}

/* Area of the sample, a half where it lacks a side; only near the area, so without
 * weights. */
static double area_of_sample(const job *j, const uint64_t *list, size_t n, size_t stride)
{
    double below[2] = {0.0, 0.0}, won = 0.0;

    for (size_t first = 0, end; first < n; first = end) {
        double tied[2] = {0.0, 0.0};
        end            = first;
        do {
            tied[side_of(j, (list[end] & PQ_RANK_NUMBER) * stride)] += 1.0;
            end++;
        } while (end < n && (list[end] & PQ_RANK_NEW) == 0);
        won += tied[1] * (below[0] + tied[0] / 2.0);
        below[0] += tied[0];
        below[1] += tied[1];
    }
    return below[0] > 0.0 && below[1] > 0.0 ? won / (below[0] * below[1]) : 0.5;
}

/* How many of n cuts from `at` on are at or below a key; n >= 1. Without a branch that
 * depends on the key. */
static size_t count_cuts(const uint64_t *cuts, size_t n, uint64_t key)
{
    const uint64_t *at = cuts;

    while (n > 1) {
        const size_t half = n / 2;
        at += half & (0 - (size_t)(at[half - 1] <= key));
        n -= half;
    }
    return (size_t)(at - cuts) + (*at <= key ? 1 : 0);
}

/* Which of equal cells between the first cut and the last a key lies in. */
static size_t cell_of(const job *j, uint64_t key)
{
    const uint64_t lo = j->cuts[0], hi = j->cuts[j->n_slices - 2];

    key = key < lo ? lo : key > hi ? hi : key;
    return (size_t)((key - lo) >> j->cell_shift);
}

/* How many cuts lie before each cell. */
static void make_cells(job *j)
{
    const size_t   n    = j->n_slices - 1;
    const uint64_t span = j->cuts[n - 1] - j->cuts[0];
    const int      bits = span == 0 ? 0 : 64 - __builtin_clzll(span);
    size_t         s    = 0;

    j->cell_shift = bits > CELL_BITS ? bits - CELL_BITS : 0;
    for (size_t cell = 0; cell <= CELLS; cell++) {
        while (s < n && cell_of(j, j->cuts[s]) < cell) {
            s++;
        }
        j->before[cell] = (uint8_t)s;
    }
}

/* How many of the cuts are at or below a key. */
static size_t find_slice(const job *j, uint64_t key)
{
    const size_t cell = cell_of(j, key), first = j->before[cell];
    const size_t n = j->before[cell + 1] - first;

    return first + (n > 0 ? count_cuts(j->cuts + first, n, key) : 0);
}

/* Slices between quantiles of every so many-th event's score. */
static pq_status choose_cuts(job *j, pq_err *err)
{
    const size_t n = j->n_slices * SAMPLES, stride = j->e->n / n;
    uint64_t    *keys = NULL, *list = NULL, *spare = NULL;
    pq_status    st;

    PQ_NEW(keys, n);
    PQ_NEW(list, n);
    PQ_NEW(spare, n);
    for (size_t i = 0; i < n; i++) {
        keys[i] = key_of(j, i * stride);
    }
    pq_rank_sort(keys, list, spare, n);
    for (size_t s = 1; s < j->n_slices; s++) {
        j->cuts[s - 1] = keys[list[s * SAMPLES] & PQ_RANK_NUMBER];
    }
    make_cells(j);
    j->shift = area_of_sample(j, list, n, stride);
cleanup:
    pq_free(keys);
    pq_free(list);
    pq_free(spare);
    return st;
}

/* Least key that a slice may hold, and how many low bits of what is above it do not fit
 * into 32. */
static uint64_t start_of(const job *j, size_t s, int *shift)
{
    const uint64_t lo   = s == 0 ? 0 : j->cuts[s - 1];
    const uint64_t hi   = s + 1 == j->n_slices ? UINT64_MAX : j->cuts[s];
    const int      bits = hi == lo ? 0 : 64 - __builtin_clzll(hi - lo);

    *shift = bits > 32 ? bits - 32 : 0;
    return lo;
}

/* Keys of a block, and which slices they belong to. The first class finds `total` unset.
 */
static void find_slices(const job *j, size_t first, size_t n, buffers *b,
                        uint32_t *counts)
{
    if (j->nothing_yet) {
        memset(j->total + first, 0, n * sizeof *j->total);
    }
    for (size_t i = 0; i < n; i++) {
        b->block_keys[i] = key_of(j, first + i);
    }
    for (size_t i = 0; i < n; i++) {
        b->place[i] = (uint8_t)find_slice(j, b->block_keys[i]);
        counts[b->place[i]]++;
    }
}

/* Lists the events of a block slice by slice. */
static pq_status place_block(void *context, size_t piece, size_t thread, pq_err *err)
{
    job         *j     = context;
    const size_t first = piece * BLOCK;
    const size_t n     = j->e->n - first < BLOCK ? j->e->n - first : BLOCK;
    uint32_t    *ends = j->ends + piece * j->n_slices, at = 0;
    double      *weights             = j->weights + piece * j->n_slices * 2;
    buffers     *b                   = &j->of[thread];
    uint32_t     counts[MOST_SLICES] = {0};
    uint64_t     lo[MOST_SLICES];
    int          shift[MOST_SLICES];
    pq_status    st = PQ_OK;

    if (b->block_keys == NULL) {
        pq_free(b->place);
        PQ_NEW(b->place, BLOCK);
        PQ_NEW(b->block_keys, BLOCK);
    }
    find_slices(j, first, n, b, counts);
    for (size_t s = 0; s < j->n_slices; s++) {
        lo[s]   = start_of(j, s, &shift[s]);
        ends[s] = at; /* where they begin, until they are there */
        at += counts[s];
    }
    memset(weights, 0, j->n_slices * 2 * sizeof *weights);
    for (size_t i = 0; i < n; i++) {
        const size_t s = b->place[i], side = side_of(j, first + i),
                     to = first + ends[s]++;
        j->numbers[to]  = (uint16_t)(i | (side == 1 ? OF_CLASS : 0));
        j->leads[to]    = (uint32_t)((b->block_keys[i] - lo[s]) >> shift[s]);
        weights[2 * s + side] += pq_evaluation_weight(j->e, first + i);
    }
cleanup:
    return st;
}

static pq_status make_room(buffers *b, size_t n, pq_err *err)
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
    *b = (buffers){.place = b->place, .block_keys = b->block_keys};
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
static void gather(const job *j, size_t s, buffers *b)
{
    size_t have = 0;

    for (size_t block = 0; block < j->n_blocks; block++) {
        const uint32_t *ends  = j->ends + block * j->n_slices;
        const size_t    first = s == 0 ? 0 : ends[s - 1], n = ends[s] - first;
        const uint16_t *numbers = j->numbers + block * BLOCK + first;
        const uint32_t *leads   = j->leads + block * BLOCK + first;
        for (size_t i = 0; i < n; i++) {
            b->keys[have + i] = leads[i];
            b->events[have + i] =
                (uint32_t)(block * BLOCK + (numbers[i] & (OF_CLASS - 1))) |
                ((numbers[i] & OF_CLASS) != 0 ? POSITIVE : 0);
        }
        have += n;
    }
}

/* Events whose keys have their leading bits in common, by all bits. */
static void refine(const job *j, buffers *b, uint64_t *list, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        b->keys[k] = key_of(j, list[k] & EVENT);
    }
    pq_rank_sort(b->keys, b->more, b->spare, n);
    for (size_t k = 0; k < n; k++) {
        b->spare[k] = (b->more[k] & PQ_RANK_NEW) |
                      (list[b->more[k] & PQ_RANK_NUMBER] & PQ_RANK_NUMBER);
    }
    memcpy(list, b->spare, n * sizeof *list);
}

/* The slice's events by score, in place of their numbers. */
static void put_in_order(const job *j, size_t s, size_t n, buffers *b)
{
    int shift;

    pq_rank_sort(b->keys, b->list, b->spare, n);
    for (size_t k = 0; k < n; k++) {
        b->list[k] = (b->list[k] & PQ_RANK_NEW) | b->events[b->list[k] & PQ_RANK_NUMBER];
    }
    (void)start_of(j, s, &shift);
    for (size_t first = 0, end; shift > 0 && first < n; first = end) {
        for (end = first + 1; end < n && (b->list[end] & PQ_RANK_NEW) == 0; end++) {
        }
        if (end > first + 1) {
            refine(j, b, b->list + first, end - first);
        }
    }
}

/* Weights of the events of one score; returns where they end. */
static size_t add_tied(const job *j, const slice *s, const buffers *b, size_t first,
                       double tied[2])
{
    size_t end = first;

    tied[0] = 0.0;
    tied[1] = 0.0;
    do {
        const uint32_t entry = (uint32_t)b->list[end];
        tied[(entry & POSITIVE) != 0 ? 1 : 0] +=
            pq_evaluation_weight(j->e, entry & EVENT);
        end++;
    } while (end < s->n && (b->list[end] & PQ_RANK_NEW) == 0);
    return end;
}

static void add_moments(moments *m, double w, double v)
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
static void count(const job *j, uint32_t entry, double w, double component, moments *of)
{
    const int    side = (entry & POSITIVE) != 0 ? 1 : 0;
    const double v    = component / j->now.sum[1 - side] - j->shift;

    add_moments(&of[side], w, v);
    j->total[entry & EVENT] += w * j->now.factor[side] * v;
}

/* Counts the events of one score, from `first` on; returns where they end. */
static size_t count_tied(const job *j, const slice *s, const buffers *b, size_t first,
                         double below[2], double *won, moments *of)
{
    double       tied[2], component[2];
    const size_t end = add_tied(j, s, b, first, tied);

    component[1] = below[0] + tied[0] / 2.0;
    component[0] = j->now.sum[1] - below[1] - tied[1] + tied[1] / 2.0;
    *won += tied[1] * component[1];
    for (size_t k = first; k < end; k++) {
        const uint32_t entry = (uint32_t)b->list[k];
        const double   w     = pq_evaluation_weight(j->e, entry & EVENT);
        count(j, entry, w, component[(entry & POSITIVE) != 0 ? 1 : 0], of);
    }
    below[0] += tied[0];
    below[1] += tied[1];
    return end;
}

/* Counts the slice's events by rising score. */
static void walk(const job *j, const buffers *b, slice *s)
{
    double  below[2] = {s->below[0], s->below[1]}, won = 0.0;
    moments of[2] = {{{0}, {0}}, {{0}, {0}}};

    for (size_t k = 0; k < s->n;) {
        const uint32_t entry    = (uint32_t)b->list[k];
        const bool     positive = (entry & POSITIVE) != 0;
        if (k + AHEAD < s->n) {
            __builtin_prefetch(&j->total[(uint32_t)b->list[k + AHEAD] & EVENT], 1);
        }
        if (k + 1 < s->n && (b->list[k + 1] & PQ_RANK_NEW) == 0) {
            k = count_tied(j, s, b, k, below, &won, of);
            continue;
        }
        const double w = pq_evaluation_weight(j->e, entry & EVENT);
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
    const job *j = context;
    buffers   *b = &j->of[thread];
    slice     *s = &j->slices[piece];
    pq_status  st;

    PQ_TRY(make_room(b, s->n, err));
    gather(j, piece, b);
    put_in_order(j, piece, s->n, b);
    walk(j, b, s);
cleanup:
    return st;
}

/* Cuts a class into slices, and says what lies below each. */
static pq_status cut_class(job *j, pq_err *err)
{
    double    below[2] = {0.0, 0.0};
    pq_status st;

    PQ_TRY(choose_cuts(j, err));
    PQ_TRY(pq_threads_run(pq_evaluation_threads(j->e), j->n_blocks, place_block, j, err));
    for (size_t s = 0; s < j->n_slices; s++) {
        slice *of = &j->slices[s];
        *of       = (slice){.below = {below[0], below[1]}};
        for (size_t b = 0; b < j->n_blocks; b++) {
            const uint32_t *ends = j->ends + b * j->n_slices;
            of->n += ends[s] - (s == 0 ? 0 : ends[s - 1]);
            below[0] += j->weights[(b * j->n_slices + s) * 2];
            below[1] += j->weights[(b * j->n_slices + s) * 2 + 1];
        }
    }
cleanup:
    return st;
}

static double not_below_0(double x)
{
    return x < 0.0 ? 0.0 : x; /* NAN stays */
}

/* Sum of I^2 and of I^4, I = w f (v - d), over the events of all slices. */
static void add_spread(const job *j, double d, pq_auc_area *area)
{
    for (int side = 0; side < 2; side++) {
        const double f2 = j->now.factor[side] * j->now.factor[side];
        moments      m  = {{0}, {0}};
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

static pq_status rank_class(job *j, pq_auc_area *area, pq_err *err)
{
    double    won = 0.0, d;
    pq_status st;

    PQ_TRY(cut_class(j, err));
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
    const job *j = context;

    for (size_t i = first; i < end; i++) {
        const double influence =
            (j->total[i] - pq_evaluation_weight(e, i) * j->missing[e->labels[i]]) /
            (double)j->defined;
        const double square = influence * influence;
        sums[0] += square;
        sums[1] += square * square;
    }
}

static pq_status make_job(job *j, pq_err *err)
{
    const size_t n = j->e->n, slices = (n + SLICE - 1) / SLICE;
    pq_status    st;

    j->n_blocks = (n + BLOCK - 1) / BLOCK;
    j->n_slices = slices < LEAST_SLICES  ? LEAST_SLICES
                  : slices > MOST_SLICES ? MOST_SLICES
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

static void job_free(job *j)
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
    job       j = {.e = e, .areas = areas, .nothing_yet = true};
    double    sums[2];
    pq_status st;

    _Static_assert(sizeof(pq_weight_sum) == 2 * sizeof(double), "two sums");
    PQ_CHECK(e->n <= EVENT, PQ_ERR_RANGE, "%zu events are more than the %u ranked", e->n,
             EVENT);
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
