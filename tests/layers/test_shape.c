/* What does not fit is refused in one sentence with both shapes; operation counts. */
#include "run.h"

static void expect_refused(pq_layer *layer, size_t n_in, const pq_shape *in,
                           pq_status code, const char *message)
{
    pq_shape out;
    pq_err   err = {0};

    cr_expect_eq(layer->kind->shape(layer, n_in, in, &out, &err), code, "%s",
                 layer->kind->name);
    cr_expect_str_eq(err.message, message);
    pq_layer_free(&layer);
}

static void expect_one(pq_layer *layer, pq_shape in, const char *message)
{
    expect_refused(layer, 1, &in, PQ_ERR_SHAPE, message);
}

static pq_layer *with_kernel(const char *kind, const char *attributes, pq_shape kernel)
{
    pq_layer *layer = run_layer(kind, attributes);

    run_weight(layer, "kernel", kernel, NULL);
    return layer;
}

Test(shape, dense_names_kernel_and_input)
{
    pq_layer *layer = with_kernel("dense", "", PQ_SHAPE(64, 16));

    expect_one(with_kernel("dense", "", PQ_SHAPE(64, 16)), PQ_SHAPE(15),
               "kernel is [64, 16] but the input is [15] with 15 features");
    expect_one(with_kernel("dense", "", PQ_SHAPE(64)), PQ_SHAPE(15),
               "kernel is [64], not 2 axes of at least 1");
    expect_one(with_kernel("dense", "", PQ_SHAPE(0, 15)), PQ_SHAPE(15),
               "kernel is [0, 15], not 2 axes of at least 1");
    expect_one(run_layer("dense", ""), PQ_SHAPE(15), "the weight 'kernel' is missing");
    run_weight(layer, "bias", PQ_SHAPE(16), NULL);
    expect_one(layer, PQ_SHAPE(16), "bias is [16], not [64]");
    layer = with_kernel("dense", "", PQ_SHAPE(64, 16));
    run_weight(layer, "biass", PQ_SHAPE(64), NULL);
    expect_one(layer, PQ_SHAPE(16),
               "2 weights are given, but only 'kernel' and 'bias' are known");
}

static pq_layer *with_cores(const char *kind, size_t n, const pq_shape *shapes)
{
    static const char *const names[] = {"core1", "core2", "core3"};
    pq_layer                *layer   = run_layer(kind, "");

    for (size_t k = 0; k < n; k++) {
        run_weight(layer, names[k], shapes[k], NULL);
    }
    return layer;
}

Test(shape, rings_close_and_trains_end)
{
    const pq_shape good[] = {PQ_SHAPE(3, 2, 3, 2), PQ_SHAPE(2, 5, 2, 3)};
    const pq_shape open[] = {PQ_SHAPE(3, 2, 3, 2), PQ_SHAPE(2, 5, 2, 4)};
    const pq_shape torn[] = {PQ_SHAPE(3, 2, 3, 2), PQ_SHAPE(3, 5, 2, 3)};

    expect_one(with_cores("ring_dense", 2, good), PQ_SHAPE(7),
               "the input modes multiply to 6 but the input is [7]");
    expect_one(with_cores("ring_dense", 2, open), PQ_SHAPE(6),
               "has 2 cores, the last of rank 4; 2 to 7 ending in rank 3 are due");
    expect_one(with_cores("ring_dense", 2, torn), PQ_SHAPE(6),
               "core2 is [3, 5, 2, 3], not [2, n, m, r]");
    expect_one(with_cores("ring_dense", 0, good), PQ_SHAPE(6),
               "has 0 cores, the last of rank 1; 2 to 7 ending in rank 1 are due");
    expect_one(with_cores("tt_dense", 2, good), PQ_SHAPE(6),
               "core1 is [3, 2, 3, 2], not [1, n, m, r]");
}

