/*
 * The nodes of a function take the place of each node that calls it.
 *
 * Source: onnx/onnx.proto (FunctionProto), onnx/docs/IR.md, "Functions".
 */
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "formats/onnx_function.h"
#include "formats/onnx_parse.h"

enum {
    DEPTH      = 32,   /* most calls within each other */
    MOST_NODES = 4096, /* that calls make */
    MOST_PARTS = 16 * MOST_NODES,
    PATH_BYTES = 200
};

/* A model whose calls give way. */
typedef struct {
    pq_onnx_model    *m;
    pq_onnx_functions functions;
    size_t            n_nodes, room, nodes_made, parts_made, depth;
    pq_onnx_node     *nodes; /* [n_nodes] what is left */
} inlining;

/* What a value of a function is at a call. */
typedef struct {
    size_t to; /* SIZE_MAX: nothing yet */
    bool   is_input;
} place;

static pq_status emit(inlining *in, const pq_onnx_node *node, pq_err *err)
{
    void     *grown;
    pq_status st = PQ_OK;

    if (in->n_nodes == in->room) {
        const size_t room = in->room == 0 ? 256 : 2 * in->room;
        grown             = pq_recalloc(in->nodes, in->room, room, sizeof *in->nodes);
        PQ_CHECK(grown != NULL, PQ_ERR_NOMEM, "cannot allocate %zu nodes", room);
        in->nodes = grown;
        in->room  = room;
    }
    in->nodes[in->n_nodes++] = *node;
cleanup:
    return st;
}

/* Whether a call fits its function, and all that is made stays within bounds. */
static pq_status check_call(inlining *in, const pq_onnx_function *f,
                            const pq_onnx_node *call, pq_err *err)
{
    pq_status st;

    PQ_CHECK(!f->running, PQ_ERR_FORMAT, "the function calls itself");
    PQ_CHECK(in->depth < DEPTH, PQ_ERR_UNSUPPORTED,
             "functions call each other more than %d deep", DEPTH);
    PQ_CHECK(call->n_in <= f->n_in, PQ_ERR_FORMAT,
             "it has %zu inputs, but the function %zu", call->n_in, f->n_in);
    PQ_CHECK(call->n_out <= f->n_out, PQ_ERR_FORMAT,
             "it has %zu outputs, but the function %zu", call->n_out, f->n_out);
    for (size_t i = 0; i < call->n_attributes; i++) {
        PQ_CHECK(pq_onnx_declares(f, call->attributes[i].name), PQ_ERR_FORMAT,
                 "attribute '%s' is none of the function", call->attributes[i].name);
    }
    in->nodes_made += f->n_nodes;
    in->parts_made += f->n_nodes + f->names.n;
    for (size_t i = 0; i < f->n_nodes; i++) {
        const pq_onnx_node *n = &f->nodes[i];
        in->parts_made += n->n_in + n->n_out + n->n_attributes;
    }
    PQ_CHECK(in->nodes_made <= MOST_NODES && in->parts_made <= MOST_PARTS,
             PQ_ERR_UNSUPPORTED,
             "calls of functions make more than %d nodes, or more than %d values and "
             "attributes",
             MOST_NODES, MOST_PARTS);
cleanup:
    return st;
}

/* Where the values of a function come from and go to: inputs and outputs of the call. */
static pq_status place_ports(const pq_onnx_function *f, const pq_onnx_node *call,
                             place *places, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; i < f->names.n; i++) {
        places[i].to = i == PQ_ONNX_NONE ? PQ_ONNX_NONE : SIZE_MAX;
    }
    for (size_t i = 0; i < f->n_in; i++) {
        place *p = &places[f->in[i]];
        PQ_CHECK(p->to == SIZE_MAX, PQ_ERR_FORMAT, "input '%s' of it is there twice",
                 f->names.text[f->in[i]]);
        *p = (place){i < call->n_in ? call->in[i] : PQ_ONNX_NONE, true};
    }
    for (size_t i = 0; i < call->n_out; i++) {
        place *p = &places[f->out[i]];
        if (p->to == SIZE_MAX && call->out[i] != PQ_ONNX_NONE) {
            p->to = call->out[i];
        }
    }
