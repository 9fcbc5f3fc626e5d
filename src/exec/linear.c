#include "exec/linear.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "exec/linear_op.h"
#include "exec/tt_conv.h"

static const pq_layer *layer_of(const pq_step *step, size_t node)
{
    return step->graph->nodes[node].layer;
}

static bool is_kind(const pq_layer *layer, const char *kind)
{
    return strcmp(layer->kind->name, kind) == 0;
}

bool pq_linear_has(const pq_layer *layer)
{
    const pq_layer_form form = layer->kind->form;

    return form == PQ_FORM_DENSE || form == PQ_FORM_CONVOLUTION ||
           form == PQ_FORM_WINDOW_CORES;
}

static const char *kernel_name(const pq_kernels *kernels, size_t few)
{
    static const char *const names[PQ_ISA_COUNT][3] = {
        [PQ_ISA_PORTABLE] = {"float32:portable"},
        [PQ_ISA_AVX2] = {"float32:avx2", "float32:avx2, 1 of 4", "float32:avx2, 2 of 4"},
        [PQ_ISA_AVX512] = {"float32:avx512", "float32:avx512, 1 of 4",
                           "float32:avx512, 2 of 4"}};

    return names[kernels->isa][few];
}

const char *pq_linear_kernel(const pq_kernels *kernels)
{
    return kernel_name(kernels, 0);
}

pq_fusion pq_linear_fuses(const pq_step *step, size_t next)
{
    const pq_node  *nodes = step->graph->nodes;
    const pq_layer *first = layer_of(step, step->node), *then = nodes[next].layer;

    if (!pq_linear_has(first) || step->activation != PQ_NO_NODE) {
        return PQ_FUSE_NOT;
    }
    if (pq_layer_is(then, PQ_TRAIT_CLIPS)) {
        return PQ_FUSE_ACTIVATION;
    }
    if (step->add != PQ_NO_NODE) {
        return PQ_FUSE_NOT;
    }
    if (then->kind->form == PQ_FORM_NORM) {
        return step->norm == PQ_NO_NODE ? PQ_FUSE_NORM : PQ_FUSE_NOT;
    }
    if (then->kind->form == PQ_FORM_SUM && nodes[next].n_inputs == 2 &&
        pq_shape_equal(&nodes[nodes[next].inputs[0]].shape,
                       &nodes[nodes[next].inputs[1]].shape)) {
        return PQ_FUSE_ADD;
    }
    return PQ_FUSE_NOT;
}

static pq_clip clip_of(const pq_step *step)
{
    const pq_layer *f =
        step->activation == PQ_NO_NODE ? NULL : layer_of(step, step->activation);

    if (f == NULL) {
        return (pq_clip){-INFINITY, INFINITY};
    }
    if (is_kind(f, "relu")) {
        return pq_clip_relu;
    }
    return (pq_clip){(float)((const pq_clip_params *)f->params)->lo,
                     (float)((const pq_clip_params *)f->params)->hi};
}

/* Rows [n, sum] of the kernel from `channel` on, with their factors: in `scaled`, or
 * where they are if these are 1. */
static const float *scale_rows(const pq_linear_recipe *r, size_t sum, size_t channel,
                               size_t n, float *scaled)
{
    const float  *from  = pq_f32(r->kernel) + channel * sum;
    const double *scale = r->affine.scale + channel;
    bool          plain = true;

    for (size_t c = 0; c < n; c++) {
        plain = plain && scale[c] == 1.0;
    }
    for (size_t i = 0; !plain && i < n * sum; i++) {
        scaled[i] = (float)(scale[i / sum] * (double)from[i]);
    }
    return plain ? from : scaled;
}

/* Weights of one product, side by side. */
static void pack_product(const pq_linear_recipe *r, size_t sum,
                         const pq_linear_product *p, float *scaled, float *weight)
{
    pq_pack_panels(sum, p->call.n, scale_rows(r, sum, p->channel, p->call.n, scaled), 1,
                   sum, p->call.panel, weight);
}

