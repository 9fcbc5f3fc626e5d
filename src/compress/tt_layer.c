#include "compress/tt_layer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "compress/wiring.h"
#include "core/memory.h"
#include "layers/tt.h"

/* d factors of a number, as equal as its primes allow, largest first. */
static void balance(size_t number, size_t d, size_t *modes)
{
    size_t primes[64], count = 0;

    for (size_t p = 2; p * p <= number; p++) {
        for (; number % p == 0; number /= p) {
            primes[count++] = p;
        }
    }
    if (number > 1) {
        primes[count++] = number;
    }
    for (size_t k = 0; k < d; k++) {
        modes[k] = 1;
    }
    while (count-- > 0) { /* largest primes first, onto the smallest factor */
        size_t least = 0;
        for (size_t k = 1; k < d; k++) {
            least = modes[k] < modes[least] ? k : least;
        }
        modes[least] *= primes[count];
    }
}

static pq_status take_modes(const pq_reals *given, size_t due, const char *what,
                            size_t *modes, pq_err *err)
{
    double    product = 1.0;
    pq_text   text    = {0};
    pq_status st      = PQ_OK;

    for (size_t k = 0; k < given->n; k++) {
        modes[k] = (size_t)given->value[k];
        product *= given->value[k];
        pq_text_add(&text, "%s%g", k == 0 ? "" : " x ", given->value[k]);
    }
    PQ_CHECK(product == (double)due, PQ_ERR_SHAPE, "%s %s multiply to %g, not to %zu",
             what, text.text, product, due);
cleanup:
    pq_text_free(&text);
    return st;
}

static pq_status choose_modes(const pq_tt_wish *wish, pq_tt_layer *l, pq_err *err)
{
    const size_t in = l->kernel.dim[l->kernel.ndim - 1], out = l->kernel.dim[0];
    pq_status    st = PQ_OK;

    l->d = wish->in->n > 0 ? wish->in->n : wish->cores;
    if (wish->in->n > 0) {
        PQ_TRY(take_modes(wish->in, in, "in_modes", l->m, err));
        PQ_TRY(take_modes(wish->out, out, "out_modes", l->n, err));
    } else {
        balance(in, l->d, l->m);
        balance(out, l->d, l->n);
    }
cleanup:
    return st;
}

static pq_status read_cores(const pq_layer *layer, pq_tt_layer *l, pq_err *err)
{
    pq_tt_modes t;
    pq_status   st;

    l->cores = true;
    l->conv  = strcmp(layer->kind->name, "tt_conv2d") == 0;
    PQ_TRY(pq_tt_modes_of(layer, &t, err));
    l->d      = t.d;
    l->kernel = PQ_SHAPE(t.outputs, t.inputs);
    memcpy(l->n, t.n, sizeof l->n);
    memcpy(l->m, t.m, sizeof l->m);
    if (l->conv) {
        const size_t *d = pq_layer_weight(layer, "window")->value->shape.dim;
        l->kernel       = PQ_SHAPE(t.outputs, d[1], d[2], t.inputs);
    }
cleanup:
    return st;
}

static void set_axes(pq_tt_layer *l)
{
    const size_t w = l->conv ? 1 : 0, *k = l->kernel.dim;

    if (l->naive) {
        l->axes = PQ_SHAPE(k[3], k[1], k[2], k[0]);
        return;
    }
    l->axes.ndim = l->d + w;
    if (l->conv) {
        l->axes.dim[0] = k[1] * k[2];
    }
    for (size_t i = 0; i < l->d; i++) {
        l->axes.dim[i + w] = l->n[i] * l->m[i];
    }
}

