/* Which quantizers are trained and how; from parameters to quantizers and back. */
#include "train/grid.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "train/net.h"

const char *const pq_qat_names[] = {"straight", "lsq", "pact", "dorefa", "hgq", NULL};

static const float  least_scale = 1e-12F;
static const double most_weight = 0x1p22; /* integer bits end at 23 */

enum { ALIGN = 16, LEAST_FRACTION = -23, MOST_FRACTION = 24, MAGNITUDE_BITS = 15 };

static bool is_symmetric(const pq_quant *q)
{
    for (size_t i = 0; i < q->n; i++) {
        if (q->zero_point[i] != 0) {
            return false;
        }
    }
    return q->is_signed;
}

static pq_qat rule_of_weight(pq_qat rule, pq_weight_role role, const pq_quant *q)
{
    const bool whole = q->scheme == PQ_QUANT_INTEGER;
    bool       fits  = role == PQ_WEIGHT_KERNEL;

    switch (rule) {
    case PQ_QAT_LSQ:
        fits = fits && whole;
        break;
    case PQ_QAT_PACT:
    case PQ_QAT_DOREFA:
        fits = fits && whole && is_symmetric(q);
        rule = PQ_QAT_DOREFA;
        break;
    case PQ_QAT_HGQ:
        fits = fits && q->scheme == PQ_QUANT_FIXED && q->is_signed && pq_quant_clips(q);
        break;
    case PQ_QAT_STRAIGHT:
        break;
    }
    return fits ? rule : PQ_QAT_STRAIGHT;
}

static pq_qat rule_of_output(pq_qat rule, const pq_quant *q)
{
    const bool whole = q->scheme == PQ_QUANT_INTEGER;
    bool       fits  = false;

    switch (rule) {
    case PQ_QAT_LSQ:
        fits = whole;
        break;
    case PQ_QAT_PACT:
        fits = whole && q->n == 1 && q->zero_point[0] == pq_quant_lo(q);
        break;
    case PQ_QAT_HGQ:
        fits = q->scheme == PQ_QUANT_FIXED && q->n == 1 && pq_quant_clips(q);
        break;
    case PQ_QAT_DOREFA:
    case PQ_QAT_STRAIGHT:
        break;
    }
    return fits ? rule : PQ_QAT_STRAIGHT;
}

/* 1 / sqrt(N Qp) for `count` values on all scales together. */
static double lsq_step(const pq_quant *q, size_t count)
{
    const int most = pq_quant_hi(q) - q->zero_point[0];

    return 1.0 / sqrt((double)count / (double)q->n * (double)(most > 1 ? most : 1));
}

static pq_status add_grid(pq_net *net, pq_grid grid, const pq_quant *q, size_t count,
                          pq_err *err)
{
    pq_grid   *g       = &net->grids[net->n_grids];
    const bool has_row = grid.rule != PQ_QAT_STRAIGHT && grid.rule != PQ_QAT_DOREFA;
    pq_status  st;

    *g     = grid;
    g->row = SIZE_MAX;
    net->n_grids++;
    PQ_TRY(pq_quant_clone(q, &g->quant, err));
    PQ_NEW(g->largest, q->n);
    PQ_NEW(g->ties, q->n);
    PQ_NEW(g->sums, q->n);
    if (g->rule == PQ_QAT_LSQ) {
        g->step = lsq_step(q, count);
    }
    if (g->rule == PQ_QAT_HGQ && g->weight == SIZE_MAX) {
        g->integer_bits = pq_quant_integer_bits(q, 0);
    }
    if (has_row) {
        g->row                      = net->n_rows;
        net->weights[net->n_rows++] = (pq_net_weight){.node    = g->node,
                                                      .index   = SIZE_MAX,
                                                      .offset  = net->n_flat,
                                                      .count   = q->n,
                                                      .role    = PQ_WEIGHT_NORM,
                                                      .is_grid = true};
        net->n_flat += (q->n + ALIGN - 1) / ALIGN * ALIGN;
    }
cleanup:
    return st;
}

static pq_status add_weights(pq_net *net, pq_qat rule, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; i < net->n_weights; i++) {
        pq_net_weight *w = &net->weights[i];
        if (w->quant != NULL && !w->frozen) {
            PQ_TRY(add_grid(net,
                            (pq_grid){.rule   = rule_of_weight(rule, w->role, w->quant),
                                      .node   = w->node,
                                      .weight = i},
                            w->quant, w->count, err));
            w->grid  = &net->grids[net->n_grids - 1];
            w->quant = w->grid->quant;
        }
    }
