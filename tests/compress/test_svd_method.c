#include "nets.h"

#include "core/file.h"
#include "linalg/svd.h"

static const double TOL_TAIL = 1e-6; /* relative: factors are float32 */
static const double TOL_REAL = 1e-9; /* nine digits are written down */
static const double TOL_RUN  = 2e-5; /* of outputs of order 1, float32 weights */

static pq_layer_change *changes;
static size_t           n_changes;

/* |W - A B|_F of a dense layer against its two factors. */
static double distance(const pq_graph *before, const pq_graph *after, const char *name,
                       const char *first)
{
    const pq_tensor *w = net_weight(before, name, "kernel");
    const pq_tensor *a = net_weight(after, name, "kernel"),
                    *b = net_weight(after, first, "kernel");
    const size_t n = w->shape.dim[1], rank = b->shape.dim[0];
    double       sum = 0.0;

    for (size_t i = 0; i < w->count; i++) {
        double d = (double)pq_f32(w)[i];
        for (size_t r = 0; r < rank; r++) {
            d -= (double)pq_f32(a)[i / n * rank + r] * (double)pq_f32(b)[r * n + i % n];
        }
        sum += d * d;
    }
    return sqrt(sum);
}

Test(svd_method, error_is_the_norm_of_the_dropped_singular_values)
{
    pq_graph *g   = net_mlp(1);
    pq_svd    svd = {0};

    OK(pq_svd_thin_ref(net_weight(g, "fc2", "kernel"), &svd, &err));
    for (size_t rank = 1; rank < 32; rank += 6) {
        char      text[64];
        pq_graph *out;

        snprintf(text, sizeof text, "svd:rank=%zu,layers=fc2,keep_dense=no", rank);
        out = net_apply(text, g, NULL, &changes, &n_changes);
        cr_expect_float_eq(distance(g, out, "fc2", "fc2.b"), pq_svd_tail(&svd, rank),
                           TOL_TAIL * pq_svd_tail(&svd, 0));
        cr_assert_eq(n_changes, 1);
        cr_expect_float_eq(changes[0].error,
                           pq_svd_tail(&svd, rank) / pq_svd_tail(&svd, 0),
                           TOL_TAIL * changes[0].error);
        pq_free(changes);
        pq_graph_free(&out);
    }
    pq_svd_free(&svd);
    pq_graph_free(&g);
}

/* W = 3 u v^T + 1 p q^T with unit vectors along axes: the factors are known. */
Test(svd_method, known_matrix_has_known_factors)
{
    pq_graph *g = net_mlp(1), *out;
    float    *w = pq_f32(net_weight(g, "fc1", "kernel"));

    memset(w, 0, 64 * 16 * sizeof *w);
    w[5 * 16 + 2] = 9.0f;
    w[7 * 16 + 3] = -4.0f;
    out           = net_apply("svd:rank=2,layers=fc1", g, NULL, &changes, &n_changes);
    for (size_t i = 0; i < 128; i++) {
        const float due = i == 5 * 2 ? 3.0f : i == 7 * 2 + 1 ? 2.0f : 0.0f;
        cr_expect_float_eq(pq_f32(net_weight(out, "fc1", "kernel"))[i], due, 1e-6);
    }
    for (size_t i = 0; i < 32; i++) {
        const float due = i == 2 ? 3.0f : i == 16 + 3 ? -2.0f : 0.0f;
        cr_expect_float_eq(pq_f32(net_weight(out, "fc1.b", "kernel"))[i], due, 1e-6);
    }
    cr_expect_float_eq(changes[0].error, 0.0, 1e-12);
    pq_free(changes);
    pq_graph_free(&out);
    pq_graph_free(&g);
}

Test(svd_method, full_rank_changes_nothing)
{
    pq_graph *g = net_mlp(2);
    pq_graph *out =
        net_apply("svd:rank=64,clip_rank=yes,keep_dense=no", g, NULL, NULL, NULL);

    cr_expect_eq(out->n_nodes, g->n_nodes + 4);
    cr_expect_lt(net_difference(g, out), TOL_RUN);
    pq_graph_free(&out);
    out = net_apply("svd:energy=1,keep_dense=no", g, NULL, NULL, NULL);
    cr_expect_lt(net_difference(g, out), TOL_RUN);
    pq_graph_free(&out);
    pq_graph_free(&g);
}

/* One convolution with odd attributes, factored fully and partly, against its rebuilt
 * kernel. */
