/*
 * Executes quantized graphs in whole numbers. A layer that cannot be (no codes on one
 * side, a kind without an integer form) is computed in double by its kind's own forward,
 * between codes where its neighbours have them.
 */
#include "exec/integer.h"

#include <string.h>

#include "core/memory.h"
#include "exec/codes.h"
#include "exec/integer_ops.h"
#include "layers/moves.h"

/* --- in double, between codes --- */

typedef struct {
    pq_op           op;
    pq_op          *inner; /* the kind's own forward, owned */
    const pq_graph *graph;
    size_t          node, n_in;
    size_t          count; /* of the output */
    size_t          in_count[PQ_STEP_INPUTS];
    const pq_quant *grid[PQ_STEP_INPUTS]; /* of inputs */
    size_t          tile;
} real_op;

static void real_run(const pq_op *op, size_t n, const void *const *in, void *out,
                     void *scratch)
{
    const real_op *r                      = (const real_op *)op;
    double        *next                   = scratch;
    const void    *values[PQ_STEP_INPUTS] = {NULL};

    for (size_t i = 0; i < r->n_in; i++) {
        pq_codes_to_real(r->grid[i], n * r->in_count[i], in[i], next);
        values[i] = next;
        next += r->tile * r->in_count[i];
    }
    r->inner->run(r->inner, n, values, next, next + r->tile * r->count);
    pq_codes_from_real(r->graph, r->node, n, next, out);
}

static void real_release(pq_op *op)
{
    real_op *r = (real_op *)op;

    if (r->inner != NULL) {
        r->inner->release(r->inner);
    }
    pq_free(r);
}

static pq_status prepare_real(const pq_step *step, size_t tile, pq_op **out, pq_err *err)
{
    real_op  *r     = NULL;
    size_t    items = 0;
    pq_status st;

    PQ_NEW(r, 1);
    r->op.run     = real_run;
    r->op.release = real_release;
    r->op.kernel  = "plain loops in double";
    r->graph      = step->graph;
    r->node       = step->last;
    r->n_in       = step->n_in;
    r->tile       = tile;
    r->count      = pq_node_count(step->graph, step->last);
    for (size_t i = 0; i < step->n_in; i++) {
        r->grid[i]     = pq_code_grid(step->graph, step->in[i]);
        r->in_count[i] = pq_node_count(step->graph, step->in[i]);
        items += r->in_count[i];
    }
    PQ_TRY(pq_forward_prepare(step, tile, sizeof(double), &r->inner, err));
    r->op.scratch_bytes =
        tile * (items + r->count) * sizeof(double) + r->inner->scratch_bytes;
    r->op.weight_bytes = r->inner->weight_bytes;
    *out               = &r->op;
    r                  = NULL;
cleanup:
    if (r != NULL) {
        real_release(&r->op);
    }
    return st;
}

/* --- functions of one code: a table --- */

typedef struct {
    pq_op    op;
    size_t   count;
    int32_t  least; /* code of the first entry */
    int32_t *codes; /* one of both, owned */
    double  *reals;
} table_op;

static void table_run(const pq_op *op, size_t n, const void *const *in, void *out,
                      void *scratch)
{
    const table_op *t    = (const table_op *)op;
    const int32_t  *from = in[0];

    (void)scratch;
    for (size_t i = 0; i < n * t->count; i++) {
        if (t->codes != NULL) {
            ((int32_t *)out)[i] = t->codes[from[i] - t->least];
        } else {
            ((double *)out)[i] = t->reals[from[i] - t->least];
        }
    }
}

static void table_release(pq_op *op)
{
    table_op *t = (table_op *)op;

    pq_free(t->codes);
    pq_free(t->reals);
    pq_free(t);
}

static bool is_table(const pq_step *step)
{
    return pq_layer_is(step->graph->nodes[step->node].layer, PQ_TRAIT_ITEMWISE) &&
           pq_code_grid(step->graph, step->in[0]) != NULL &&
           (pq_code_grid(step->graph, step->last) != NULL ||
            step->graph->nodes[step->last].quant == NULL);
}

/* The values of all codes, through the layer's own forward, one sample at a time. */
static pq_status fill_table(const pq_step *step, table_op *t, size_t entries, pq_err *err)
{
    const pq_quant  *from = pq_code_grid(step->graph, step->in[0]);
    const pq_int_out to   = pq_int_out_of(step);
    double          *x = NULL, *y = NULL;
    pq_op           *inner = NULL;
    pq_status        st;

    PQ_NEW(x, t->count);
    PQ_NEW(y, t->count);
    PQ_TRY(pq_forward_prepare(step, 1, sizeof(double), &inner, err));
    for (size_t first = 0; first < entries; first += t->count) {
        const void  *in[1] = {x};
        const size_t n     = entries - first < t->count ? entries - first : t->count;
        for (size_t i = 0; i < t->count; i++) {
            x[i] = pq_quant_value(from, 0, t->least + (int32_t)(first + (i < n ? i : 0)));
        }
        inner->run(inner, 1, in, y, NULL);
        for (size_t i = 0; i < n; i++) {
            pq_int_store(&to, first + i, y[i],
                         t->codes != NULL ? (void *)t->codes : (void *)t->reals);
        }
    }
cleanup:
    if (inner != NULL) {
        inner->release(inner);
    }
    pq_free(x);
    pq_free(y);
    return st;
}

