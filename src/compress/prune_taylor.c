#include "compress/prune_taylor.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "layers/channels.h"

/* Sums over events. */
typedef struct {
    const pq_graph          *graph;
    const pq_channel_groups *groups;
    double                  *now;   /* [groups] of this event */
    double                  *score; /* [groups] */
    size_t                   events;
} channels;

/* Adds v dL/dv of one kernel's items to the groups they read. */
static void add_kernel(const channels *c, size_t i, const pq_weight *w,
                       const float *slope)
{
    const pq_node *node    = &c->graph->nodes[i];
    const size_t  *columns = c->groups->group + c->groups->first[node->inputs[0]];

    for (size_t k = 0; k < w->value->count; k++) {
        size_t in, out;
        node->layer->kind->channels->place(node->layer, w, k, &in, &out);
        c->now[columns[in]] += (double)pq_f32(w->value)[k] * (double)slope[k];
    }
}

/* Calls `add` for every kernel that has a rule of channels. */
static void each_kernel(channels *c, const float *const *slope,
                        void (*add)(const channels *c, size_t node, const pq_weight *w,
                                    const float *slope))
{
    size_t at = 0;

    for (size_t i = 0; i < c->graph->n_nodes; i++) {
        const pq_node *node = &c->graph->nodes[i];
        for (size_t k = 0; k < node->layer->n_weights; k++, at++) {
            const pq_weight *w = &node->layer->weights[k];
            if (pq_makes_channels(node) &&
                node->layer->kind->role(w->name) == PQ_WEIGHT_KERNEL) {
                add(c, i, w, slope != NULL ? slope[at] : NULL);
            }
        }
    }
}

static pq_status add_event(void *context, const float *const *slope, pq_err *err)
{
    channels *c = context;

    (void)err;
    memset(c->now, 0, c->groups->n * sizeof *c->now);
    each_kernel(c, slope, add_kernel);
    for (size_t g = 0; g < c->groups->n; g++) {
        c->score[g] += 0.5 * c->now[g] * c->now[g];
    }
    c->events++;
    return PQ_OK;
}

static void mark_read(const channels *c, size_t i, const pq_weight *w, const float *slope)
{
    const size_t source = c->graph->nodes[i].inputs[0];

    (void)w;
    (void)slope;
    for (size_t k = c->groups->first[source]; k < c->groups->first[source + 1]; k++) {
        c->now[c->groups->group[k]] = 1.0;
    }
}

pq_status pq_taylor_channels(const pq_compress_task  *task,
                             const pq_channel_groups *groups, double *score, pq_err *err)
{
    channels  c = {.graph = task->graph, .groups = groups, .score = score};
    pq_status st;

    PQ_NEW(c.now, groups->n);
    memset(score, 0, groups->n * sizeof *score);
    PQ_TRY(task->bench->slopes(task->bench->context, task->graph, add_event, &c, err));
    memset(c.now, 0, groups->n * sizeof *c.now);
    each_kernel(&c, NULL, mark_read);
    for (size_t g = 0; g < groups->n; g++) {
        score[g] = c.now[g] > 0.0 ? score[g] / (double)c.events : (double)NAN;
    }
cleanup:
    pq_free(c.now);
    return st;
}

/* Sums of squares of slopes. */
typedef struct {
    size_t                  n, events;
    const pq_weight *const *weights;
    size_t                 *place; /* [n] in the slopes */
    double                **sum;   /* [n][items] */
} fisher;

static pq_status add_squares(void *context, const float *const *slope, pq_err *err)
{
    fisher *f = context;

    (void)err;
    for (size_t i = 0; i < f->n; i++) {
        const float *g = slope[f->place[i]];
        for (size_t k = 0; k < f->weights[i]->value->count; k++) {
            f->sum[i][k] += (double)g[k] * (double)g[k];
        }
    }
    f->events++;
    return PQ_OK;
}

/* Where each weight stands in the order of slopes. */
static void find_places(const pq_graph *graph, fisher *f)
{
    size_t at = 0;

    for (size_t i = 0; i < graph->n_nodes; i++) {
        for (size_t k = 0; k < graph->nodes[i].layer->n_weights; k++, at++) {
            for (size_t n = 0; n < f->n; n++) {
                if (f->weights[n] == &graph->nodes[i].layer->weights[k]) {
                    f->place[n] = at;
                }
            }
        }
    }
}

pq_status pq_taylor_weights(const pq_compress_task *task, size_t n,
                            const pq_weight *const *weights, float *const *score,
                            pq_err *err)
{
    fisher    f = {.n = n, .weights = weights};
    pq_status st;

    PQ_NEW(f.place, n);
    PQ_NEW(f.sum, n);
    for (size_t i = 0; i < n; i++) {
        PQ_NEW(f.sum[i], weights[i]->value->count);
    }
    find_places(task->graph, &f);
    PQ_TRY(task->bench->slopes(task->bench->context, task->graph, add_squares, &f, err));
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < weights[i]->value->count; k++) {
            score[i][k] = (float)(fabs((double)pq_f32(weights[i]->value)[k]) *
                                  sqrt(f.sum[i][k] / (double)f.events));
        }
    }
cleanup:
    for (size_t i = 0; f.sum != NULL && i < n; i++) {
        pq_free(f.sum[i]);
    }
    pq_free(f.sum);
    pq_free(f.place);
    return st;
}