cleanup:
    return st;
}

/* The value that one of a function is at a call; a new one where it is met first. */
static pq_status value_at(inlining *in, const pq_onnx_function *f, place *places,
                          size_t local, size_t *out, pq_err *err)
{
    pq_status st = PQ_OK;

    if (places[local].to == SIZE_MAX) {
        PQ_TRY(pq_onnx_new_name(&in->m->names, f->names.text[local], &places[local].to,
                                err));
    }
    *out = places[local].to;
cleanup:
    return st;
}

/* Attributes of a node at a call: those that are the call's, or have its defaults. One
 * that the call does not give is none. */
static pq_status place_attributes(inlining *in, const pq_onnx_function *f,
                                  const pq_onnx_node *call, pq_onnx_node *node,
                                  pq_err *err)
{
    pq_onnx_attribute *to;
    size_t             n = 0;
    pq_status          st;

    PQ_ONNX_TAKE(in->m, to, node->n_attributes);
    for (size_t i = 0; i < node->n_attributes; i++) {
        const pq_onnx_attribute *a = &node->attributes[i];
        if (a->reference != NULL) {
            const pq_onnx_attribute *given = pq_onnx_find_attribute(
                call->attributes, call->n_attributes, a->reference);
            given = given != NULL ? given
                                  : pq_onnx_find_attribute(f->defaults, f->n_defaults,
                                                           a->reference);
            PQ_CHECK(given != NULL || pq_onnx_declares(f, a->reference), PQ_ERR_FORMAT,
                     "node '%s' asks for the attribute '%s', which the function does not "
                     "have",
                     node->name, a->reference);
            if (given != NULL) {
                to[n++] = (pq_onnx_attribute){a->name, NULL, given->message};
            }
        } else {
            to[n++] = *a;
        }
    }
    node->attributes   = to;
    node->n_attributes = n;
cleanup:
    return st;
}

/* Name of a node, or else of its first value. */
static const char *label(const pq_onnx_names *names, const pq_onnx_node *node)
{
    return *node->name != '\0' ? node->name
           : node->n_out > 0   ? names->text[node->out[0]]
                               : "";
}

/* Name of a node at a call: "call/node", while that is short. */
static pq_status place_name(inlining *in, const pq_onnx_function *f,
                            const pq_onnx_node *call, pq_onnx_node *node, pq_err *err)
{
    const char  *own   = label(&f->names, node);
    const char  *outer = label(&in->m->names, call);
    const size_t n     = strlen(own) + strlen(outer) + 2;
    char        *path;
    pq_status    st = PQ_OK;

    node->name = own;
    if (n <= PATH_BYTES && *outer != '\0') {
        PQ_ONNX_TAKE(in->m, path, n);
        (void)snprintf(path, n, "%s/%s", outer, own);
        node->name = path;
    }
cleanup:
    return st;
}

/* A node of a function as it is at a call. */
static pq_status place_node(inlining *in, const pq_onnx_function *f,
                            const pq_onnx_node *call, place *places, pq_onnx_node *node,
                            pq_err *err)
{
    size_t   *from, *to;
    pq_status st;

    PQ_CHECK(*node->domain != '\0' || f->opset != 0, PQ_ERR_FORMAT,
             "the function holds the standard operator %s, but names no opset of them",
             node->op);
    node->opset = f->opset;
    PQ_TRY(place_name(in, f, call, node, err));
    PQ_TRY(place_attributes(in, f, call, node, err));
    PQ_ONNX_TAKE(in->m, from, node->n_in);
    PQ_ONNX_TAKE(in->m, to, node->n_out);
    for (size_t i = 0; i < node->n_in; i++) {
        PQ_TRY(value_at(in, f, places, node->in[i], &from[i], err));
    }
    for (size_t i = 0; i < node->n_out; i++) {
        PQ_CHECK(!places[node->out[i]].is_input, PQ_ERR_FORMAT,
                 "value '%s' of the function is given twice",
                 f->names.text[node->out[i]]);
        PQ_TRY(value_at(in, f, places, node->out[i], &to[i], err));
    }
    node->in  = from;
    node->out = to;
cleanup:
    return st;
}

