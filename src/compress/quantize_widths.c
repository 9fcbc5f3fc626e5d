#include <math.h>
#include <string.h>

#include "compress/quantize_weights.h"
#include "compress/wiring.h"
#include "core/memory.h"

/* A layer's kernel, or its cores: their size, and what each width costs, takes and
 * changes. */
typedef struct {
    double count, cost[PQ_WIDTHS], bytes[PQ_WIDTHS], changed[PQ_WIDTHS];
} candidate;

/* Sums over all candidates at their widths. */
typedef struct {
    double bits, bytes, changed;
} total;

bool pq_quantize_is_mixed(const pq_quantize_params *p)
{
    return !isnan(p->average_bits) || p->budget_bytes != PQ_UNSET || !isnan(p->max_loss);
}

/* Rounding spread evenly over the range, (hi - lo)^2 / (12 4^b) a value, and the squares:
 * both are added. */
static void add_range_cost(const pq_tensor *w, int bits, double sums[2])
{
    double lo = 0.0, hi = 0.0, square = 0.0;

    for (size_t i = 0; i < w->count; i++) {
        const double x = (double)pq_f32(w)[i];
        lo             = fmin(lo, x);
        hi             = fmax(hi, x);
        square += x * x;
    }
    sums[0] += square;
    sums[1] += (hi - lo) * (hi - lo) / 12.0 * ldexp(1.0, -2 * bits) * (double)w->count;
}

/* Bytes of a kernel at a width; what it costs is added. */
static pq_status try_width(const pq_quantize_params *p, const pq_weight *kernel, int bits,
                           double sums[2], double *bytes, pq_err *err)
{
    pq_quantize_params at       = *p;
    pq_weight          copy     = {.name = kernel->name, .pruned = kernel->pruned};
    double             error[2] = {0.0, 0.0};
    pq_status          st;

    at.bits = bits;
    PQ_TRY(pq_tensor_clone(kernel->value, &copy.value, err));
    PQ_TRY(pq_quantize_weight(&at, &copy, NULL, error, err));
    *bytes += (double)pq_weight_stored_bytes(&copy);
    if (p->width_rule == PQ_WIDTH_RANGE) {
        add_range_cost(kernel->value, bits, sums);
    } else {
        sums[0] += error[0];
        sums[1] += error[1];
    }
cleanup:
    pq_tensor_free(&copy.value);
    pq_quant_free(&copy.quant);
    return st;
}

static bool is_kernel(const pq_layer *layer, const pq_weight *w)
{
    return layer->kind->role(w->name) == PQ_WEIGHT_KERNEL;
}

/* A layer's kernel, or all its cores together. */
static pq_status measure(const pq_quantize_params *p, const pq_layer *layer,
                         const pq_quantize_loss *loss, candidate *c, pq_err *err)
{
    pq_status st = PQ_OK;

    for (int bits = PQ_LEAST_BITS; bits <= (int)p->bits; bits++) {
        double sums[2] = {0.0, 0.0};
        c->count       = 0.0;
        for (size_t i = 0; i < layer->n_weights; i++) {
            if (is_kernel(layer, &layer->weights[i])) {
                PQ_TRY(
                    try_width(p, &layer->weights[i], bits, sums, &c->bytes[bits], err));
                c->count += (double)layer->weights[i].value->count;
            }
        }
        c->cost[bits] = sums[0] > 0.0 ? sums[1] / sums[0] : 0.0;
        if (p->width_rule == PQ_WIDTH_LOSS) {
            c->cost[bits]    = loss->divergence[bits];
            c->changed[bits] = loss->changed[bits];
        }
    }
cleanup:
    return st;
}

static total sum_of(const candidate *c, const int64_t *widths, size_t n)
{
    total t = {0.0, 0.0, 0.0};

    for (size_t k = 0; k < n; k++) {
        t.bits += c[k].count * (double)widths[k];
        t.bytes += c[k].bytes[widths[k]];
        t.changed += c[k].changed[widths[k]];
    }
    return t;
}