static void check_conv(const char *form, const char *const *attributes)
{
    const bool spatial = strcmp(form, "spatial") == 0;
    char       text[96];
    pq_rng     rng = pq_rng_stream(3, "test");
    pq_graph  *g   = NULL, *out;
    pq_layer  *l   = net_kernel(&rng, PQ_SHAPE(7, 3, 5, 4), true);

    for (; *attributes != NULL; attributes += 2) {
        OK(pq_layer_set(l, attributes[0], attributes[1], &err));
    }
    OK(pq_graph_create(&g, &err));
    net_input(g, "13, 17, 4");
    net_add(g, "conv", l, "in");
    OK(pq_graph_check(g, &err));

    snprintf(text, sizeof text, "svd:rank=%d,form=%s,keep_dense=no", spatial ? 12 : 7,
             form);
    out = net_apply(text, g, NULL, NULL, NULL);
    cr_expect_eq(out->n_nodes, 3);
    cr_expect(pq_shape_equal(&net_node(out, "conv")->shape, &net_node(g, "conv")->shape));
    cr_expect_lt(net_difference(g, out), TOL_RUN);
    pq_graph_free(&out);

    /* rank 3: put the product of the factors back into one kernel; it must compute the
     * same */
    snprintf(text, sizeof text, "svd:rank=3,form=%s", form);
    out = net_apply(text, g, NULL, &changes, &n_changes);

    const float *a    = pq_f32(net_weight(out, "conv", "kernel"));
    const float *b    = pq_f32(net_weight(out, "conv.b", "kernel"));
    float       *w    = pq_f32(net_weight(g, "conv", "kernel"));
    double       norm = 0.0, lost = 0.0;

    for (size_t i = 0; i < 7 * 3 * 5 * 4; i++) {
        const size_t o = i / 60, kh = i / 20 % 3, kw = i / 4 % 5, c = i % 4;
        double       sum = 0.0;
        for (size_t r = 0; r < 3; r++) {
            sum +=
                spatial
                    ? (double)a[(o * 5 + kw) * 3 + r] * (double)b[(r * 3 + kh) * 4 + c]
                    : (double)a[o * 3 + r] * (double)b[((r * 3 + kh) * 5 + kw) * 4 + c];
        }
        norm += (double)w[i] * (double)w[i];
        lost += ((double)w[i] - sum) * ((double)w[i] - sum);
        w[i] = (float)sum;
    }
    cr_expect_float_eq(changes[0].error, sqrt(lost / norm), TOL_TAIL);
    cr_expect_lt(net_difference(g, out), TOL_RUN);
    pq_free(changes);
    pq_graph_free(&out);
    pq_graph_free(&g);
}

static const char *const same[]  = {"padding",  "same", "stride_h", "2",
                                    "stride_w", "3",    NULL};
static const char *const valid[] = {"dilation_h", "3", "dilation_w", "2",
                                    "stride_w",   "2", NULL};
static const char *const given[] = {
    "padding", "explicit",  "pad_top", "2",        "pad_bottom", "0", "pad_left",
    "1",       "pad_right", "3",       "stride_h", "2",          NULL};

Test(svd_method, channel_form_keeps_stride_padding_and_dilation)
{
    check_conv("channel", same);
    check_conv("channel", valid);
    check_conv("channel", given);
}

Test(svd_method, spatial_form_keeps_stride_padding_and_dilation)
{
    check_conv("spatial", same);
    check_conv("spatial", valid);
    check_conv("spatial", given);
}

Test(svd_method, error_and_size_are_monotone_in_the_rank)
{
    pq_graph *g     = net_residual(4);
    double    error = 2.0;
    size_t    bytes = 0;

    for (int rank = 1; rank <= 6; rank++) {
        char      text[64];
        pq_graph *out;

        snprintf(text, sizeof text, "svd:rank=%d,layers=conv1,keep_dense=no", rank);
        out = net_apply(text, g, NULL, &changes, &n_changes);
        cr_expect_lt(changes[0].error, error);
        cr_expect_gt(changes[0].bytes_after, bytes);
        error = changes[0].error;
        bytes = changes[0].bytes_after;
        pq_free(changes);
        pq_graph_free(&out);
    }
    pq_graph_free(&g);
}

Test(svd_method, energy_keeps_the_fewest_values_that_reach_it)
{
    pq_graph *g   = net_mlp(5);
    pq_svd    svd = {0};

    OK(pq_svd_thin_ref(net_weight(g, "fc2", "kernel"), &svd, &err));
    const double all = pq_svd_tail(&svd, 0);

    for (int percent = 5; percent < 100; percent += 9) {
        char      text[64];
        size_t    rank;
        pq_graph *out;

        snprintf(text, sizeof text, "svd:energy=%g,layers=fc2,keep_dense=no",
                 percent / 100.0);
        out  = net_apply(text, g, NULL, NULL, NULL);
        rank = net_weight(out, "fc2.b", "kernel")->shape.dim[0];

        const double less = pq_svd_tail(&svd, rank - 1) / all,
                     kept = pq_svd_tail(&svd, rank) / all;
        cr_expect_geq(1.0 - kept * kept, percent / 100.0);
        cr_expect_lt(1.0 - less * less, percent / 100.0);
        pq_graph_free(&out);
    }
    pq_svd_free(&svd);
    pq_graph_free(&g);
}

