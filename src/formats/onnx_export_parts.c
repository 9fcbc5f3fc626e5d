/* Layers that join, reshape, pad and cut as operators of ONNX. */

#include "core/memory.h"
#include "formats/onnx_export_layers.h"
#include "layers/kinds.h"

/* An operator over all inputs, all in the layout of the first. */
static pq_status join(pq_onnx_export *ex, const char *op, int *layout, pq_err *err)
{
    const size_t n = pq_onnx_node_at_hand(ex)->n_inputs;
    const char  *in[PQ_NODE_INPUTS];
    char        *name = NULL;
    pq_status    st;

    *layout = pq_onnx_layout(ex, 0);
    for (size_t k = 0; k < n; k++) {
        PQ_TRY(pq_onnx_input(ex, k, *layout, &in[k], err));
    }
    name = pq_onnx_name(ex, "");
    PQ_CHECK(name != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    pq_onnx_begin(ex, op, n, in, name);
    pq_onnx_gives(ex, *layout, name);
cleanup:
    return st;
}

static pq_status add(pq_onnx_export *ex, pq_err *err)
{
    int       layout;
    pq_status st;

    PQ_TRY(
        join(ex, pq_onnx_node_at_hand(ex)->n_inputs == 2 ? "Add" : "Sum", &layout, err));
    pq_onnx_end(ex);
cleanup:
    return st;
}

static pq_status multiply(pq_onnx_export *ex, pq_err *err)
{
    int       layout;
    pq_status st;

    PQ_CHECK(pq_onnx_node_at_hand(ex)->n_inputs == 2, PQ_ERR_UNSUPPORTED,
             "a product of %zu inputs is not written",
             pq_onnx_node_at_hand(ex)->n_inputs);
    PQ_TRY(join(ex, "Mul", &layout, err));
    pq_onnx_end(ex);
cleanup:
    return st;
}

static pq_status concat(pq_onnx_export *ex, pq_err *err)
{
    const int64_t image[] = {2, 3, 1};
    const size_t  axis =
        pq_concat_axis(pq_onnx_node_at_hand(ex)->layer, pq_onnx_in_shape(ex, 0)->ndim);
    int       layout;
    pq_status st;

    PQ_TRY(join(ex, "Concat", &layout, err));
    pq_onnx_put_int(ex, "axis",
                    layout == PQ_ONNX_IMAGE ? image[axis] : (int64_t)axis + 1);
    pq_onnx_end(ex);
cleanup:
    return st;
}

/* flatten and reshape: our order, the batch as it is. */
static pq_status reshape(pq_onnx_export *ex, pq_err *err)
{
    const pq_shape *s                    = &pq_onnx_node_at_hand(ex)->shape;
    int64_t         dim[1 + PQ_MAX_DIMS] = {0};
    char           *list                 = NULL;
    pq_status       st;

    for (size_t i = 0; i < s->ndim; i++) {
        dim[i + 1] = (int64_t)s->dim[i];
    }
    PQ_TRY(pq_onnx_put_list(ex, "shape", s->ndim + 1, dim, &list, err));
    PQ_TRY(pq_onnx_begin_over(ex, "Reshape", PQ_ONNX_OURS, 1, &list, err));
    pq_onnx_end(ex);
cleanup:
    pq_free(list);
    return st;
}

static pq_status pad(pq_onnx_export *ex, pq_err *err)
{
    const pq_pad_params *p        = pq_onnx_node_at_hand(ex)->layer->params;
    const int            layout   = pq_onnx_layout(ex, 0);
    const int64_t        ours[]   = {0, p->top,    p->left,  p->before,
                                     0, p->bottom, p->right, p->after};
    const int64_t        image[]  = {0, p->before, p->top,    p->left,
                                     0, p->after,  p->bottom, p->right};
    char                *names[2] = {NULL};
    pq_status            st;

    PQ_TRY(pq_onnx_put_list(ex, "pads", 8, layout == PQ_ONNX_OURS ? ours : image,
                            &names[0], err));
    PQ_TRY(pq_onnx_put_number(ex, "value", (float)p->value, &names[1], err));
    PQ_TRY(pq_onnx_begin_over(ex, "Pad", layout, 2, names, err));
    pq_onnx_end(ex);
cleanup:
    pq_onnx_free_names(names, 2);
    return st;
}

/* Slice over n axes: starts, ends, axes, steps. */
static pq_status put_slice(pq_onnx_export *ex, size_t n, const int64_t lists[4][2],
                           pq_err *err)
{
    static const char *const what[]   = {"starts", "ends", "axes", "steps"};
    char                    *names[4] = {NULL};
    pq_status                st;

    for (size_t i = 0; i < 4; i++) {
        PQ_TRY(pq_onnx_put_list(ex, what[i], n, lists[i], &names[i], err));
    }
    PQ_TRY(pq_onnx_begin_over(ex, "Slice", pq_onnx_layout(ex, 0), 4, names, err));
    pq_onnx_end(ex);
cleanup:
    pq_onnx_free_names(names, 4);
    return st;
}

static pq_status subsample(pq_onnx_export *ex, pq_err *err)
{
    const pq_subsample_params *p     = pq_onnx_node_at_hand(ex)->layer->params;
    const int64_t              first = pq_onnx_layout(ex, 0) == PQ_ONNX_OURS ? 1 : 2;
    const int64_t              lists[4][2] = {
                     {0, 0}, {INT32_MAX, INT32_MAX}, {first, first + 1}, {p->stride_h, p->stride_w}};

    return put_slice(ex, 2, lists, err);
}

static pq_status slice(pq_onnx_export *ex, pq_err *err)
{
    const pq_slice_params *p           = pq_onnx_node_at_hand(ex)->layer->params;
    const int64_t          axis        = pq_onnx_layout(ex, 0) == PQ_ONNX_OURS
                                             ? (int64_t)pq_onnx_in_shape(ex, 0)->ndim
                                             : 1;
    const int64_t          lists[4][2] = {
                 {p->from}, {p->to == PQ_UNSET ? INT32_MAX : p->to}, {axis}, {1}};

    return put_slice(ex, 1, lists, err);
}

const pq_onnx_writer pq_onnx_parts_writers[] = {
    {"add", add},
    {"multiply", multiply},
    {"concat", concat},
    {"flatten", reshape},
    {"reshape", reshape},
    {"pad", pad},
    {"subsample", subsample},
    {"slice", slice},
    {0},
};
