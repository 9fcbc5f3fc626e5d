#include "exec/tt.h"

#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "kernels/kernels.h"
#include "layers/tt.h"

typedef struct {
    pq_op             op;
    pq_tt_modes       t;
    size_t            rows; /* of one sample: all axes but the last */
    const pq_kernels *kernels;
    size_t            largest;             /* floats of the largest z */
    size_t            others[PQ_MAX_DIMS]; /* p of each step */
    size_t            panel[PQ_MAX_DIMS];
    size_t            packed[PQ_MAX_DIMS]; /* floats of a train's panels */
    float
        *core[PQ_MAX_DIMS]; /* panels of [(r, m), (r', n)], at the ends for each train */
    float *bias;            /* [outputs] */
} tt_op;

/* Core k of train a: z [rm, p] to [p, (r', n)], put in order as next [r', p, n]. */
static void apply_core(const tt_op *o, size_t k, size_t a, const float *z, float *part,
                       float *next)
{
    const size_t     rm = o->t.r[k] * o->t.m[k], n = o->t.n[k], r2 = o->t.r[k + 1];
    const size_t     others = o->others[k], q = r2 * n;
    const bool       ends = k == 0 || k + 1 == o->t.d;
    const pq_segment all  = {.k = rm};

    o->kernels->gemm(&(pq_matmul){.m       = others,
                                  .n       = q,
                                  .a       = z,
                                  .a_row   = 1,
                                  .a_col   = others,
                                  .b       = o->core[k] + (ends ? a * o->packed[k] : 0),
                                  .b_row   = o->panel[k],
                                  .b_panel = rm * o->panel[k],
                                  .panel   = o->panel[k],
                                  .c       = r2 == 1 ? next : part,
                                  .c_row   = q,
                                  .n_segments = 1,
                                  .segments   = &all});
    for (size_t i = 0; r2 > 1 && i < others * r2; i++) {
        memcpy(next + (i % r2 * others + i / r2) * n, part + i * n, n * sizeof *next);
    }
}

/* One row through train a of a ring, or the only one. */
static void run_train(const tt_op *o, size_t a, const float *x, float *const z[2],
                      float *part, float *y)
{
    const size_t d = o->t.d;

    for (size_t k = 0; k < d; k++) {
        apply_core(o, k, a, k == 0 ? x : z[k % 2], part, k + 1 == d ? y : z[(k + 1) % 2]);
    }
}

static void tt_run(const pq_op *op, size_t n, const void *const *in, void *out,
                   void *scratch)
{
    const tt_op *o    = (const tt_op *)op;
    float       *z[2] = {scratch, (float *)scratch + o->largest};
    float       *sum  = z[1] + o->largest; /* of one core, before it is put in order */

    for (size_t row = 0; row < n * o->rows; row++) {
        const float *x = (const float *)in[0] + row * o->t.inputs;
        float       *y = (float *)out + row * o->t.outputs;
        run_train(o, 0, x, z, sum, y);
        for (size_t a = 1; a < o->t.ring; a++) {
            float *part = z[o->t.d % 2];
            run_train(o, a, x, z, sum, part);
            for (size_t i = 0; i < o->t.outputs; i++) {
                y[i] += part[i];
            }
        }
        for (size_t i = 0; i < o->t.outputs; i++) {
            y[i] += o->bias[i];
        }
    }
}

static void tt_release(pq_op *op)
{
    tt_op *o = (tt_op *)op;

    for (size_t k = 0; k < PQ_MAX_DIMS; k++) {
        pq_free(o->core[k]);
    }
    pq_free(o->bias);
    pq_free(o);
}

/* [r, n, m, r'] as [(r, m), (r', n)]; the last, whose columns are those of a ring's
 * trains, as [r', (r, m), n]. */
static pq_status pack_core(const pq_layer *layer, size_t k, tt_op *o, pq_err *err)
{
    char             name[32];
    const pq_tensor *core;
    float           *turned = NULL;
    pq_status        st;

    (void)snprintf(name, sizeof name, "core%zu", k + 1);
    core           = pq_layer_weight(layer, name)->value;
    const size_t r = core->shape.dim[0], n = core->shape.dim[1];
    const size_t m = core->shape.dim[2], r2 = core->shape.dim[3];

    const size_t trains = k == 0 || k + 1 == o->t.d ? o->t.ring : 1;
    const size_t rows = o->t.r[k] * m, columns = o->t.r[k + 1] * n;

    o->panel[k]  = o->kernels->panel(columns);
    o->packed[k] = pq_panel_floats(rows, columns, o->panel[k]);
    PQ_NEW(turned, core->count);
    PQ_NEW(o->core[k], trains * o->packed[k]);
    for (size_t i = 0; i < core->count; i++) {
        const size_t b = i % r2, c = i / r2 % m, a = i / r2 / m % n, l = i / r2 / m / n;
        const size_t to = k + 1 == o->t.d ? ((b * r + l) * m + c) * n + a
                                          : ((l * m + c) * r2 + b) * n + a;
        turned[to]      = pq_f32(core)[i];
    }
    for (size_t a = 0; a < trains; a++) {
        pq_pack_panels(rows, columns, turned + a * rows * columns, columns, 1,
                       o->panel[k], o->core[k] + a * o->packed[k]);
    }
    o->op.weight_bytes += trains * o->packed[k] * sizeof(float);
cleanup:
    pq_free(turned);
    return st;
}

/* Sizes of the values between the cores. */
static pq_status plan(tt_op *o, pq_err *err)
{
    size_t    others = o->t.inputs, bytes;
    pq_status st;

    for (size_t k = 0; k < o->t.d; k++) {
        others /= o->t.m[k];
        o->others[k] = others;
        others *= o->t.n[k];
        const size_t z = others * o->t.r[k + 1];
        o->largest     = z > o->largest ? z : o->largest;
    }
    PQ_CHECK(!__builtin_mul_overflow(3 * o->largest, sizeof(float), &bytes), PQ_ERR_RANGE,
             "the values between the cores do not fit into memory");
    o->op.scratch_bytes = bytes;
cleanup:
    return st;
}

pq_status pq_tt_prepare(const pq_step *step, pq_op **out, pq_err *err)
{
    const pq_layer  *layer = step->graph->nodes[step->node].layer;
    const pq_weight *bias  = pq_layer_weight(layer, "bias");
    tt_op           *o     = NULL;
    pq_status        st;

    PQ_NEW(o, 1);
    o->kernels    = pq_kernels_find(pq_cpu_isa());
    o->op.run     = tt_run;
    o->op.release = tt_release;
    o->op.kernel  = PQ_TT_KERNEL;
    PQ_TRY(pq_tt_modes_of(layer, &o->t, err));
    o->t.r[0] = o->t.r[o->t.d] = 1; /* of each train */
    o->rows                    = pq_node_count(step->graph, step->node) / o->t.outputs;
    PQ_TRY(plan(o, err));
    for (size_t k = 0; k < o->t.d; k++) {
        PQ_TRY(pack_core(layer, k, o, err));
    }
    PQ_NEW(o->bias, o->t.outputs);
    if (bias != NULL) {
        memcpy(o->bias, bias->value->data, o->t.outputs * sizeof *o->bias);
    }
    *out = &o->op;
    o    = NULL;
cleanup:
    if (o != NULL) {
        tt_release(&o->op);
    }
    return st;
}