pq_status pq_tt_layer_of(const pq_graph *graph, size_t node, const pq_tt_wish *wish,
                         pq_tt_layer *out, pq_err *err)
{
    static const char *const trains[] = {"tt_dense", "tt_conv2d", NULL};
    const pq_layer          *layer    = graph->nodes[node].layer;
    pq_tt_layer              l        = {.node = node};
    pq_status                st       = PQ_OK;

    if (pq_node_in(&graph->nodes[node], trains)) {
        PQ_TRY(read_cores(layer, &l, err));
    } else {
        l.kernel = pq_layer_weight(layer, "kernel")->value->shape;
        l.conv   = l.kernel.ndim == 4;
        l.naive  = l.conv && wish->naive;
        if (!l.naive) {
            PQ_TRY(choose_modes(wish, &l, err));
        }
    }
    set_axes(&l);
    l.count = pq_kernel_values(layer);
    *out    = l;
cleanup:
    return st;
}

/*
 * Where an output (out = true) or input channel lies in a tensor of a layer's axes: the
 * places of both and of the window add up.
 */
static size_t place(const pq_tt_layer *l, bool out, size_t channel)
{
    const size_t *mode = out ? l->n : l->m;
    size_t        at = 0, stride = 1;

    for (size_t k = l->d; k-- > 0;) {
        at += channel % mode[k] * stride * (out ? l->m[k] : 1);
        channel /= mode[k];
        stride *= l->n[k] * l->m[k];
    }
    return at;
}

/* Moves a kernel [out, window, in] to a tensor of the layer's axes, or back. */
static pq_status move(const pq_tt_layer *l, double *kernel, double *tensor, bool back,
                      pq_err *err)
{
    const size_t *d = l->kernel.dim, in = d[l->kernel.ndim - 1];
    const size_t  window = l->conv ? d[1] * d[2] : 1;
    size_t       *column = NULL;
    pq_status     st;

    PQ_NEW(column, in);
    for (size_t i = 0; i < in; i++) {
        column[i] = place(l, false, i);
    }
    for (size_t o = 0; o < d[0]; o++) {
        const size_t row = place(l, true, o);
        for (size_t p = 0; p < window; p++) {
            double *from = kernel + (o * window + p) * in;
            double *to   = tensor + p * d[0] * in + row;
            for (size_t i = 0; i < in; i++) {
                *(back ? &from[i] : &to[column[i]]) = back ? to[column[i]] : from[i];
            }
        }
    }
cleanup:
    pq_free(column);
    return st;
}

pq_status pq_tt_layer_tensor(const pq_graph *graph, const pq_tt_layer *l, pq_tensor **out,
                             pq_err *err)
{
    const size_t     naive[] = {3, 1, 2, 0};
    const pq_tensor *kernel =
        pq_layer_weight(graph->nodes[l->node].layer, "kernel")->value;
    pq_tensor *wide = NULL, *t = NULL;
    pq_status  st;

    PQ_TRY(pq_tensor_convert(kernel, PQ_DTYPE_F64, &wide, err));
    if (l->naive) {
        PQ_TRY(pq_tensor_permute(wide, naive, &t, err));
    } else {
        PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, l->axes, &t, err));
        PQ_TRY(move(l, pq_f64(wide), pq_f64(t), false, err));
    }
    *out = t;
    t    = NULL;
cleanup:
    pq_tensor_free(&wide);
    pq_tensor_free(&t);
    return st;
}

pq_status pq_tt_layer_train(const pq_graph *graph, const pq_tt_layer *l, pq_tt *out,
                            pq_err *err)
{
    const pq_layer *layer = graph->nodes[l->node].layer;
    const size_t    w     = l->conv ? 1 : 0;
    pq_tt           tt    = {.d = l->d + w, .rank = {1}};
    char            name[32];
    pq_status       st = PQ_OK;

    for (size_t k = 0; k < tt.d; k++) {
        (void)snprintf(name, sizeof name, "core%zu", k + 1 - w);
        const pq_tensor *core =
            pq_layer_weight(layer, l->conv && k == 0 ? "window" : name)->value;
        const size_t right = core->shape.dim[3];
        PQ_TRY(pq_tensor_convert(core, PQ_DTYPE_F64, &tt.core[k], err));
        PQ_TRY(pq_tensor_reshape(tt.core[k], PQ_SHAPE(tt.rank[k], l->axes.dim[k], right),
                                 err));
        tt.rank[k + 1] = right;
    }
    *out = tt;
    tt   = (pq_tt){0};
cleanup:
    pq_tt_free(&tt);
    return st;
}

