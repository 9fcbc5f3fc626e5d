#include "compress/undone.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"

/* What a layer, or its pieces together, hold of earlier stages. */
typedef struct {
    size_t          kernels, biases, grids; /* with a grid; activations' grids */
    size_t          pruned;                 /* weights */
    const pq_quant *kernel, *bias, *grid;   /* the first of each */
} held;

/* Whether `name` is `owner` or a piece of it: "fc" owns "fc.b". */
static bool is_part(const char *name, const char *owner)
{
    const size_t n = strlen(owner);

    return strncmp(name, owner, n) == 0 && (name[n] == '\0' || name[n] == '.');
}

bool pq_came_from(const pq_graph *before, const char *name, const char *layer)
{
    if (!is_part(name, layer)) {
        return false;
    }
    for (size_t i = 0; i < before->n_nodes; i++) {
        const char *other = before->nodes[i].name;
        if (strlen(other) > strlen(layer) && is_part(name, other)) {
            return false;
        }
    }
    return true;
}

static void add_up(const pq_node *node, held *h)
{
    for (size_t i = 0; i < node->layer->n_weights; i++) {
        const pq_weight *w      = &node->layer->weights[i];
        const bool       kernel = node->layer->kind->role(w->name) == PQ_WEIGHT_KERNEL;
        for (size_t k = 0; w->pruned != NULL && k < w->value->count; k++) {
            h->pruned += pq_weight_is_pruned(w, k) ? 1 : 0;
        }
        if (w->quant != NULL) {
            *(kernel ? &h->kernels : &h->biases) += 1;
            const pq_quant **first = kernel ? &h->kernel : &h->bias;
            *first                 = *first != NULL ? *first : w->quant;
        }
    }
    h->grids += node->quant != NULL ? 1 : 0;
    h->grid = h->grid != NULL ? h->grid : node->quant;
}

/* "int8", "fixed of 6 bits", "nf4". */
static void name_grid(const pq_quant *q, pq_text *out)
{
    if (q->scheme == PQ_QUANT_INTEGER) {
        pq_text_add(out, "int%d", q->bits);
    } else if (q->scheme == PQ_QUANT_FIXED) {
        pq_text_add(out, "fixed%d", q->bits);
    } else {
        pq_text_add(out, "%s", pq_quant_scheme_names[q->scheme]);
    }
}

static void add_grid(const char *what, const pq_quant *q, pq_text *out)
{
    pq_text_add(out, "%sits %s%s", out->length > 0 ? ", " : "", what,
                what[0] != '\0' ? " " : "");
    name_grid(q, out);
    pq_text_add(out, " grid");
}

/* "its int8 grid, its 120 pruned zeros", or nothing. */
static void list_gone(const held *was, const held *is, bool still_there, pq_text *out)
{
    if (is->kernels < was->kernels) {
        add_grid("", was->kernel, out);
    }
    if (is->biases < was->biases) {
        add_grid("bias'", was->bias, out);
    }
    if (is->pruned < was->pruned) {
        pq_text_add(out, "%s%s%zu pruned zeros", out->length > 0 ? ", " : "",
                    is->pruned > 0 ? "of its pruned zeros " : "its ",
                    was->pruned - is->pruned);
    }
    if (is->grids < was->grids && still_there) {
        add_grid("outputs'", was->grid, out);
    }
}

/* To the layer's first change, or to one of its own. */
static pq_status say(pq_compress_task *task, const char *layer, const char *what)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; i < task->n_changes; i++) {
        if (strcmp(task->changes[i].layer, layer) == 0) {
            pq_change_add(&task->changes[i], "; undone: %s", what);
            return PQ_OK;
        }
    }
    PQ_TRY(pq_task_change(task, layer, (double)NAN, "undone: %s", what));
cleanup:
    return st;
}

pq_status pq_note_undone(const pq_graph *before, unsigned keeps, pq_compress_task *task,
                         pq_err *err)
{
    pq_text   gone = {0};
    pq_status st   = PQ_OK;

    for (size_t i = 0; i < before->n_nodes; i++) {
        const char *name = before->nodes[i].name;
        held        was = {0}, is = {0};

        add_up(&before->nodes[i], &was);
        if (was.kernels + was.biases + was.grids + was.pruned == 0) {
            continue;
        }
        for (size_t k = 0; k < task->graph->n_nodes; k++) {
            if (pq_came_from(before, task->graph->nodes[k].name, name)) {
                add_up(&task->graph->nodes[k], &is);
            }
        }
        if ((keeps & PQ_KEEPS_REST) != 0) {
            is.pruned = was.pruned;
        }
        list_gone(&was, &is, pq_graph_find(task->graph, name) != SIZE_MAX, &gone);
        PQ_CHECK(!gone.failed, PQ_ERR_NOMEM, "cannot allocate a text");
        if (gone.length > 0) {
            PQ_TRY(say(task, name, gone.text));
        }
        pq_text_free(&gone);
    }
cleanup:
    pq_text_free(&gone);
    return st;
}
