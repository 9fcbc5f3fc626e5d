/*
 * Decompositions of a public ResNet-20's layer against numbers found with numpy,
 * independently of any decomposition library (unfoldings by moveaxis and reshape,
 * numpy.linalg.svd in double).
 */
#include "data.h"

#include "core/file.h"
#include "formats/model.h"
#include "linalg/tt.h"
#include "linalg/tucker.h"
#include "linalg/vbmf.h"

#define WEIGHTS PQ_TEST_SOURCE_ROOT "/../shared/data/models/resnet20-12fca82f.th"

static const double TOL = 1e-6; /* the numbers have six digits behind the point */

static pq_graph *load(void)
{
    pq_graph *g = NULL;

    if (!pq_file_exists(WEIGHTS)) {
        cr_skip_test("skipped: no real data at " WEIGHTS);
    }
    OK(pq_model_load(WEIGHTS, "resnet20", &g, &err));
    return g;
}

/* Kernel of a layer as [out, in, height, width] in double. */
static pq_tensor *kernel_of(const pq_graph *g, const char *name)
{
    const size_t axes[] = {0, 3, 1, 2};
    const size_t at     = pq_graph_find(g, name);
    pq_tensor   *wide = NULL, *t = NULL;

    cr_assert_neq(at, SIZE_MAX);
    OK(pq_tensor_convert(pq_layer_weight(g->nodes[at].layer, "kernel")->value,
                         PQ_DTYPE_F64, &wide, &err));
    OK(pq_tensor_permute(wide, axes, &t, &err));
    pq_tensor_free(&wide);
    return t;
}

Test(golden, tucker_of_layer3_2_conv1)
{
    static const struct {
        size_t rank;
        double hosvd, hooi;
    } due[] = {{32, .654519, .637718}, {16, .853485, .826897}, {8, .938340, .913831}};
    pq_graph  *g = load();
    pq_tensor *t = kernel_of(g, "stage3_block3_conv1");

    cr_expect_float_eq(sqrt(pq_square_norm(t)), 16.519762, TOL * 16);
    for (size_t i = 0; i < 3; i++) {
        const size_t ranks[] = {due[i].rank, due[i].rank, 0, 0};
        pq_tucker    a = {0}, b = {0};
        OK(pq_tucker_decompose(t, ranks, &(pq_tucker_options){0, 0, NULL}, &a, &err));
        OK(pq_tucker_decompose(t, ranks, &(pq_tucker_options){50, 0, NULL}, &b, &err));
        cr_expect_float_eq(a.error, due[i].hosvd, TOL, "HOSVD %.7f", a.error);
        cr_expect_float_eq(b.error, due[i].hooi, TOL, "HOOI %.7f", b.error);
        pq_tucker_free(&a);
        pq_tucker_free(&b);
    }
    pq_tensor_free(&t);
    pq_graph_free(&g);
}

/* Relative errors of ranks of a matrix. */
static void expect_svd(pq_tensor *m, pq_shape shape, size_t n, const size_t *rank,
                       const double *due)
{
    pq_svd svd = {0};

    OK(pq_tensor_reshape(m, shape, &err));
    OK(pq_svd_thin(m, &svd, &err));
    for (size_t i = 0; i < n; i++) {
        const double error = pq_svd_tail(&svd, rank[i]) / pq_svd_tail(&svd, 0);
        cr_expect_float_eq(error, due[i], TOL, "rank %zu: %.7f", rank[i], error);
    }
    pq_svd_free(&svd);
}

Test(golden, spatial_and_channel_svd_of_layer3_2_conv1)
{
    const size_t axes[] = {1, 2, 0, 3}, rank[] = {16, 32, 48, 64};
    pq_graph    *g = load();
    pq_tensor   *t = kernel_of(g, "stage3_block3_conv1"), *m = NULL;

    OK(pq_tensor_permute(t, axes, &m, &err));
    expect_svd(m, PQ_SHAPE(192, 192), 4, rank,
               (double[]){.773815, .610169, .479169, .371639});
    expect_svd(t, PQ_SHAPE(64, 576), 3, rank, (double[]){.725418, .507557, .303438});
    pq_tensor_free(&m);
    pq_tensor_free(&t);
    pq_graph_free(&g);
}