Test(shape, conv2d_names_what_does_not_fit)
{
    expect_one(with_kernel("conv2d", "", PQ_SHAPE(8, 3, 3, 3)), PQ_SHAPE(32, 32, 4),
               "kernel is [8, 3, 3, 3] in 1 groups but the input is [32, 32, 4]");
    expect_one(with_kernel("conv2d", "groups=2", PQ_SHAPE(7, 3, 3, 2)),
               PQ_SHAPE(32, 32, 4),
               "kernel is [7, 3, 3, 2] in 2 groups but the input is [32, 32, 4]");
    expect_one(with_kernel("conv2d", "", PQ_SHAPE(8, 3, 3, 3)), PQ_SHAPE(32),
               "the input is [32], not an image [height, width, channels]");
    expect_one(with_kernel("conv2d", "dilation_h=2", PQ_SHAPE(8, 3, 3, 3)),
               PQ_SHAPE(4, 4, 3),
               "a window of 5x3 does not fit the input [4, 4, 3] padded to 4x4");
    expect_one(with_kernel("conv2d", "", PQ_SHAPE(1, 70000, 1, 1)), PQ_SHAPE(4, 4, 1),
               "kernel is [1, 70000, 1, 1], larger than 65535 rows or columns");
}

Test(shape, batch_norm_names_what_does_not_fit)
{
    pq_layer *layer = run_layer("batch_norm", "epsilon=0.5");

    run_weight(layer, "mean", PQ_SHAPE(4), NULL);
    expect_one(layer, PQ_SHAPE(2, 4), "the weight 'variance' is missing");
    layer = run_layer("batch_norm", "");
    run_weight(layer, "mean", PQ_SHAPE(4), NULL);
    expect_one(layer, PQ_SHAPE(2, 5), "mean is [4], not [5]");
    layer = run_layer("batch_norm", "");
    run_weight(layer, "mean", PQ_SHAPE(1), NULL);
    run_weight(layer, "variance", PQ_SHAPE(1), (float[]){-0.5f});
    expect_refused(layer, 1, &PQ_SHAPE(1), PQ_ERR_NUMERIC,
                   "variance of channel 0 is -0.5: its root cannot be divided by");
}

Test(shape, other_kinds_name_what_does_not_fit)
{
    const pq_shape sums[] = {PQ_SHAPE(4, 3), PQ_SHAPE(4, 3), PQ_SHAPE(3, 4)};

    expect_refused(run_layer("add", ""), 3, sums, PQ_ERR_SHAPE,
                   "input 0 is [4, 3] but input 2 is [3, 4]");
    expect_refused(run_layer("multiply", ""), 3, sums, PQ_ERR_SHAPE,
                   "input 0 is [4, 3] but input 2 is [3, 4]");
    expect_refused(run_layer("concat", ""), 3, sums, PQ_ERR_SHAPE,
                   "input 0 is [4, 3] but input 2 is [3, 4]: they differ off axis 1");
    expect_refused(run_layer("concat", "axis=2"), 2, sums, PQ_ERR_SHAPE,
                   "axis 2 is not an axis of [4, 3]");
    expect_refused(run_layer("masked_pool", ""), 2,
                   (const pq_shape[]){PQ_SHAPE(40, 7), PQ_SHAPE(40)}, PQ_ERR_SHAPE,
                   "input 0 is [40, 7] but the mask is [40], not [40, 1]");
    expect_refused(run_layer("masked_pool", ""), 2,
                   (const pq_shape[]){PQ_SHAPE(40), PQ_SHAPE(40, 1)}, PQ_ERR_SHAPE,
                   "input 0 is [40], not [rows, channels]");
    expect_one(run_layer("slice", "from=3; to=3"), PQ_SHAPE(2, 5),
               "features 3 to 3 are not a part of the last axis of [2, 5]");
    expect_one(run_layer("slice", "to=6"), PQ_SHAPE(2, 5),
               "features 0 to 6 are not a part of the last axis of [2, 5]");
    expect_one(run_layer("slice", ""), (pq_shape){0},
               "features 0 to 0 are not a part of the last axis of []");
    expect_refused(run_layer("clip", "lo=7"), 1, sums, PQ_ERR_RANGE,
                   "lo = 7 is above hi = 6");
    expect_one(run_layer("softmax", ""), (pq_shape){0},
               "the input has no axis to sum over");
    expect_one(run_layer("global_avg_pool", ""), PQ_SHAPE(4),
               "the input is [4], not [positions, channels]");
    expect_one(run_layer("pad", ""), PQ_SHAPE(4, 4),
               "the input is [4, 4], not an image [height, width, channels]");
    expect_one(run_layer("subsample", ""), PQ_SHAPE(0, 4, 4),
               "the input is [0, 4, 4], not an image [height, width, channels]");
    expect_one(run_layer("max_pool", "kernel_h=5"), PQ_SHAPE(4, 4, 2),
               "a window of 5x2 does not fit the input [4, 4, 2] padded to 4x4");
    expect_one(run_layer("avg_pool", "padding=explicit; pad_left=2"), PQ_SHAPE(4, 4, 2),
               "padding [0, 0, 2, 0] is not less than the window 2x2");
}