cleanup:
    return st;
}

/* Which layers around a node are trained: `makes` those that its value comes from,
   `reads` those that it goes to, each past layers without weights. */
typedef struct {
    bool makes, reads;
} around;

static bool is_trained(const pq_net *net, size_t node)
{
    for (size_t i = 0; i < net->n_weights; i++) {
        if (net->weights[i].node == node && !net->weights[i].frozen) {
            return true;
        }
    }
    return false;
}

static void look_around(const pq_net *net, const pq_graph *graph, around *at)
{
    for (size_t i = graph->n_nodes; i-- > 0;) {
        const pq_node *node = &graph->nodes[i];
        const bool reads = node->layer->n_weights > 0 ? is_trained(net, i) : at[i].reads;
        for (size_t k = 0; k < node->n_inputs; k++) {
            at[node->inputs[k]].reads |= reads;
        }
    }
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const pq_node *node = &graph->nodes[i];
        at[i].makes         = node->layer->n_weights > 0 ? is_trained(net, i)
                              : node->n_inputs == 0      ? at[i].reads
                                                         : false;
        for (size_t k = 0; k < node->n_inputs && node->layer->n_weights == 0; k++) {
            at[i].makes |= at[node->inputs[k]].makes;
        }
    }
}

/* The loss does what ends a graph, unrounded: its quantizer has no operation. */
static bool is_link(const pq_graph *graph, size_t node)
{
    return node == graph->output &&
           pq_layer_is(graph->nodes[node].layer, PQ_TRAIT_PROBABILITY);
}

/* The grid of an output is trained where a layer is that the output comes from; that of
   the events where a layer is that they go to. */
static pq_status add_outputs(pq_net *net, const pq_graph *graph, const char *freeze,
                             pq_qat rule, pq_err *err)
{
    around   *at = NULL;
    pq_status st;

    PQ_NEW(at, graph->n_nodes);
    look_around(net, graph, at);
    for (size_t i = 0; i <= graph->output; i++) {
        const pq_quant *q = graph->nodes[i].quant;
        if (q == NULL || is_link(graph, i) || !at[i].makes ||
            (freeze != NULL && pq_glob_match(freeze, graph->nodes[i].name))) {
            continue;
        }
        size_t count = 0;
        (void)pq_shape_count(&graph->nodes[i].shape, &count);
        PQ_TRY(add_grid(
            net,
            (pq_grid){.rule = rule_of_output(rule, q), .node = i, .weight = SIZE_MAX}, q,
            count, err));
    }
cleanup:
    pq_free(at);
    return st;
}

const pq_grid *pq_grids_of_output(const pq_net *net, size_t node)
{
    for (size_t i = 0; i < net->n_grids; i++) {
        if (net->grids[i].node == node && net->grids[i].weight == SIZE_MAX) {
            return &net->grids[i];
        }
    }
    return NULL;
}

static void list_products(pq_net *net, const pq_graph *graph)
{
    for (size_t i = 0; i < net->n_weights; i++) {
        const pq_net_weight *w    = &net->weights[i];
        const pq_node       *node = &graph->nodes[w->node];
        if (strcmp(node->layer->weights[w->index].name, "kernel") != 0) {
            continue;
        }
        const pq_grid *g =
            pq_grids_of_output(net, pq_activation_source(graph, node->inputs[0]));
        const bool trained = g != NULL && g->rule == PQ_QAT_HGQ;

        net->products[net->n_products++] =
            (pq_product){.weight = i,
                         .source = trained ? (size_t)(g - net->grids) : SIZE_MAX,
                         .bits   = pq_activation_bits(graph, node->inputs[0])};
    }
}

static pq_status check_rule(const pq_net *net, pq_err *err)
{
    static const char *const due[] = {
        [PQ_QAT_LSQ]    = "a whole-number grid (format: int)",
        [PQ_QAT_PACT]   = "a whole-number grid (format: int)",
        [PQ_QAT_DOREFA] = "a symmetric whole-number grid of its kernel (format: int)",
        [PQ_QAT_HGQ]    = "a fixed-point grid that clips (format: fixed)"};
    bool any = net->qat.rule == PQ_QAT_STRAIGHT;

    for (size_t i = 0; i < net->n_grids; i++) {
        any = any || net->grids[i].rule != PQ_QAT_STRAIGHT;
    }
    if (any) {
        return PQ_OK;
    }
    (void)pq_err_set(err, PQ_ERR_CONFIG, __FILE__, __LINE__,
                     "qat = %s: no layer that is trained has %s",
                     pq_qat_names[net->qat.rule], due[net->qat.rule]);
    pq_err_hint(err, "put a stage `quantize` before it");
    return PQ_ERR_CONFIG;
}