Test(svd_method, keeps_a_layer_dense_where_factors_are_not_smaller)
{
    pq_graph *g   = net_mlp(6);
    pq_graph *out = net_apply("svd:rank=12,layers=fc1|out,clip_rank=yes", g, NULL,
                              &changes, &n_changes);

    cr_assert_eq(n_changes, 2);
    cr_expect_str_eq(changes[0].what, "rank 12 of 16");
    cr_expect_eq(changes[0].bytes_before, 4 * (64 * 16 + 64));
    cr_expect_eq(changes[0].bytes_after, 4 * (12 * (64 + 16) + 64));
    cr_expect_eq(changes[0].macs_before, 64 * 16);
    cr_expect_eq(changes[0].macs_after, 12 * (64 + 16));
    cr_expect_str_eq(changes[1].what, "dense kept: rank 5 is not below break-even 4.3");
    cr_expect_eq(changes[1].bytes_after, changes[1].bytes_before);
    cr_expect_eq(out->n_nodes, g->n_nodes + 1);
    pq_free(changes);
    pq_graph_free(&out);
    pq_graph_free(&g);
}

Test(svd_method, a_layer_can_be_factored_again)
{
    pq_graph *g    = net_mlp(7);
    pq_graph *once = net_apply("svd:rank=8,layers=fc1", g, NULL, NULL, NULL);
    pq_graph *twice =
        net_apply("svd:rank=8,layers=fc1,keep_dense=no", once, NULL, NULL, NULL);

    cr_expect_neq(pq_graph_find(twice, "fc1.b.b"), SIZE_MAX);
    cr_expect_neq(pq_graph_find(twice, "fc1.b2"), SIZE_MAX);
    cr_expect_lt(net_difference(once, twice), TOL_RUN);
    pq_graph_free(&twice);
    pq_graph_free(&once);
    pq_graph_free(&g);
}

Test(svd_method, one_factorisation_serves_every_rank)
{
    pq_apply_options options = {0};
    pq_graph        *g       = net_mlp(8), *with, *without;

    OK(pq_cache_open(NULL, &options.cache, &err));
    for (int rank = 2; rank <= 10; rank += 4) {
        char hash[2][65], text[64];

        snprintf(text, sizeof text, "svd:rank=%d,layers=fc*", rank);
        with    = net_apply(text, g, &options, NULL, NULL);
        without = net_apply(text, g, NULL, NULL, NULL);
        OK(pq_graph_hash(with, hash[0], &err));
        OK(pq_graph_hash(without, hash[1], &err));
        cr_expect_str_eq(hash[0], hash[1]);
        pq_graph_free(&with);
        pq_graph_free(&without);
    }
    pq_cache_close(&options.cache);
    pq_graph_free(&g);
}

Test(svd_method, refuses_ranks_a_layer_does_not_have)
{
    pq_graph *g = net_mlp(9);
    pq_err    err;

    cr_expect_eq(net_refusal("svd:rank=80,layers=fc1", g, NULL, &err), PQ_ERR_RANGE);
    cr_expect_str_eq(err.message, "layer 'fc1': rank 80 is not in 1..16");
    cr_expect_eq(net_refusal("svd:rank=0", g, NULL, &err), PQ_ERR_RANGE);
    cr_expect_str_eq(err.message, "svd: rank = 0 is not in 1..1048576");
    cr_expect_eq(net_refusal("svd:rank=4,energy=0.9", g, NULL, &err), PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message,
                     "svd: give exactly one of rank, energy, epsilon, evbmf, ratio, "
                     "target_sparsity and budget");
    cr_expect_eq(net_refusal("svd", g, NULL, &err), PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message,
                     "svd: give exactly one of rank, energy, epsilon, evbmf, ratio, "
                     "target_sparsity and budget");
    cr_expect_eq(net_refusal("svd:energy=1.5", g, NULL, &err), PQ_ERR_RANGE);
    cr_expect_str_eq(err.message, "svd: energy = 1.5 is not in 0..1");
    pq_graph_free(&g);
}

