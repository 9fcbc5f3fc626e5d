/*
 * Dense layers held as tensor trains and rings, one product a core and event.
 *
 * A value between cores lies as [m, p, r]: the mode that is next, all others, the rank.
 * Core k takes it by rows p and columns (m, r) to [p, n, r'], which is the next [m, p,
 * r]: nothing is ever transposed. Backwards Z = A C gives dC = A^T dZ and dA = dZ C^T.
 * A ring of rank R is the sum of R trains: of the rows of the first core and the columns
 * of the last, with the cores between in common.
 *
 * Source: Novikov et al., arXiv:1509.06569, sections 3 to 5; Zhao et al.,
 * arXiv:1606.05535.
 */
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "layers/tt.h"
#include "train/net.h"

/* One core [r, n, m, r'] of a train; what is stored is [r0, n, m, r20]. */
typedef struct {
    size_t      n, m, r, r2, others;
    size_t      r20;     /* r', or R where the columns are those of a ring's trains */
    size_t      trains;  /* 1, or R where each train has its own */
    bool        rows;    /* train a has row a of the first core */
    size_t      in, out; /* floats of the values before and behind it */
    size_t      weight;  /* offset */
    size_t      panel_forward, panel_backward;
    float      *turned;                          /* [trains, (m, r), (n, r')] */
    float      *forward, *backward;              /* packed: those, and their transposes */
    size_t      packed_forward, packed_backward; /* floats of one */
    pq_segment *segments;                        /* of the columns (m, r) of its input */
    size_t      n_segments;
} core;

typedef struct {
    pq_tt_modes t;
    core        cores[PQ_MAX_DIMS];
    size_t      rows;                /* of one event */
    size_t      bias;                /* offset, SIZE_MAX = none */
    size_t      widest;              /* floats of the largest value */
    size_t      values[PQ_MAX_DIMS]; /* where the value behind a core lies in scratch */
    size_t      grads[2], part, changes; /* two gradients, one before it is put in order,
                                            and those of the cores, turned */
} state;

static void free_state(void *pointer)
{
    state *s = pointer;

    for (size_t k = 0; k < s->t.d; k++) {
        pq_free(s->cores[k].turned);
        pq_free(s->cores[k].forward);
        pq_free(s->cores[k].backward);
        pq_free(s->cores[k].segments);
    }
}

/* Of one train. */
static size_t core_floats(const core *k)
{
    return k->r * k->n * k->m * k->r2;
}

/* Of all trains, turned and as the weight has them. */
static void turn(const core *k, const float *w, float *turned)
{
    for (size_t a = 0; a < k->trains; a++) {
        for (size_t i = 0; i < k->r * k->n * k->m; i++) {
            const size_t m = i % k->m, n = i / k->m % k->n, r = i / k->m / k->n;
            const size_t from = ((k->rows ? a : r) * k->n + n) * k->m + m;
            memcpy(turned + ((m * k->r + r) * k->n + n) * k->r2,
                   w + from * k->r20 + (k->r20 > k->r2 ? a : 0), k->r2 * sizeof *w);
        }
        turned += core_floats(k);
    }
}

static void turn_back(const core *k, const float *turned, float *w)
{
    for (size_t a = 0; a < k->trains; a++) {
        for (size_t i = 0; i < k->r * k->n * k->m; i++) {
            const size_t m = i % k->m, n = i / k->m % k->n, r = i / k->m / k->n;
            const size_t to = ((k->rows ? a : r) * k->n + n) * k->m + m;
            memcpy(w + to * k->r20 + (k->r20 > k->r2 ? a : 0),
                   turned + ((m * k->r + r) * k->n + n) * k->r2, k->r2 * sizeof *w);
        }
        turned += core_floats(k);
    }
}