pq_status pq_grids_plan(pq_net *net, const pq_graph *graph, const char *freeze,
                        const pq_qat_options *options, pq_err *err)
{
    pq_status st;

    net->qat = *options;
    PQ_NEW(net->grids, net->n_weights + graph->n_nodes);
    PQ_TRY(add_weights(net, options->rule, err));
    PQ_TRY(add_outputs(net, graph, freeze, options->rule, err));
    PQ_TRY(check_rule(net, err));
    if (options->rule == PQ_QAT_HGQ) {
        PQ_NEW(net->products, net->n_weights);
        list_products(net, graph);
    }
cleanup:
    return st;
}

void pq_grids_free(pq_net *net)
{
    for (size_t i = 0; i < net->n_grids; i++) {
        pq_quant_free(&net->grids[i].quant);
        pq_free(net->grids[i].largest);
        pq_free(net->grids[i].ties);
        pq_free(net->grids[i].sums);
    }
    pq_free(net->grids);
    pq_free(net->products);
}

/* s = 2 mean|v| / sqrt(Qp) for each scale; where all v are 0 it stays. */
static void start_lsq(pq_grid *g, const pq_net_weight *w, const float *v, float *p)
{
    memset(g->largest, 0, g->quant->n * sizeof *g->largest);
    memset(g->sums, 0, g->quant->n * sizeof *g->sums);
    for (size_t i = 0; i < w->count; i++) {
        const size_t k = pq_quant_index(g->quant, &w->shape, i);
        g->sums[k] += fabs((double)v[i]);
        g->largest[k] += 1.0;
    }
    for (size_t k = 0; k < g->quant->n; k++) {
        if (g->sums[k] > 0.0) {
            p[k] = (float)(2.0 * g->sums[k] / g->largest[k] /
                           sqrt((double)pq_quant_hi(g->quant)));
        }
    }
}

/* v so that its tanh, over the largest, is what v was over the grid's end. */
static void start_dorefa(const pq_grid *g, const pq_net_weight *w, float *v)
{
    for (size_t i = 0; i < w->count; i++) {
        const size_t k = pq_quant_index(g->quant, &w->shape, i);
        const double end =
            (double)g->quant->scale[k] * (double)pq_quant_most(g->quant, k);
        const double t = fmax(-1.0, fmin((double)v[i] / end, 1.0));
        v[i]           = (float)atanh(t * tanh(fmin(end, 1.0)));
    }
}

void pq_grids_start(pq_net *net)
{
    for (size_t i = 0; i < net->n_grids; i++) {
        pq_grid             *g = &net->grids[i];
        const pq_net_weight *w = g->weight == SIZE_MAX ? NULL : &net->weights[g->weight];
        float *p = g->row == SIZE_MAX ? NULL : net->flat + net->weights[g->row].offset;
        float *v = w == NULL ? NULL : net->flat + w->offset;

        for (size_t k = 0; p != NULL && k < g->quant->n; k++) {
            p[k] = g->rule == PQ_QAT_HGQ ? (float)pq_quant_fraction_bits(g->quant, k)
                                         : g->quant->scale[k];
        }
        if (g->rule == PQ_QAT_LSQ && w != NULL) {
            start_lsq(g, w, v, p);
        } else if (g->rule == PQ_QAT_DOREFA) {
            start_dorefa(g, w, v);
        } else if (g->rule == PQ_QAT_PACT) {
            p[0] *= (float)(pq_quant_hi(g->quant) - pq_quant_lo(g->quant));
        }
    }
}

static void find_largest(pq_grid *g, const pq_net_weight *w, const float *v)
{
    memset(g->largest, 0, g->quant->n * sizeof *g->largest);
    for (size_t i = 0; i < w->count; i++) {
        const size_t k    = pq_quant_index(g->quant, &w->shape, i);
        const double x    = fabs((double)v[i]),
                     size = g->rule == PQ_QAT_DOREFA ? tanh(x) : x;
        g->ties[k]        = size > g->largest[k]    ? 1.0
                            : size == g->largest[k] ? g->ties[k] + 1.0
                                                    : g->ties[k];
        g->largest[k]     = fmax(g->largest[k], size);
    }
}