/* Outputs that are an input of the function, or another output too. */
static pq_status pass_on(inlining *in, const pq_onnx_function *f,
                         const pq_onnx_node *call, place *places, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; i < call->n_out; i++) {
        pq_onnx_node same = {.name     = call->name,
                             .op       = "Identity",
                             .domain   = "",
                             .overload = "",
                             .opset    = in->m->opset,
                             .n_in     = 1,
                             .n_out    = 1};
        size_t      *ends;
        if (call->out[i] == PQ_ONNX_NONE || places[f->out[i]].to == call->out[i]) {
            continue;
        }
        PQ_ONNX_TAKE(in->m, ends, 2);
        PQ_TRY(value_at(in, f, places, f->out[i], &ends[0], err));
        ends[1]  = call->out[i];
        same.in  = ends;
        same.out = ends + 1;
        PQ_TRY(emit(in, &same, err));
    }
cleanup:
    return st;
}

static void name_call(const inlining *in, const pq_onnx_node *call, pq_err *err)
{
    pq_err_context(err, "node '%s': %s.%s", label(&in->m->names, call), call->domain,
                   call->op);
}

/* Nodes of a function, at a call. */
static pq_status place_nodes(inlining *in, pq_onnx_function *f, const pq_onnx_node *call,
                             place *places, pq_onnx_node *nodes, pq_err *err)
{
    pq_status st;

    PQ_TRY(check_call(in, f, call, err));
    PQ_TRY(place_ports(f, call, places, err));
    for (size_t i = 0; i < f->n_nodes; i++) {
        nodes[i] = f->nodes[i];
        PQ_TRY(place_node(in, f, call, places, &nodes[i], err));
    }
cleanup:
    if (st != PQ_OK) {
        name_call(in, call, err);
    }
    return st;
}

static pq_status expand(inlining *in, const pq_onnx_node *node, pq_err *err)
{
    pq_onnx_function *f      = pq_onnx_called(&in->functions, node);
    place            *places = NULL;
    pq_onnx_node     *nodes  = NULL;
    pq_status         st;

    if (f == NULL) {
        return emit(in, node, err);
    }
    PQ_NEW(places, f->names.n);
    PQ_NEW(nodes, f->n_nodes);
    PQ_TRY(place_nodes(in, f, node, places, nodes, err));
    f->running = true;
    in->depth++;
    for (size_t i = 0; i < f->n_nodes; i++) {
        PQ_TRY(expand(in, &nodes[i], err));
    }
    in->depth--;
    f->running = false;
    PQ_TRY(pass_on(in, f, node, places, err));
cleanup:
    pq_free(places);
    pq_free(nodes);
    return st;
}

/* Only nodes of functions may take attributes of a call. */
static pq_status check_references(const pq_onnx_model *m, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; i < m->n_nodes; i++) {
        for (size_t k = 0; k < m->nodes[i].n_attributes; k++) {
            PQ_CHECK(m->nodes[i].attributes[k].reference == NULL, PQ_ERR_FORMAT,
                     "node '%s': %s: attribute '%s' is to be that of a function, but the "
                     "node stands in none",
                     m->nodes[i].name, m->nodes[i].op, m->nodes[i].attributes[k].name);
        }
    }
cleanup:
    return st;
}

pq_status pq_onnx_inline(pq_onnx_model *m, pq_err *err)
{
    inlining  in = {.m = m, .functions.m = m};
    pq_status st;

    PQ_TRY(check_references(m, err));
    PQ_TRY(pq_onnx_read_functions(&in.functions, err));
    if (in.functions.n == 0) {
        return PQ_OK;
    }
    for (size_t i = 0; i < m->n_nodes; i++) {
        PQ_TRY(expand(&in, &m->nodes[i], err));
    }
    PQ_ONNX_TAKE(m, m->nodes, in.n_nodes + 1);
    if (in.n_nodes > 0) {
        memcpy(m->nodes, in.nodes, in.n_nodes * sizeof *in.nodes);
    }
    m->n_nodes = in.n_nodes;
cleanup:
    pq_onnx_functions_free(&in.functions);
    pq_free(in.nodes);
    return st;
}