/* A value of rank 1 is one strided run, others are a run of r for each m. */
static void list_segments(core *k)
{
    k->n_segments  = k->r == 1 ? 1 : k->m;
    k->segments[0] = (pq_segment){.k = k->m};
    for (size_t i = 0; k->r > 1 && i < k->m; i++) {
        k->segments[i] = (pq_segment){
            .a = i * k->others * k->r, .b = i * k->r * k->panel_forward, .k = k->r};
    }
}

static pq_status setup_core(pq_net *net, const pq_op *op, size_t i, size_t *others,
                            pq_err *err)
{
    state    *s = op->state;
    core     *k = &s->cores[i];
    char      name[32];
    pq_status st;

    (void)snprintf(name, sizeof name, "core%zu", i + 1);
    const bool first = i == 0, last = i + 1 == s->t.d;
    *k                 = (core){.n = s->t.n[i], .m = s->t.m[i], .r20 = s->t.r[i + 1]};
    k->r               = first ? 1 : s->t.r[i];
    k->r2              = last ? 1 : k->r20;
    k->trains          = first || last ? s->t.ring : 1;
    k->rows            = first;
    k->weight          = op->weight[pq_layer_weight_index(op->layer, name)];
    k->others          = *others / k->m;
    k->in              = *others * k->r;
    *others            = k->others * k->n;
    k->out             = *others * k->r2;
    k->panel_forward   = net->kernels->panel(k->n * k->r2);
    k->panel_backward  = net->kernels->panel(k->m * k->r);
    k->packed_forward  = pq_panel_floats(k->m * k->r, k->n * k->r2, k->panel_forward);
    k->packed_backward = pq_panel_floats(k->n * k->r2, k->m * k->r, k->panel_backward);
    k->turned          = pq_calloc(k->trains * core_floats(k), sizeof(float));
    k->forward         = pq_calloc(k->trains * k->packed_forward, sizeof(float));
    k->backward        = pq_calloc(k->trains * k->packed_backward, sizeof(float));
    k->segments        = pq_calloc(k->m, sizeof *k->segments);
    PQ_CHECK(k->turned != NULL && k->forward != NULL && k->backward != NULL &&
                 k->segments != NULL,
             PQ_ERR_NOMEM, "layer '%s': cannot allocate packed cores", op->name);
    list_segments(k);
cleanup:
    return st;
}

/* Operands may be read a little beyond their end. */
static size_t take(size_t *at, size_t floats)
{
    const size_t from = *at;

    *at += (floats + PQ_KERNELS_SLACK + 15) / 16 * 16;
    return from;
}

static pq_status setup(pq_net *net, pq_op *op, pq_err *err)
{
    const size_t bias = pq_layer_weight_index(op->layer, "bias");
    state       *s    = pq_calloc(1, sizeof *s);
    size_t       at = 0, others, cores = 0;
    pq_status    st;

    PQ_CHECK(s != NULL, PQ_ERR_NOMEM, "cannot allocate the state of a layer");
    op->state      = s;
    op->free_state = free_state;
    PQ_TRY(pq_tt_modes_of(op->layer, &s->t, err));
    s->bias = bias != SIZE_MAX ? op->weight[bias] : SIZE_MAX;
    s->rows = net->values[op->out].count / s->t.outputs;
    others  = s->t.inputs;
    for (size_t i = 0; i < s->t.d; i++) {
        PQ_TRY(setup_core(net, op, i, &others, err));
        s->widest    = s->cores[i].in > s->widest ? s->cores[i].in : s->widest;
        s->values[i] = take(&at, s->cores[i].out);
        cores += s->cores[i].trains * core_floats(&s->cores[i]);
    }
    s->grads[0]       = take(&at, s->widest);
    s->grads[1]       = take(&at, s->widest);
    s->part           = take(&at, s->widest);
    s->changes        = take(&at, cores);
    op->scratch_bytes = at * sizeof(float);
cleanup:
    return st;
}