Test(svd_method, refuses_weights_that_are_not_numbers)
{
    pq_graph *g = net_mlp(9);
    pq_err    err;

    pq_f32(net_weight(g, "fc2", "kernel"))[65] = NAN;
    cr_expect_eq(net_refusal("svd:rank=4,layers=fc2", g, NULL, &err), PQ_ERR_NUMERIC);
    cr_expect_not_null(strstr(err.message, "layer 'fc2'"), "%s", err.message);
    pq_graph_free(&g);
}

Test(svd_method, leaves_grouped_convolutions_alone)
{
    pq_graph *g = net_residual(9);
    pq_err    err;

    cr_expect_eq(net_refusal("svd:rank=1,layers=conv3", g, NULL, &err), PQ_ERR_CONFIG);
    cr_expect_str_eq(
        err.message,
        "svd: layers = 'conv3' selects nothing it can work on; it could work on: "
        "stem, conv1, conv2, out");
    pq_graph_free(&g);
}

Test(svd_method, survives_every_failed_allocation)
{
    pq_apply_options options = {0};
    pq_graph        *g = net_mlp(10), *r = net_residual(10);

    net_survives("svd:rank=4,layers=fc1|out", g, NULL);
    net_survives("svd:rank=3,form=spatial,layers=conv1", r, NULL);
    net_survives("svd:rank=3,layers=conv1", r, &options);
    pq_graph_free(&g);
    pq_graph_free(&r);
}

/* Kernel layer3.2.conv1 of the public CIFAR-10 ResNet-20, found in the file by its size
 * and norm. */
static pq_tensor *real_kernel(void)
{
    static const char path[] =
        PQ_TEST_SOURCE_ROOT "/../shared/data/models/resnet20-12fca82f.th";
    const int64_t count  = 64 * 64 * 3 * 3;
    const size_t  axes[] = {0, 2, 3, 1};
    pq_tensor    *torch = NULL, *kernel = NULL;
    char         *bytes = NULL;
    size_t        n     = 0;

    if (!pq_file_exists(path)) {
        cr_skip_test("skipped: no real data at %s", path);
    }
    OK(pq_file_read(path, 1 << 24, &bytes, &n, &err));
    OK(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(64, 64, 3, 3), &torch, &err));
    for (size_t at = 0; at + 8 + torch->count * 4 <= n && kernel == NULL; at++) {
        double sum = 0.0;
        if (memcmp(bytes + at, &count, 8) !=
            0) { /* each storage: its size, then its items */
            continue;
        }
        memcpy(torch->data, bytes + at + 8, torch->count * 4);
        for (size_t i = 0; i < torch->count; i++) {
            sum += (double)pq_f32(torch)[i] * (double)pq_f32(torch)[i];
        }
        if (fabs(sqrt(sum) - 16.519762) < 1e-6) {
            OK(pq_tensor_permute(torch, axes, &kernel, &err));
        }
    }
    cr_assert_not_null(kernel, "the kernel is not in the file");
    pq_tensor_free(&torch);
    pq_free(bytes);
    return kernel;
}

/* Numbers by svd_errors.py: W as [64, 576] (channel) and [192, 192] (spatial). */
Test(svd_method, real_weights_give_the_errors_that_numpy_gives)
{
    static const struct {
        const char *stage;
        double      error;
    } due[] = {
        {"svd:rank=16,keep_dense=no", .725418156},
        {"svd:rank=32,keep_dense=no", .507557164},
        {"svd:rank=48,keep_dense=no", .303438022},
        {"svd:rank=16,form=spatial", .773815215},
        {"svd:rank=32,form=spatial", .610169053},
        {"svd:rank=48,form=spatial", .479169113},
        {"svd:rank=64,form=spatial", .371639154},
    };
    pq_apply_options options = {0};
    pq_tensor       *kernel  = real_kernel();
    pq_graph        *g       = NULL, *out;
    pq_layer        *l       = net_layer("conv2d");

    OK(pq_cache_open(NULL, &options.cache, &err));
    OK(pq_graph_create(&g, &err));
    net_input(g, "8, 8, 64");
    OK(pq_layer_add_weight(l, "kernel", kernel, &err));
    net_add(g, "layer3.2.conv1", l, "in");
    for (size_t i = 0; i < sizeof due / sizeof due[0]; i++) {
        out = net_apply(due[i].stage, g, &options, &changes, &n_changes);
        cr_expect_float_eq(changes[0].error, due[i].error, TOL_REAL, "%s: %.7f",
                           due[i].stage, changes[0].error);
        pq_free(changes);
        pq_graph_free(&out);
    }
    pq_cache_close(&options.cache);
    pq_graph_free(&g);
}