static int whole_fraction(float f)
{
    return (int)rint(fmax(fmin((double)f, MOST_FRACTION), LEAST_FRACTION));
}

/* As many integer bits as the largest value needs once it is rounded; none at all when
   that is 0. */
static void set_kernel_width(pq_grid *g, size_t k, float parameter)
{
    const double top      = fmin(g->largest[k], most_weight);
    int          fraction = whole_fraction(parameter);

    while (ldexp(top, fraction) >= (double)((1 << MAGNITUDE_BITS) - 0.5)) {
        fraction--;
    }
    const double code = rint(ldexp(top, fraction));
    const int    bits = code > 0.0 ? ilogb(code) + 1 : 0;

    (void)pq_quant_set_fixed(g->quant, k, bits - fraction, fraction, NULL);
}

/* At least one bit, at most 16. */
static float output_fraction(const pq_grid *g, float parameter)
{
    const int most  = 16 - (g->quant->is_signed ? 1 : 0) - g->integer_bits;
    const int least = 1 - g->integer_bits;

    return fmaxf(fminf(parameter, (float)(most < MOST_FRACTION ? most : MOST_FRACTION)),
                 (float)(least > LEAST_FRACTION ? least : LEAST_FRACTION));
}

static void pull(const pq_net *net, pq_grid *g, const float *flat)
{
    const float *p = g->row == SIZE_MAX ? NULL : flat + net->weights[g->row].offset;
    pq_quant    *q = g->quant;

    if (g->weight != SIZE_MAX && (g->rule == PQ_QAT_HGQ || g->rule == PQ_QAT_DOREFA)) {
        const pq_net_weight *w = &net->weights[g->weight];
        find_largest(g, w, flat + w->offset);
    }
    if (g->rule == PQ_QAT_HGQ) {
        q->bits = 0; /* the widest, found again */
    }
    for (size_t k = 0; p != NULL && k < q->n; k++) {
        if (g->rule == PQ_QAT_LSQ) {
            q->scale[k] = fmaxf(p[k], least_scale);
        } else if (g->rule == PQ_QAT_PACT) {
            q->scale[k] =
                fmaxf(p[k], least_scale) / (float)(pq_quant_hi(q) - pq_quant_lo(q));
        } else if (g->weight != SIZE_MAX) {
            set_kernel_width(g, k, p[k]);
        } else {
            (void)pq_quant_set_fixed(q, k, g->integer_bits,
                                     whole_fraction(output_fraction(g, p[k])), NULL);
        }
    }
}

void pq_grids_pull(const pq_net *net, const float *flat)
{
    for (size_t i = 0; i < net->n_grids; i++) {
        pull(net, &net->grids[i], flat);
    }
}

void pq_grids_project(pq_net *net)
{
    for (size_t i = 0; i < net->n_grids; i++) {
        const pq_grid *g = &net->grids[i];
        float *p = g->row == SIZE_MAX ? NULL : net->flat + net->weights[g->row].offset;
        for (size_t k = 0; p != NULL && k < g->quant->n; k++) {
            if (g->rule != PQ_QAT_HGQ) {
                p[k] = fmaxf(p[k], least_scale);
            } else if (g->weight == SIZE_MAX) {
                p[k] = output_fraction(g, p[k]);
            } else {
                p[k] = fmaxf(fminf(p[k], MOST_FRACTION), LEAST_FRACTION);
            }
        }
    }
}

void pq_grids_store(const pq_net *net, pq_graph *graph)
{
    for (size_t i = 0; i < net->n_grids; i++) {
        const pq_grid *g    = &net->grids[i];
        pq_node       *node = &graph->nodes[g->node];
        pq_quant      *q    = g->weight == SIZE_MAX
                                  ? node->quant
                                  : node->layer->weights[net->weights[g->weight].index].quant;
        memcpy(q->scale, g->quant->scale, q->n * sizeof *q->scale);
        if (q->width != NULL) {
            memcpy(q->width, g->quant->width, q->n * sizeof *q->width);
        }
        q->bits = g->quant->bits;
    }
}