static void prepare(const pq_net *net, pq_op *op)
{
    state *s = op->state;

    for (size_t i = 0; i < s->t.d; i++) {
        core        *k    = &s->cores[i];
        const size_t rows = k->m * k->r, columns = k->n * k->r2;
        turn(k, net->used + k->weight, k->turned);
        for (size_t a = 0; a < k->trains; a++) {
            const float *turned = k->turned + a * core_floats(k);
            pq_pack_panels(rows, columns, turned, columns, 1, k->panel_forward,
                           k->forward + a * k->packed_forward);
            pq_pack_panels(columns, rows, turned, 1, columns, k->panel_backward,
                           k->backward + a * k->packed_backward);
        }
    }
}

/* Which of its packed cores train a has. */
static size_t own(const core *k, size_t a)
{
    return k->trains > 1 ? a : 0;
}

/* Through a core of train a; `add` is added, or NULL. */
static void apply(const pq_net_call *c, const core *k, size_t a, const float *x,
                  const float *add, float *y)
{
    c->net->kernels->gemm(&(pq_matmul){.m     = k->others,
                                       .n     = k->n * k->r2,
                                       .a     = x,
                                       .a_row = k->r,
                                       .a_col = k->r == 1 ? k->others : 1,
                                       .b = k->forward + own(k, a) * k->packed_forward,
                                       .b_row      = k->panel_forward,
                                       .b_panel    = k->m * k->r * k->panel_forward,
                                       .panel      = k->panel_forward,
                                       .c          = y,
                                       .c_row      = k->n * k->r2,
                                       .n_segments = k->n_segments,
                                       .segments   = k->segments,
                                       .add        = add});
}

/* Runs the first `n` cores of train a; the value behind the last of them is y, or added
 * to y of the trains before. */
static void run(const pq_net_call *c, size_t a, const float *x, size_t n, float *y)
{
    const state *s       = c->op->state;
    float       *scratch = c->scratch;

    for (size_t i = 0; i < n; i++) {
        float *to = i + 1 == n && y != NULL ? y : scratch + s->values[i];
        apply(c, &s->cores[i], a, x, to == y && a > 0 ? y : NULL, to);
        x = to;
    }
}

static void forward(const pq_net_call *c)
{
    const state *s = c->op->state;
    const size_t n = c->rows * s->rows, out = s->t.outputs;
    const float *x = pq_net_value(c, c->op->in[0]);
    float       *y = pq_net_value(c, c->op->out);

    for (size_t row = 0; row < n; row++, x += s->t.inputs, y += out) {
        for (size_t a = 0; a < s->t.ring; a++) {
            run(c, a, x, s->t.d, y);
        }
        if (s->bias != SIZE_MAX) {
            c->net->kernels->add2(out, c->net->used + s->bias, y, c->op->relu, y);
        }
        for (size_t i = 0; s->bias == SIZE_MAX && c->op->relu && i < out; i++) {
            y[i] = y[i] < 0.0F ? 0.0F : y[i];
        }
    }
}

/* Adds A^T dZ to the gradient of a core, turned: a run of rows for each m. */
static void core_gradient(const pq_net_call *c, const core *k, const float *x,
                          const float *dy, float *change)
{
    const size_t     columns = k->n * k->r2;
    const pq_segment all     = {.k = k->others};

    for (size_t i = 0; i < k->n_segments; i++) {
        c->net->kernels->gemm(&(pq_matmul){.m          = k->r == 1 ? k->m : k->r,
                                           .n          = columns,
                                           .a          = x + i * k->others * k->r,
                                           .a_row      = k->r == 1 ? k->others : 1,
                                           .a_col      = k->r,
                                           .b          = dy,
                                           .b_row      = columns,
                                           .b_panel    = k->panel_forward,
                                           .panel      = k->panel_forward,
                                           .c          = change + i * k->r * columns,
                                           .c_row      = columns,
                                           .n_segments = 1,
                                           .segments   = &all,
                                           .add        = change + i * k->r * columns});
    }
}