/* Layer whose next bit costs least for each bit that it saves and does not change more
   than is left of max_loss, or n. */
static size_t cheapest(const candidate *c, const int64_t *widths, size_t n, double left)
{
    double least = HUGE_VAL;
    size_t at    = n;

    for (size_t k = 0; k < n; k++) {
        const int64_t b = widths[k];
        if (b > PQ_LEAST_BITS && !(c[k].changed[b - 1] - c[k].changed[b] > left)) {
            const double cost = (c[k].cost[b - 1] - c[k].cost[b]) / c[k].count;
            if (cost < least) {
                least = cost;
                at    = k;
            }
        }
    }
    return at;
}

/* Bytes of the model that no width changes. */
static double other_bytes(const pq_compress_task *task)
{
    const pq_quantize_params *p     = task->params;
    double                    bytes = (double)pq_graph_stored_bytes(task->graph);

    for (size_t k = 0; k < task->n_nodes; k++) {
        const pq_node *node =
            &task->graph->nodes[pq_graph_find(task->graph, task->nodes[k])];
        for (size_t i = 0; i < node->layer->n_weights; i++) {
            const pq_weight *w = &node->layer->weights[i];
            bytes -= is_kernel(node->layer, w) ? (double)pq_weight_stored_bytes(w) : 0.0;
        }
        if (p->bias_correction && pq_layer_weight(node->layer, "bias") == NULL) {
            bytes += (double)pq_node_kernel(node)->value->shape.dim[0] * sizeof(float);
        }
    }
    return bytes;
}

static pq_status measure_all(const pq_compress_task *task, const pq_quantize_loss *losses,
                             candidate *c, pq_err *err)
{
    const pq_quantize_params *p  = task->params;
    pq_status                 st = PQ_OK;

    for (size_t k = 0; k < task->n_nodes; k++) {
        const pq_node *node =
            &task->graph->nodes[pq_graph_find(task->graph, task->nodes[k])];
        PQ_TRY(measure(p, node->layer, losses != NULL ? &losses[k] : NULL, &c[k], err));
    }
cleanup:
    return st;
}

pq_status pq_quantize_choose_widths(const pq_compress_task *task,
                                    const pq_quantize_loss *losses, int64_t *widths,
                                    pq_err *err)
{
    const pq_quantize_params *p      = task->params;
    const size_t              n      = task->n_nodes;
    const bool                budget = p->budget_bytes != PQ_UNSET;
    candidate                *c      = NULL;
    total                     t;
    pq_status                 st;

    PQ_NEW(c, n);
    for (size_t k = 0; k < n; k++) {
        widths[k] = p->bits;
    }
    if (!pq_quantize_is_mixed(p)) {
        goto cleanup;
    }
    PQ_TRY(measure_all(task, losses, c, err));
    t = sum_of(c, widths, n);
    PQ_CHECK(isnan(p->max_loss) || t.changed <= p->max_loss, PQ_ERR_RANGE,
             "max_loss = %g is below the share of %.3g of the events that %d bits "
             "everywhere change",
             p->max_loss, t.changed, (int)p->bits);
    for (;; t = sum_of(c, widths, n)) {
        const double bytes = other_bytes(task) + t.bytes;
        const double left  = isnan(p->max_loss) ? HUGE_VAL : p->max_loss - t.changed;
        double       count = 0.0;
        for (size_t k = 0; k < n; k++) {
            count += c[k].count;
        }
        const size_t k = cheapest(c, widths, n, left);
        if ((!isnan(p->average_bits) && t.bits <= p->average_bits * count) ||
            (budget && bytes <= (double)p->budget_bytes)) {
            break;
        }
        PQ_CHECK(
            !budget || k < n, PQ_ERR_RANGE,
            "budget_bytes = %lld is below the %.0f bytes that %d bits everywhere take",
            (long long)p->budget_bytes, bytes, (int)PQ_LEAST_BITS);
        if (k == n) {
            break;
        }
        widths[k]--;
    }
cleanup:
    pq_free(c);
    return st;
}
