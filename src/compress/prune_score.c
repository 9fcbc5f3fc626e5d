#include "compress/prune_score.h"

#include <math.h>
#include <string.h>

#include "compress/prune_taylor.h"
#include "layers/channels.h"

const char *const pq_score_names[] = {
    "l1", "l2", "batch_norm", "group_norm", "activation", "whitened", "taylor", NULL};

unsigned pq_score_needs(int kind)
{
    return kind == PQ_SCORE_ACTIVATION || kind == PQ_SCORE_WHITENED ? PQ_NEEDS_GRAMS
           : kind == PQ_SCORE_TAYLOR                                ? PQ_NEEDS_EVENTS
                                                                    : 0;
}

typedef struct {
    const pq_channel_groups *groups;
    const pq_calib          *calib;
    int                      kind;
    double                  *score; /* [groups] NAN until something counts */
} scorer;

static void count(const scorer *s, size_t group, double x)
{
    s->score[group] = isnan(s->score[group]) ? x : s->score[group] + x;
}

/* Mean square of what an item of a kernel is multiplied with. */
static double mean_square(const pq_calib_gram *g, size_t item)
{
    const size_t at = item % g->n;

    return g->gram[at * g->n + at] / (double)g->rows;
}

/* w C w^T of each row of a kernel. */
static void count_rows(const scorer *s, size_t node, const pq_weight *w,
                       const pq_calib_gram *g)
{
    const size_t *rows = s->groups->group + s->groups->first[node];

    for (size_t o = 0; o < w->value->shape.dim[0]; o++) {
        const float *row = pq_f32(w->value) + o * g->n;
        double       sum = 0.0;
        for (size_t i = 0; i < g->n; i++) {
            double part = 0.0;
            for (size_t j = 0; j < g->n; j++) {
                part += g->gram[i * g->n + j] * (double)row[j];
            }
            sum += (double)row[i] * part;
        }
        count(s, rows[o], fmax(sum, 0.0) / (double)g->rows);
    }
}

static void count_kernel(const scorer *s, const pq_graph *graph, size_t i,
                         const pq_weight *w)
{
    const pq_node       *node    = &graph->nodes[i];
    const size_t        *rows    = s->groups->group + s->groups->first[i];
    const size_t        *columns = s->groups->group + s->groups->first[node->inputs[0]];
    const pq_calib_gram *gram =
        s->calib != NULL ? pq_calib_gram_of(s->calib, node->name) : NULL;

    if ((s->kind == PQ_SCORE_ACTIVATION || s->kind == PQ_SCORE_WHITENED) &&
        (gram == NULL || gram->rows == 0)) {
        return; /* a convolution in groups: others of the group count */
    }
    if (s->kind == PQ_SCORE_WHITENED) {
        count_rows(s, i, w, gram);
        return;
    }
    for (size_t k = 0; k < w->value->count; k++) {
        const double x = (double)pq_f32(w->value)[k];
        size_t       in, out;
        node->layer->kind->channels->place(node->layer, w, k, &in, &out);
        if (s->kind == PQ_SCORE_ACTIVATION) {
            count(s, columns[in], x * x * mean_square(gram, k));
            continue;
        }
        count(s, rows[out], s->kind == PQ_SCORE_L1 ? fabs(x) : x * x);
        if (s->kind == PQ_SCORE_GROUP_NORM) {
            count(s, columns[in], x * x);
        }
    }
}

static void count_gamma(const scorer *s, size_t i, const pq_weight *w)
{
    for (size_t k = 0; k < w->value->count; k++) {
        count(s, s->groups->group[s->groups->first[i] + k],
              fabs((double)pq_f32(w->value)[k]));
    }
}

pq_status pq_channel_scores(const pq_compress_task *task, const pq_channel_groups *groups,
                            int kind, double *score, pq_err *err)
{
    const pq_graph *graph = task->graph;
    const scorer    s     = {groups, task->calib, kind, score};

    if (kind == PQ_SCORE_TAYLOR) {
        return pq_taylor_channels(task, groups, score, err);
    }
    for (size_t g = 0; g < groups->n; g++) {
        score[g] = (double)NAN;
    }
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const pq_layer *layer = graph->nodes[i].layer;
        for (size_t k = 0; k < layer->n_weights; k++) {
            const pq_weight *w = &layer->weights[k];
            if (kind == PQ_SCORE_BATCH_NORM) {
                if (layer->kind->channels == &pq_channels_vector &&
                    strcmp(w->name, "gamma") == 0) {
                    count_gamma(&s, i, w);
                }
            } else if (pq_makes_channels(&graph->nodes[i]) &&
                       layer->kind->role(w->name) == PQ_WEIGHT_KERNEL) {
                count_kernel(&s, graph, i, w);
            }
        }
    }
    for (size_t g = 0; g < groups->n; g++) {
        if (kind == PQ_SCORE_L2 || kind == PQ_SCORE_GROUP_NORM) {
            score[g] = sqrt(score[g]);
        }
    }
    return PQ_OK;
}