/* dZ C^T as [p, m, r] in `part`, put in order to [m, p, r] in dx. */
static void value_gradient(const pq_net_call *c, const core *k, size_t a, const float *dy,
                           float *part, bool add, float *dx)
{
    const size_t     columns = k->m * k->r;
    const pq_segment all     = {.k = k->n * k->r2};

    c->net->kernels->gemm(&(pq_matmul){.m     = k->others,
                                       .n     = columns,
                                       .a     = dy,
                                       .a_row = all.k,
                                       .a_col = 1,
                                       .b = k->backward + own(k, a) * k->packed_backward,
                                       .b_row      = k->panel_backward,
                                       .b_panel    = all.k * k->panel_backward,
                                       .panel      = k->panel_backward,
                                       .c          = part,
                                       .c_row      = columns,
                                       .n_segments = 1,
                                       .segments   = &all});
    for (size_t p = 0; p < k->others; p++) {
        for (size_t m = 0; m < k->m; m++, part += k->r) {
            float *to = dx + (m * k->others + p) * k->r;
            if (add) {
                c->net->kernels->add(k->r, part, to);
            } else {
                memcpy(to, part, k->r * sizeof *to);
            }
        }
    }
}

/* One row through train a, whose gradient is dy; dx is NULL where nobody wants it. */
static void row_backward(const pq_net_call *c, size_t a, const float *x, const float *dy,
                         float *dx)
{
    const state *s       = c->op->state;
    float       *scratch = c->scratch, *change = scratch + s->changes;

    for (size_t i = 0; i < s->t.d; i++) {
        change += s->cores[i].trains * core_floats(&s->cores[i]);
    }
    run(c, a, x, s->t.d - 1, NULL);
    for (size_t i = s->t.d; i-- > 0;) {
        const core *k  = &s->cores[i];
        float      *to = i > 0 ? scratch + s->grads[i % 2] : dx;
        change -= k->trains * core_floats(k);
        if (!c->op->frozen) {
            core_gradient(c, k, i > 0 ? scratch + s->values[i - 1] : x, dy,
                          change + own(k, a) * core_floats(k));
        }
        if (to != NULL) {
            value_gradient(c, k, a, dy, scratch + s->part,
                           i == 0 && (a > 0 || c->op->accumulate[0]), to);
        }
        dy = to;
    }
}

static void backward(const pq_net_call *c)
{
    const state *s = c->op->state;
    const size_t n = c->rows * s->rows, out = s->t.outputs;
    const float *x  = pq_net_value(c, c->op->in[0]);
    float       *dy = pq_net_gradient_behind(c, out, s->bias), *change = c->scratch;
    float       *dx = c->op->wants[0] ? pq_net_gradient(c, c->op->in[0]) : NULL;

    change += s->changes;
    for (size_t i = 0; i < s->t.d; i++) {
        const size_t floats = s->cores[i].trains * core_floats(&s->cores[i]);
        memset(change, 0, floats * sizeof *change);
        change += floats;
    }
    for (size_t i = 0; i < n * s->t.ring; i++) {
        const size_t row = i / s->t.ring;
        row_backward(c, i % s->t.ring, x + row * s->t.inputs, dy + row * out,
                     dx != NULL ? dx + row * s->t.inputs : NULL);
    }
    change = (float *)c->scratch + s->changes;
    for (size_t i = 0; !c->op->frozen && i < s->t.d; i++) {
        const core *k = &s->cores[i];
        turn_back(k, change, c->gradients + k->weight);
        change += k->trains * core_floats(k);
    }
}

const pq_op_class pq_op_cores = {.kernel     = "float32:products of cores",
                                 .setup      = setup,
                                 .prepare    = prepare,
                                 .forward    = forward,
                                 .backward   = backward,
                                 .needs_in   = true,
                                 .takes_relu = true};