/* Core k of a train as a float32 tensor of that shape. */
static pq_status core_of(const pq_tt *tt, size_t k, pq_shape shape, pq_tensor **out,
                         pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_tensor_convert(tt->core[k], PQ_DTYPE_F32, out, err));
    PQ_TRY(pq_tensor_reshape(*out, shape, err));
cleanup:
    return st;
}

static void copy_window(const pq_graph *graph, size_t node, pq_layer *to)
{
    *(pq_conv2d_params *)to->params =
        *(const pq_conv2d_params *)graph->nodes[node].layer->params;
}

/* A train, or of a dense layer also a ring. */
static pq_status replace_by_cores(pq_graph *graph, const pq_tt_layer *l, const pq_tt *tt,
                                  pq_err *err)
{
    const char  *kind = l->conv            ? "tt_conv2d"
                        : tt->rank[0] == 1 ? "tt_dense"
                                           : "ring_dense";
    const size_t w    = l->conv ? 1 : 0;
    pq_layer    *made = NULL;
    pq_tensor   *core = NULL;
    char         name[32];
    pq_status    st;

    PQ_TRY(pq_layer_create(kind, &made, err));
    if (l->conv) {
        copy_window(graph, l->node, made);
        PQ_TRY(core_of(tt, 0,
                       PQ_SHAPE(1, l->kernel.dim[1], l->kernel.dim[2], tt->rank[1]),
                       &core, err));
        st   = pq_layer_add_weight(made, "window", core, err);
        core = NULL;
        PQ_TRY(st);
    }
    for (size_t k = 0; k < l->d; k++) {
        PQ_TRY(core_of(tt, k + w,
                       PQ_SHAPE(tt->rank[k + w], l->n[k], l->m[k], tt->rank[k + w + 1]),
                       &core, err));
        (void)snprintf(name, sizeof name, "core%zu", k + 1);
        st   = pq_layer_add_weight(made, name, core, err);
        core = NULL;
        PQ_TRY(st);
    }
    PQ_TRY(pq_chain_replace(graph, l->node, 1, &made, NULL, err));
cleanup:
    pq_tensor_free(&core);
    pq_layer_free(&made);
    return st;
}

/* Kernel [out, h, w, in] of core k [r, n, r'] of a naive train. */
static pq_status naive_layer(const pq_tt *tt, size_t k, pq_layer **out, pq_err *err)
{
    const size_t *d = tt->core[k]->shape.dim, turn[] = {2, 1, 0};
    pq_tensor    *narrow = NULL, *t = NULL;
    pq_status     st;

    PQ_TRY(pq_tensor_convert(tt->core[k], PQ_DTYPE_F32, &narrow, err));
    PQ_TRY(pq_tensor_permute(narrow, turn, &t, err)); /* [r', n, r] */
    PQ_TRY(pq_tensor_reshape(t,
                             k == 0   ? PQ_SHAPE(d[2], 1, 1, d[1])
                             : k == 1 ? PQ_SHAPE(d[2], d[1], 1, d[0])
                             : k == 2 ? PQ_SHAPE(d[2], 1, d[1], d[0])
                                      : PQ_SHAPE(d[1], 1, 1, d[0]),
                             err));
    st = pq_factor_layer("conv2d", t, out, err);
    t  = NULL;
cleanup:
    pq_tensor_free(&narrow);
    pq_tensor_free(&t);
    return st;
}

static pq_status replace_by_chain(pq_graph *graph, size_t node, const pq_tt *tt,
                                  pq_err *err)
{
    pq_layer         *layers[4] = {NULL};
    pq_conv2d_params *rows, *columns;
    pq_status         st = PQ_OK;

    for (size_t k = 0; k < 4; k++) {
        PQ_TRY(naive_layer(tt, k, &layers[k], err));
    }
    copy_window(graph, node, layers[1]);
    copy_window(graph, node, layers[2]);
    rows                       = layers[1]->params;
    columns                    = layers[2]->params;
    rows->window.stride_w      = 1;
    rows->window.pad_left      = 0;
    rows->window.pad_right     = 0;
    rows->dilation_w           = 1;
    columns->window.stride_h   = 1;
    columns->window.pad_top    = 0;
    columns->window.pad_bottom = 0;
    columns->dilation_h        = 1;
    PQ_TRY(pq_chain_replace(graph, node, 4, layers, NULL, err));
cleanup:
    for (size_t k = 0; k < 4; k++) {
        pq_layer_free(&layers[k]);
    }
    return st;
}