Test(shape, input_and_reshape_check_their_lists)
{
    expect_refused(run_layer("input", ""), 0, NULL, PQ_ERR_SHAPE,
                   "the input's shape has 0 axes, not 1..8");
    expect_refused(run_layer("input", "shape=[4,2.5]"), 0, NULL, PQ_ERR_SHAPE,
                   "size 1 of the input's shape is 2.5, not a whole number");
    expect_refused(run_layer("input", "shape=[65536,65536]"), 0, NULL, PQ_ERR_SHAPE,
                   "an input sample has more than 4294967295 values");
    expect_one(run_layer("reshape", "shape=[4,4]"), PQ_SHAPE(15),
               "the new shape does not hold the 15 values of the input");
    expect_one(run_layer("reshape", "shape=[-1,4]"), PQ_SHAPE(15),
               "the new shape does not hold the 15 values of the input");
    expect_one(run_layer("reshape", "shape=[-1,-1]"), PQ_SHAPE(15),
               "size 1 of the new shape is -1, not a count or the only -1");
    expect_one(run_layer("reshape", "shape=[0,-1]"), PQ_SHAPE(15),
               "size 0 of the new shape is 0, not a count or the only -1");
    expect_one(run_layer("reshape", "shape=[4294967295,4294967295,4294967295]"),
               PQ_SHAPE(15), "the new shape does not hold the 15 values of the input");
}

Test(shape, same_padding_is_that_of_tensorflow)
{
    /* in, kernel, stride, dilation -> out, padding before (tf.nn.convolution's formula by
     * hand) */
    static const size_t cases[][6] = {{5, 3, 1, 1, 5, 1},   {4, 3, 2, 1, 2, 0},
                                      {5, 3, 2, 1, 3, 1},   {224, 7, 2, 1, 112, 2},
                                      {32, 1, 2, 1, 16, 0}, {7, 3, 1, 2, 7, 2},
                                      {6, 2, 1, 1, 6, 0},   {3, 5, 3, 1, 1, 1}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const size_t    *c = cases[i];
        pq_window_params p = {.stride_h = (int64_t)c[2],
                              .stride_w = (int64_t)c[2],
                              .padding  = PQ_PADDING_SAME};
        pq_window        w = {
                   .kernel_h = c[1], .kernel_w = c[1], .dilation_h = c[3], .dilation_w = c[3]};
        cr_assert_eq(pq_window_place(&p, &PQ_SHAPE(c[0], c[0], 1), &w, NULL), PQ_OK);
        cr_expect_eq(w.out_h, c[4], "case %zu: %zu", i, w.out_h);
        cr_expect_eq(w.pad_left, c[5], "case %zu: %zu", i, w.pad_left);
    }
}

Test(shape, operations_are_counted_per_sample)
{
    pq_layer *dense = with_kernel("dense", "", PQ_SHAPE(64, 16));
    pq_layer *conv = with_kernel("conv2d", "padding=same;groups=2", PQ_SHAPE(8, 3, 3, 2));
    pq_shape  out;

    cr_assert_eq(dense->kind->shape(dense, 1, &PQ_SHAPE(5, 16), &out, NULL), PQ_OK);
    cr_expect_eq(dense->kind->macs(dense, 1, &PQ_SHAPE(5, 16), &out), 5 * 64 * 16);
    cr_assert_eq(conv->kind->shape(conv, 1, &PQ_SHAPE(32, 30, 4), &out, NULL), PQ_OK);
    cr_expect_eq(conv->kind->macs(conv, 1, &PQ_SHAPE(32, 30, 4), &out),
                 32 * 30 * 8 * 3 * 3 * 2);
    pq_layer_free(&dense);
    pq_layer_free(&conv);
}
