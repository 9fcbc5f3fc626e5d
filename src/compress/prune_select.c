#include "compress/prune_select.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compress/prune_score.h"
#include "core/memory.h"
#include "layers/channels.h"

enum { ALIGN_AUTO = 6 };

const char *const pq_prune_aligns[] = {"1", "2", "4", "8", "16", "32", "auto", NULL};

typedef pq_prune_candidate candidate;
typedef pq_prune_selection selection;

static int by_score(const void *a, const void *b)
{
    const candidate *x = a, *y = b;

    return x->score != y->score ? (x->score > y->score) - (x->score < y->score)
                                : (x->group > y->group) - (x->group < y->group);
}

/* First layer that makes a group's channels: its name is the family's. */
static const char *maker(const selection *s, size_t group)
{
    const pq_channel_group *g = &s->groups.groups[group];

    for (size_t i = 0; i < g->n_parts; i++) {
        const pq_node *node = &s->graph->nodes[s->groups.parts[g->part + i].node];
        if (pq_makes_channels(node)) {
            return node->name;
        }
    }
    return "the network";
}

/* Whether every node keeps a channel without this group. */
static bool can_lose(const selection *s, size_t group)
{
    const pq_channel_group *g = &s->groups.groups[group];

    for (size_t i = 0; i < g->n_parts; i++) {
        const pq_channel_part part = s->groups.parts[g->part + i];
        if (s->left[part.node] <= part.channels) {
            return false;
        }
    }
    return true;
}

static void set_gone(selection *s, size_t group, bool gone)
{
    const pq_channel_group *g = &s->groups.groups[group];

    s->gone[group] = gone;
    for (size_t i = 0; i < g->n_parts; i++) {
        const pq_channel_part part = s->groups.parts[g->part + i];
        s->left[part.node] += gone ? -part.channels : part.channels;
    }
}

bool pq_prune_take_group(selection *s, size_t group)
{
    const bool can = can_lose(s, group);

    if (can) {
        set_gone(s, group, true);
    }
    return can;
}

/* Takes so many more of n candidates, the least first; returns how many it could. */
static size_t take(selection *s, const candidate *order, size_t n, size_t count)
{
    size_t taken = 0;

    for (size_t i = 0; i < n && taken < count; i++) {
        if (!s->gone[order[i].group] && pq_prune_take_group(s, order[i].group)) {
            taken++;
        }
    }
    return taken;
}

/* Groups that no layer that was not asked may lose, made by a kernel. */
static bool is_candidate(const selection *s, size_t group)
{
    const pq_channel_group *g      = &s->groups.groups[group];
    bool                    kernel = false;

    for (size_t i = 0; i < g->n_parts && !kernel; i++) {
        kernel = pq_makes_channels(&s->graph->nodes[s->groups.parts[g->part + i].node]);
    }
    return kernel && g->why == NULL;
}

static size_t family_of(const selection *s, size_t group)
{
    return s->groups.groups[group].family;
}

/* Divides the scores of each family by their mean. */
static pq_status normalize(selection *s, pq_err *err)
{
    double   *sum = NULL;
    size_t   *n   = NULL;
    pq_status st;

    PQ_NEW(sum, s->groups.n_families);
    PQ_NEW(n, s->groups.n_families);
    for (size_t i = 0; i < s->n; i++) {
        sum[family_of(s, s->order[i].group)] += s->order[i].score;
        n[family_of(s, s->order[i].group)]++;
    }
    for (size_t i = 0; i < s->n; i++) {
        const size_t f = family_of(s, s->order[i].group);
        s->order[i].score *= sum[f] > 0.0 ? (double)n[f] / sum[f] : 1.0;
    }
cleanup:
    pq_free(sum);
    pq_free(n);
    return st;
}

/* Lists the candidates with their scores, family by family. */
static pq_status list_candidates(selection *s, const pq_compress_task *task, pq_err *err)
{
    pq_status st;

    PQ_NEW(s->score, s->groups.n);
    PQ_NEW(s->order, s->groups.n);
    PQ_NEW(s->all, s->groups.n);
    PQ_TRY(pq_channel_scores(task, &s->groups, s->p->criterion, s->score, err));
    for (size_t f = 1; f < s->groups.n_families; f++) {
        for (size_t g = 0; g < s->groups.n; g++) {
            if (family_of(s, g) != f || !is_candidate(s, g)) {
                continue;
            }
            PQ_CHECK(!isnan(s->score[g]), PQ_ERR_UNSUPPORTED,
                     "layer '%s': criterion %s has nothing to go by here%s", maker(s, g),
                     pq_score_names[s->p->criterion],
                     s->p->criterion == PQ_SCORE_BATCH_NORM
                         ? ": no BatchNorm with a gamma is behind it"
                         : "");
            s->order[s->n++] = (candidate){s->score[g], g};
        }
    }
    if (s->p->scope == PQ_PRUNE_GLOBAL && s->p->normalize) {
        PQ_TRY(normalize(s, err));
    }
    memcpy(s->all, s->order, s->n * sizeof *s->all);
    qsort(s->all, s->n, sizeof *s->all, by_score);
cleanup:
    return st;
}

/* Takes the target of n candidates. */
static pq_status take_target(selection *s, const candidate *order, size_t n, pq_err *err)
{
    const size_t count = (size_t)round(s->p->target_sparsity * (double)n);
    size_t       taken;
    char         number[32];
    pq_status    st = PQ_OK;

    taken = take(s, order, n, count);
    PQ_CHECK(taken == count, PQ_ERR_RANGE,
             "layer '%s': target_sparsity = %s would take %zu of the %zu channels that "
             "can go, but every layer must keep one: at most %zu can",
             maker(s, order[0].group),
             pq_real_text(s->p->target_sparsity, number, sizeof number), count, n, taken);
cleanup:
    return st;
}

