/*
 * pquant's side of the comparison, as a shared library that compare.py loads:
 * decompositions of one float64 tensor, and a small tt_dense layer.
 */
#include <cblas.h>
#include <math.h>
#include <stdio.h>

#include "core/clock.h"
#include "core/rng.h"
#include "exec/plan.h"
#include "kernels/cpu.h"
#include "linalg/cp.h"
#include "linalg/partial.h"
#include "linalg/subspace.h"
#include "linalg/tt.h"
#include "linalg/tucker.h"

#define EXPORT __attribute__((visibility("default")))

static pq_tensor view(double *data, size_t d, const size_t *dim)
{
    pq_tensor t = {.dtype = PQ_DTYPE_F64, .shape = {.ndim = d}, .count = 1, .data = data};

    for (size_t k = 0; k < d; k++) {
        t.shape.dim[k] = dim[k];
        t.count *= dim[k];
    }
    return t;
}

EXPORT const char *bench_about(void)
{
    static char text[256];

    (void)snprintf(text, sizeof text, "%s, kernels for %s", openblas_get_config(),
                   pq_blas_coretype());
    return text;
}

/* Core type OpenBLAS should be told, or "". */
EXPORT const char *bench_wanted_coretype(void)
{
    const char *wanted = pq_blas_wanted_coretype();

    return wanted != NULL ? wanted : "";
}

/* Each returns its relative error, or -1; errors are only measured if asked for. */
EXPORT double bench_tt(double *data, size_t d, const size_t *dim, const size_t *rank,
                       int measure)
{
    pq_tensor  t     = view(data, d, dim);
    pq_tensor *full  = NULL;
    pq_tt      tt    = {0};
    double     error = 0.0;

    if (pq_tt_svd(&t, 0.0, rank, &tt, NULL) != PQ_OK) {
        return -1.0;
    }
    if (measure && pq_tt_full(&tt, &full, NULL) == PQ_OK) {
        error = sqrt(pq_square_distance(full, &t) / pq_square_norm(&t));
    }
    pq_tensor_free(&full);
    pq_tt_free(&tt);
    return error;
}

EXPORT double bench_tucker(double *data, size_t d, const size_t *dim, const size_t *rank,
                           size_t sweeps)
{
    const pq_tucker_options options = {sweeps, -1.0, NULL};
    pq_tensor               t       = view(data, d, dim);
    pq_tucker               tucker  = {0};
    double                  error;

    if (pq_tucker_decompose(&t, rank, &options, &tucker, NULL) != PQ_OK) {
        return -1.0;
    }
    error = tucker.error;
    pq_tucker_free(&tucker);
    return error;
}

EXPORT double bench_cp(double *data, size_t d, const size_t *dim, size_t rank,
                       size_t sweeps)
{
    pq_cp_options options = pq_cp_defaults;
    pq_tensor     t       = view(data, d, dim);
    pq_cp         cp      = {0};
    double        error;

    options.starts     = 1;
    options.max_sweeps = sweeps;
    options.tolerance  = -1.0;
    if (pq_cp_als(&t, rank, &options, &cp, NULL) != PQ_OK) {
        return -1.0;
    }
    error = cp.error;
    pq_cp_free(&cp);
    return error;
}

/* Leading triples of a float32 matrix: seconds, or -1; the sum of their squares, and the
 * bound on what the error is above the least. */
EXPORT double bench_leading(float *data, size_t m, size_t n, size_t rank, double *kept,
                            double *excess)
{
    const pq_tensor w     = {PQ_DTYPE_F32, PQ_SHAPE(m, n), m * n, data};
    const double    start = pq_clock_wall_s();
    pq_svd_part     part  = {0};
    double          seconds;

    if (pq_svd_leading(&w, pq_svd_rung(m, n, rank), &part, NULL) != PQ_OK) {
        return -1.0;
    }
    seconds = pq_clock_wall_s() - start;
    *kept   = 0.0;
    for (size_t i = rank; i-- > 0;) {
        *kept += pq_f64(part.svd.s)[i] * pq_f64(part.svd.s)[i];
    }
    *excess = pq_svd_excess(pq_f64(part.svd.s), part.square, part.lack, rank);
    pq_svd_part_free(&part);
    return seconds;
}

/* Seconds of reading n floats once, many at a time. */
EXPORT double bench_read(const float *data, size_t n)
{
    enum { LANES = 64 };
    const double start       = pq_clock_wall_s();
    float        lane[LANES] = {0.0F}, sum = 0.0F;

    for (size_t i = 0; i + LANES <= n; i += LANES) {
        for (size_t k = 0; k < LANES; k++) {
            lane[k] += data[i + k];
        }
    }
    for (size_t k = 0; k < LANES; k++) {
        sum += lane[k];
    }
    const double seconds = pq_clock_wall_s() - start;

    return sum > -1e30F ? seconds : -1.0; /* uses the sum */
}

/* 16 -> 10 with modes (4, 4) -> (2, 5) and rank 2; seconds of one sample, or -1. */
EXPORT double bench_layer(size_t calls)
{
    const pq_plan_options options  = {.engine = "float32", .batch = 1};
    pq_rng                rng      = pq_rng_stream(1, "bench");
    pq_shape              shapes[] = {PQ_SHAPE(1, 2, 4, 2), PQ_SHAPE(2, 5, 4, 1)};
    const char           *in       = "in";
    pq_graph             *graph    = NULL;
    pq_layer             *input = NULL, *layer = NULL;
    pq_plan              *plan = NULL;
    pq_tensor            *core;
    float                 x[16], y[10];
    double                start, seconds = -1.0;
    pq_status             st;

    PQ_TRY(pq_graph_create(&graph, NULL));
    PQ_TRY(pq_layer_create("input", &input, NULL));
    PQ_TRY(pq_layer_set(input, "shape", "16", NULL));
    PQ_TRY(pq_graph_add(graph, in, input, 0, NULL, NULL));
    PQ_TRY(pq_layer_create("tt_dense", &layer, NULL));
    for (int k = 0; k < 2; k++) {
        PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, shapes[k], &core, NULL));
        for (size_t i = 0; i < core->count; i++) {
            pq_f32(core)[i] = (float)pq_rng_normal(&rng);
        }
        PQ_TRY(pq_layer_add_weight(layer, k == 0 ? "core1" : "core2", core, NULL));
    }
    PQ_TRY(pq_graph_add(graph, "fc", layer, 1, &in, NULL));
    PQ_TRY(pq_graph_check(graph, NULL));
    PQ_TRY(pq_plan_create(graph, &options, &plan, NULL));
    for (size_t i = 0; i < 16; i++) {
        x[i] = (float)pq_rng_normal(&rng);
    }
    start = pq_clock_wall_s();
    for (size_t i = 0; i < calls; i++) {
        PQ_TRY(pq_plan_run(plan, 1, (const float *const[]){x}, y, NULL));
        x[i % 16] =
            y[i % 10] > 1.0F ? 1.0F : y[i % 10]; /* each call waits for the last */
    }
    seconds = (pq_clock_wall_s() - start) / (double)calls;
cleanup:
    pq_plan_free(&plan);
    pq_graph_free(&graph);
    return seconds;
}