static void expect_tt(const pq_tensor *t, const size_t *max_rank, size_t parameters,
                      double due)
{
    pq_tensor *full = NULL;
    pq_tt      tt   = {0};

    OK(pq_tt_svd(t, 0.0, max_rank, &tt, &err));
    OK(pq_tt_full(&tt, &full, &err));
    cr_expect_eq(pq_tt_parameters(&tt), parameters, "%zu", pq_tt_parameters(&tt));
    cr_expect_float_eq(distance(full, t), due, TOL, "%.7f", distance(full, t));
    pq_tensor_free(&full);
    pq_tt_free(&tt);
}

/* Garipov: axes (window, (c_1, s_1), (c_2, s_2), (c_3, s_3)); naive: (in, height, width,
 * out). */
Test(golden, tensor_trains_of_layer3_2_conv1)
{
    const size_t naive[] = {1, 2, 3, 0}, mixed[] = {6, 7, 3, 0, 4, 1, 5, 2};
    pq_graph    *g = load();
    pq_tensor   *t = kernel_of(g, "stage3_block3_conv1"), *m = NULL;

    OK(pq_tensor_permute(t, naive, &m, &err));
    expect_tt(m, (const size_t[]){16, 32, 32}, 7680, .781268);
    pq_tensor_free(&m);
    OK(pq_tensor_reshape(t, PQ_SHAPE(4, 4, 4, 4, 4, 4, 3, 3), &err));
    OK(pq_tensor_permute(t, mixed, &m, &err));
    OK(pq_tensor_reshape(m, PQ_SHAPE(9, 16, 16, 16), &err));
    expect_tt(m, (const size_t[]){9, 16, 16}, 6737, .776495);
    expect_tt(m, (const size_t[]){9, 32, 16}, 13137, .610316);
    pq_tensor_free(&m);
    pq_tensor_free(&t);
    pq_graph_free(&g);
}

static size_t evbmf_of(const pq_tensor *t, size_t mode)
{
    pq_tensor *m   = NULL;
    pq_svd     svd = {0};
    size_t     rank;

    OK(pq_tensor_unfold(t, mode, &m, &err));
    OK(pq_svd_thin(m, &svd, &err));
    rank = pq_evbmf_rank(pq_f64(svd.s), m->shape.dim[0], m->shape.dim[1]);
    pq_svd_free(&svd);
    pq_tensor_free(&m);
    return rank;
}

Test(golden, evbmf_ranks_of_every_convolution)
{
    static const struct {
        const char *layer;
        size_t      out, in;
    } due[]     = {{"stem_conv", 6, 1},
                   {"stage1_block1_conv1", 8, 13},
                   {"stage1_block1_conv2", 7, 6},
                   {"stage1_block2_conv1", 3, 6},
                   {"stage1_block2_conv2", 2, 3},
                   {"stage1_block3_conv1", 7, 7},
                   {"stage1_block3_conv2", 5, 6},
                   {"stage2_block1_conv1", 4, 8},
                   {"stage2_block1_conv2", 8, 8},
                   {"stage2_block2_conv1", 7, 10},
                   {"stage2_block2_conv2", 3, 5},
                   {"stage2_block3_conv1", 4, 7},
                   {"stage2_block3_conv2", 5, 4},
                   {"stage3_block1_conv1", 10, 6},
                   {"stage3_block1_conv2", 4, 13},
                   {"stage3_block2_conv1", 6, 9},
                   {"stage3_block2_conv2", 8, 5},
                   {"stage3_block3_conv1", 8, 7},
                   {"stage3_block3_conv2", 26, 21}};
    pq_graph *g = load();

    for (size_t i = 0; i < sizeof due / sizeof due[0]; i++) {
        pq_tensor   *t   = kernel_of(g, due[i].layer);
        const size_t out = evbmf_of(t, 0), in = evbmf_of(t, 1);
        cr_expect(out == due[i].out && in == due[i].in, "%s: (%zu, %zu), not (%zu, %zu)",
                  due[i].layer, out, in, due[i].out, due[i].in);
        pq_tensor_free(&t);
    }
    pq_graph_free(&g);
}