static size_t alignment(const selection *s, size_t width)
{
    static const size_t steps[] = {1, 2, 4, 8, 16, 32};

    return s->p->align != ALIGN_AUTO ? steps[s->p->align]
           : width >= 32             ? 16
           : width >= 16             ? 8
                                     : 1;
}

/* Brings what is left of a family, whose n candidates are sorted, to a multiple. */
static void align_family(selection *s, const candidate *order, size_t n)
{
    size_t width = 0, kept = 0, want, step;

    for (size_t g = 0; g < s->groups.n; g++) {
        if (family_of(s, g) == family_of(s, order[0].group)) {
            width++;
            kept += s->gone[g] ? 0 : 1;
        }
    }
    step = alignment(s, width);
    want = (kept + step / 2) / step * step;
    want = want < step ? step : want;
    want = want > width ? width : want;
    if (kept == width) {
        return; /* nothing was asked of it */
    }
    for (size_t i = n; i-- > 0 && kept < want;) {
        if (s->gone[order[i].group]) {
            set_gone(s, order[i].group, false);
            kept++;
        }
    }
    if (kept > want) {
        (void)take(s, order, n, kept - want);
    }
}

/* Where the family of candidate i ends. */
static size_t family_end(const selection *s, size_t i)
{
    const size_t family = family_of(s, s->order[i].group);

    while (i < s->n && family_of(s, s->order[i].group) == family) {
        i++;
    }
    return i;
}

static pq_status select_least(selection *s, const pq_compress_task *task, pq_err *err)
{
    pq_status st;

    PQ_TRY(list_candidates(s, task, err));
    if (s->p->scope == PQ_PRUNE_GLOBAL && s->n > 0) {
        PQ_TRY(take_target(s, s->all, s->n, err));
    }
    for (size_t i = 0, end; i < s->n; i = end) {
        end = family_end(s, i);
        qsort(s->order + i, end - i, sizeof *s->order, by_score);
        if (s->p->scope == PQ_PRUNE_PER_LAYER) {
            PQ_TRY(take_target(s, s->order + i, end - i, err));
        }
        align_family(s, s->order + i, end - i);
    }
cleanup:
    return st;
}

/* Group of a channel of a selected layer that is to go. */
static pq_status named_group(const selection *s, size_t node, double channel,
                             size_t *group, pq_err *err)
{
    const pq_node          *layer = &s->graph->nodes[node];
    const size_t            width = pq_channels_of(&layer->shape), c = (size_t)channel;
    const pq_channel_group *g;
    pq_status               st;

    PQ_CHECK(c < width, PQ_ERR_RANGE, "layer '%s': channel %zu is not in 0..%zu",
             layer->name, c, width - 1);
    *group = s->groups.group[s->groups.first[node] + c];
    g      = &s->groups.groups[*group];
    PQ_CHECK(g->why == NULL, PQ_ERR_UNSUPPORTED,
             "layer '%s': channel %zu cannot go: layer '%s' %s", layer->name, c,
             s->graph->nodes[g->node].name, g->why);
cleanup:
    return st;
}

static pq_status select_named(selection *s, const pq_compress_task *task, pq_err *err)
{
    size_t    group;
    pq_status st = PQ_OK;

    for (size_t i = 0; i < task->n_nodes; i++) {
        const size_t node = pq_graph_find(s->graph, task->nodes[i]);
        for (size_t k = 0; k < s->p->channels.n; k++) {
            PQ_TRY(named_group(s, node, s->p->channels.value[k], &group, err));
            if (s->gone[group]) {
                continue; /* with an earlier one */
            }
            PQ_CHECK(can_lose(s, group), PQ_ERR_RANGE,
                     "layer '%s': channel %zu cannot go: it is the last one of a layer",
                     task->nodes[i], (size_t)s->p->channels.value[k]);
            set_gone(s, group, true);
        }
    }
cleanup:
    return st;
}

void pq_prune_selection_free(selection *s)
{
    pq_channel_groups_free(&s->groups);
    pq_free(s->may);
    pq_free(s->gone);
    pq_free(s->left);
    pq_free(s->score);
    pq_free(s->order);
    pq_free(s->all);
    *s = (selection){0};
}

static pq_status selection_start(selection *s, const pq_compress_task *task, pq_err *err)
{
    pq_status st;

    PQ_NEW(s->may, s->graph->n_nodes);
    PQ_NEW(s->left, s->graph->n_nodes);
    for (size_t i = 0; i < s->graph->n_nodes; i++) {
        s->left[i] = pq_channels_of(&s->graph->nodes[i].shape);
    }
    for (size_t i = 0; i < task->n_nodes; i++) {
        s->may[pq_graph_find(s->graph, task->nodes[i])] = true;
    }
    PQ_TRY(pq_channel_groups_find(s->graph, s->may, &s->groups, err));
    PQ_NEW(s->gone, s->groups.n);
cleanup:
    return st;
}

pq_status pq_prune_select(const pq_compress_task *task, pq_prune_selection *out,
                          pq_err *err)
{
    selection s = {.p = task->params, .graph = task->graph};
    pq_status st;

    PQ_TRY(selection_start(&s, task, err));
    if (s.p->channels.n > 0) {
        PQ_TRY(select_named(&s, task, err));
    } else {
        PQ_TRY(select_least(&s, task, err));
    }
    *out = s;
    s    = (selection){0};
cleanup:
    pq_prune_selection_free(&s);
    return st;
}