/* All samples through one product after the other, each packed for them. */
static void run_packing(const pq_op *op, size_t n, const void *const *in, void *out,
                        void *scratch)
{
    const pq_linear_op *l     = (const pq_linear_op *)op;
    const size_t        items = l->products[0].call.panel * l->at.sum + PQ_KERNELS_SLACK;
    const float        *residual = l->residual > 0 ? in[l->residual] : NULL;
    float              *weight   = (float *)(void *)((char *)scratch + l->frame_bytes);
    float              *results  = out;
    const pq_range      rows     = pq_linear_rows(l, n);

    for (size_t i = 0; i < l->n_products; i++) {
        const pq_linear_product *p = &l->products[i];
        pack_product(&l->recipe, l->at.sum, p, weight + items, weight);
        if (l->at.flat) {
            pq_linear_multiply(l, p, weight, rows, in[0], residual, results);
            continue;
        }
        for (size_t s = 0; s < n; s++) {
            const size_t at = s * l->out_count;
            pq_linear_multiply(l, p, weight, rows, pq_linear_image(l, in[0], s, scratch),
                               residual != NULL ? residual + at : NULL, results + at);
        }
    }
}

/* Channels side by side, tap by tap. */
static pq_status pack_depthwise(pq_linear_op *l, const pq_linear_recipe *r, pq_err *err)
{
    const pq_geometry *g      = &l->at;
    const size_t       width  = pq_geometry_whole(g->outputs, r->kernels->lanes);
    float             *scaled = NULL;
    const float       *kernel;
    pq_status          st;

    PQ_NEW(l->weight, width * g->sum);
    PQ_NEW(l->bias, width);
    PQ_NEW(scaled, g->outputs * g->sum);
    kernel             = scale_rows(r, g->sum, 0, g->outputs, scaled);
    l->op.weight_bytes = width * (g->sum + 1) * sizeof(float);
    for (size_t c = 0; c < g->outputs; c++) {
        for (size_t t = 0; t < g->sum; t++) {
            l->weight[t * width + c] = kernel[c * g->sum + t];
        }
        l->bias[c] = (float)r->affine.shift[c];
    }
cleanup:
    pq_free(scaled);
    return st;
}

static size_t panel_of(const pq_linear_op *l, const pq_kernels *kernels)
{
    return l->skips.panel > 0 ? l->skips.panel : kernels->panel(l->at.group_out);
}

/* Regions, and runs without zeros where the weights stay packed. */
static pq_status place_products(pq_linear_op *l, const pq_linear_recipe *r, size_t tile,
                                bool lean, pq_err *err)
{
    const float *kernel = pq_f32(r->kernel);
    pq_status    st     = PQ_OK;

    if (!lean) {
        PQ_TRY(pq_skips_choose(&l->at, r->kernels, kernel,
                               l->at.flat ? tile * l->at.rows : l->at.rows, &l->skips,
                               err));
    }
    PQ_TRY(pq_regions_place(&l->at, panel_of(l, r->kernels), &l->regions, err));
    if (l->skips.panel > 0) {
        PQ_TRY(pq_skips_place(&l->at, kernel, &l->regions, &l->skips, err));
    }
cleanup:
    return st;
}

/* Few weights of every four, where they are: one row alone waits for its chain of sums.
 */
static pq_status pack_fours(pq_linear_op *l, const pq_linear_recipe *r, pq_err *err)
{
    const pq_geometry *g      = &l->at;
    float             *scaled = NULL;
    const float       *kernel;
    pq_status          st;

    PQ_NEW(scaled, g->outputs * g->sum);
    kernel       = scale_rows(r, g->sum, 0, g->outputs, scaled);
    l->fours.few = pq_fours_few(r->kernels, g->outputs, g->sum, kernel);
    if (l->fours.few > 0) {
        PQ_TRY(pq_fours_pack(r->kernels, g->outputs, g->sum, kernel, &l->fours, err));
        for (size_t c = 0; c < g->outputs; c++) {
            l->fours.bias[c] = (float)r->affine.shift[c];
        }
        l->fours.clip      = &l->clip;
        l->op.weight_bytes = pq_fours_bytes(&l->fours);
        l->op.run          = pq_linear_run_fours;
        l->op.run_part     = NULL;
        l->op.kernel       = kernel_name(r->kernels, l->fours.few);
    }
cleanup:
    pq_free(scaled);
    return st;
}