pq_status pq_tt_layer_replace(pq_graph *graph, const pq_tt_layer *l, const pq_tt *tt,
                              pq_err *err)
{
    return l->naive ? replace_by_chain(graph, l->node, tt, err)
                    : replace_by_cores(graph, l, tt, err);
}

/* A train's node becomes an ordinary layer with a kernel (taken). */
static pq_status replace_cores(pq_graph *graph, const pq_tt_layer *l, pq_tensor *kernel,
                               pq_err *err)
{
    pq_layer *made = NULL;
    pq_status st;

    PQ_TRY(pq_factor_layer(l->conv ? "conv2d" : "dense", kernel, &made, err));
    if (l->conv) {
        copy_window(graph, l->node, made);
    }
    PQ_TRY(pq_chain_replace(graph, l->node, 1, &made, NULL, err));
cleanup:
    pq_layer_free(&made);
    return st;
}

pq_status pq_tt_layer_rebuild(pq_graph *graph, const pq_tt_layer *l,
                              const pq_tensor *full, pq_err *err)
{
    const size_t naive[] = {3, 1, 2, 0};
    pq_tensor   *wide = NULL, *narrow = NULL;
    pq_status    st;

    if (l->naive) {
        PQ_TRY(pq_tensor_permute(full, naive, &wide, err));
    } else {
        PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, l->kernel, &wide, err));
        PQ_TRY(move(l, pq_f64(wide), pq_f64(full), true, err));
    }
    PQ_TRY(pq_tensor_convert(wide, PQ_DTYPE_F32, &narrow, err));
    st = l->cores ? replace_cores(graph, l, narrow, err)
                  : pq_kernel_replace(graph, l->node, narrow, NULL, err);
cleanup:
    pq_tensor_free(&wide);
    return st;
}

size_t pq_tt_layer_values(const pq_tt_layer *l, const size_t *rank)
{
    const pq_shape *s   = &l->axes;
    size_t          sum = 0;

    for (size_t k = 0; k < s->ndim; k++) {
        sum += (k > 0 ? rank[k - 1] : 1) * s->dim[k] * (k + 1 < s->ndim ? rank[k] : 1);
    }
    return sum;
}

double pq_tt_layer_macs(const pq_graph *graph, const pq_tt_layer *l, const size_t *rank)
{
    const pq_pixels px = pq_pixels_of(graph, l->node);
    const size_t   *d  = l->axes.dim;
    pq_tt_modes     t  = {.d = l->d, .r = {1}, .ring = 1, .inputs = 1};

    if (l->naive) {
        return px.in * (double)(d[0] * rank[0]) +
               px.rows * (double)(rank[0] * d[1] * rank[1]) +
               px.out * (double)(rank[1] * d[2] * rank[2] + rank[2] * d[3]);
    }
    if (l->conv) {
        return px.out * (double)(l->kernel.dim[0] * l->kernel.dim[1] * l->kernel.dim[2] *
                                 l->kernel.dim[3]);
    }
    memcpy(t.n, l->n, sizeof t.n);
    memcpy(t.m, l->m, sizeof t.m);
    for (size_t k = 0; k < l->d; k++) {
        t.inputs *= l->m[k];
        t.r[k + 1] = k + 1 < l->d ? rank[k] : 1;
    }
    return px.out * (double)pq_tt_macs(&t);
}

bool pq_tt_accepts(const pq_graph *graph, const pq_node *node)
{
    return pq_accepts_kernel(graph, node) || pq_node_is(node, "tt_dense") ||
           pq_node_is(node, "tt_conv2d");
}