static pq_status prepare_table(const pq_step *step, pq_op **out, pq_err *err)
{
    const pq_quant *from = pq_code_grid(step->graph, step->in[0]);
    const size_t entries = (size_t)(pq_quant_most(from, 0) - pq_quant_least(from, 0)) + 1;
    table_op    *t       = NULL;
    pq_status    st;

    PQ_NEW(t, 1);
    t->op.run     = table_run;
    t->op.release = table_release;
    t->op.kernel  = "table of codes";
    t->count      = pq_node_count(step->graph, step->last);
    t->least      = pq_quant_least(from, 0);
    if (pq_code_grid(step->graph, step->last) != NULL) {
        PQ_NEW(t->codes, entries);
    } else {
        PQ_NEW(t->reals, entries);
    }
    t->op.weight_bytes = entries * (t->codes != NULL ? sizeof(int32_t) : sizeof(double));
    PQ_TRY(fill_table(step, t, entries, err));
    *out = &t->op;
    t    = NULL;
cleanup:
    if (t != NULL) {
        table_release(&t->op);
    }
    return st;
}

/* --- codes that move --- */

typedef struct {
    pq_op    op;
    pq_moves moves;
    int32_t  zero; /* code of what comes from nowhere */
} move_op;

static void move_run(const pq_op *op, size_t n, const void *const *in, void *out,
                     void *scratch)
{
    const move_op *m = (const move_op *)op;

    (void)scratch;
    pq_moves_run(&m->moves, n, sizeof(int32_t), in, &m->zero, out);
}

static void move_release(pq_op *op)
{
    pq_moves_free(&((move_op *)op)->moves);
    pq_free(op);
}

/* Codes of all inputs mean the same as those of the output. */
static bool is_move(const pq_step *step)
{
    const pq_layer *layer = step->graph->nodes[step->node].layer;

    return pq_layer_is(layer, PQ_TRAIT_MOVES | PQ_TRAIT_KEEPS_GRID) &&
           pq_code_grid(step->graph, step->in[0]) != NULL &&
           pq_code_grid(step->graph, step->in[0]) ==
               pq_code_grid(step->graph, step->last);
}

static pq_status prepare_move(const pq_step *step, pq_op **out, pq_err *err)
{
    const pq_node *node = &step->graph->nodes[step->node];
    move_op       *m    = NULL;
    pq_status      st;

    PQ_NEW(m, 1);
    m->op.run     = move_run;
    m->op.release = move_release;
    m->op.kernel  = "codes moved";
    m->zero       = pq_code_grid(step->graph, step->in[0])->zero_point[0];
    PQ_TRY(pq_moves_create(node->layer, 1, &step->graph->nodes[step->in[0]].shape,
                           &node->shape, &m->moves, err));
    *out = &m->op;
    m    = NULL;
cleanup:
    if (m != NULL) {
        move_release(&m->op);
    }
    return st;
}

static pq_status prepare(const pq_step *step, size_t tile, pq_op **out, pq_err *err)
{
    pq_units *units = NULL;
    pq_status st;

    PQ_TRY(pq_units_create(step->graph, step->node, &units, NULL, err));
    if (units != NULL) {
        return pq_int_linear(step, units, out, err);
    }
    if (is_table(step)) {
        return prepare_table(step, out, err);
    }
    if (is_move(step)) {
        return prepare_move(step, out, err);
    }
    PQ_TRY(pq_int_pool(step, out, err));
    if (*out == NULL) {
        PQ_TRY(prepare_real(step, tile, out, err));
    }
cleanup:
    return st;
}

const pq_engine pq_engine_integer = {
    .name       = "integer",
    .summary    = "quantized layers in whole numbers, bit by bit the same on every "
                  "machine; others in double",
    .item_bytes = sizeof(double),
    .take       = pq_codes_take,
    .give       = pq_codes_give,
    .prepare    = prepare,
};

static const char *grid_text(const pq_quant *q, char *out, size_t size)
{
    (void)snprintf(out, size, "%sint%d", q->is_signed ? "" : "u", q->bits);
    return out;
}

pq_status pq_integer_describe(const pq_graph *graph, size_t node, char *out, size_t size,
                              pq_err *err)
{
    pq_step     step  = {.graph = graph, .node = node, .last = node};
    const char *why   = "its inputs have no codes of one scale";
    pq_units   *units = NULL;
    pq_op      *pool  = NULL;
    char        a[16], b[16];
    pq_status   st;

    out[0]    = '\0';
    step.n_in = graph->nodes[node].n_inputs;
    memcpy(step.in, graph->nodes[node].inputs, sizeof graph->nodes[node].inputs);
    if (step.n_in == 0) {
        return PQ_OK;
    }
    PQ_TRY(pq_units_create(graph, node, &units, &why, err));
    PQ_TRY(units == NULL ? pq_int_pool(&step, &pool, err) : PQ_OK);
    if (units != NULL) {
        (void)snprintf(
            out, size, "%s x %s in int%d",
            grid_text(pq_code_grid(graph, step.in[0]), a, sizeof a),
            grid_text(pq_layer_weight(graph->nodes[node].layer, "kernel")->quant, b,
                      sizeof b),
            units->bound <= INT32_MAX ? 32 : 64);
    } else if (is_table(&step)) {
        (void)snprintf(out, size, "table of %d codes",
                       1 << pq_code_grid(graph, step.in[0])->bits);
    } else if (is_move(&step) || pool != NULL) {
        (void)snprintf(out, size, "on codes");
    } else if (pq_layer_weight(graph->nodes[node].layer, "kernel") == NULL &&
               pq_code_grid(graph, node) != NULL) {
        (void)snprintf(out, size, "to codes, scaled in double");
    } else if (pq_layer_weight(graph->nodes[node].layer, "kernel") == NULL &&
               pq_code_grid(graph, step.in[0]) != NULL) {
        (void)snprintf(out, size, "from codes, scaled in double");
    } else {
        (void)snprintf(out, size, "float: %s", why);
    }
cleanup:
    pq_units_free(&units);
    pq_free(pool);
    return st;
}