/* One product for each panel of each group; lean: without its weights. */
static pq_status pack_panels(pq_linear_op *l, const pq_linear_recipe *r, bool lean,
                             pq_err *err)
{
    const pq_geometry *g      = &l->at;
    const size_t       panel  = panel_of(l, r->kernels);
    const size_t       width  = pq_geometry_whole(g->group_out, panel);
    float             *scaled = NULL;
    pq_status          st;

    l->n_products = g->groups * (width / panel);
    PQ_NEW(l->products, l->n_products);
    PQ_NEW(l->bias, g->groups * width);
    if (lean) {
        l->op.scratch_bytes =
            l->frame_bytes + 2 * (panel * g->sum + PQ_KERNELS_SLACK) * sizeof(float);
    } else {
        PQ_NEW(l->weight, g->groups * width * g->sum);
        PQ_NEW(scaled, panel * g->sum);
        l->op.weight_bytes = g->groups * width * (g->sum + 1) * sizeof(float);
    }
    for (size_t i = 0; i < l->n_products; i++) {
        const size_t group = i / (width / panel), from = i % (width / panel) * panel;
        const size_t left    = g->group_out - from;
        pq_linear_product *p = &l->products[i];
        p->in_at             = group * g->group_in;
        p->channel           = group * g->group_out + from;
        p->call              = (pq_matmul){.n     = left < panel ? left : panel,
                                           .a_col = 1,
                                           .b_row = panel,
                                           .panel = panel,
                                           .bias  = l->bias + i * panel,
                                           .clip  = &l->clip};
        if (!lean) {
            float *weight = l->weight + i * panel * g->sum;
            p->call.b     = weight;
            pack_product(r, g->sum, p, scaled, weight);
        }
        for (size_t c = 0; c < p->call.n; c++) {
            l->bias[i * panel + c] = (float)r->affine.shift[p->channel + c];
        }
    }
cleanup:
    pq_free(scaled);
    return st;
}

static void linear_release(pq_op *op)
{
    pq_linear_op *l = (pq_linear_op *)op;

    pq_geometry_free(&l->at);
    pq_regions_free(&l->regions);
    pq_skips_free(&l->skips);
    pq_free(l->products);
    pq_fours_free(&l->fours);
    pq_free(l->weight);
    pq_free(l->bias);
    pq_affine_free(&l->recipe.affine);
    pq_free(l);
}

pq_status pq_linear_prepare(const pq_step *step, size_t tile, const pq_kernels *kernels,
                            pq_op **out, pq_err *err)
{
    pq_linear_recipe r        = {.kernels = kernels, .layer = layer_of(step, step->node)};
    pq_linear_op    *l        = NULL;
    pq_layer        *stand_in = NULL;
    bool             lean;
    pq_status        st;

    PQ_NEW(l, 1);
    if (r.layer->kind->form == PQ_FORM_WINDOW_CORES) {
        PQ_TRY(pq_tt_conv_rebuild(r.layer, &stand_in, err));
        r.layer = stand_in;
    }
    l->kernels    = kernels;
    l->op.run     = pq_linear_run;
    l->op.release = linear_release;
    l->op.kernel  = pq_linear_kernel(kernels);
    r.kernel      = pq_layer_weight(r.layer, "kernel")->value;
    l->in_count   = pq_node_count(step->graph, step->in[0]);
    l->out_count  = pq_node_count(step->graph, step->node);
    l->residual   = step->add != PQ_NO_NODE ? step->n_in - 1 : 0;
    PQ_TRY(pq_geometry_place(step, r.layer, kernels->lanes, 0, &l->at, err));
    l->framed = l->at.framed;
    lean      = step->lean && stand_in == NULL && !l->at.depthwise;
    if (!lean) {
        l->op.run_part = pq_linear_run_part;
        l->op.products = pq_geometry_products(&l->at);
    }
    if (!l->at.depthwise) {
        PQ_TRY(place_products(l, &r, tile, lean, err));
        l->framed = l->regions.framed;
    }
    if (l->framed) {
        l->frame_bytes      = (l->at.frame_count * sizeof(float) + 63) / 64 * 64;
        l->op.scratch_bytes = l->frame_bytes;
    }
    l->clip = clip_of(step);
    PQ_TRY(pq_affine_of_step(step, l->at.outputs, &r.affine, err));
    if (l->at.flat && l->at.groups == 1 && tile * l->at.rows == 1 && !lean &&
        l->skips.panel == 0) {
        PQ_TRY(pack_fours(l, &r, err));
    }
    if (l->fours.few == 0) {
        PQ_TRY(l->at.depthwise ? pack_depthwise(l, &r, err)
                               : pack_panels(l, &r, lean, err));
    }
    if (lean) {
        l->op.run = run_packing;
        l->recipe = r;
        r.affine  = (pq_affine){0};
    }
    *out = &l->op;
    l    = NULL;
cleanup:
    pq_affine_free(&r.affine);
    pq_layer_free(&stand_in);
    if (l != NULL) {
        linear_release(&l->op);
    }
    return st;
}
