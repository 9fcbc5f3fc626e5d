/* One layer of every kind there is, in its variants: what every walk over the kinds
 * takes. */
#ifndef PQ_TESTS_LAYERS_CASES_H
#define PQ_TESTS_LAYERS_CASES_H

#include <stddef.h>

#include "tensor/tensor.h"

enum { RUN_MAX = 4 /* inputs, or weights */ };

typedef struct {
    const char *kind, *attributes;
    size_t      n_in;
    pq_shape    in[RUN_MAX];
    struct {
        const char *name;
        pq_shape    shape;
    } weights[RUN_MAX];
} layer_case;

#define S(...)                                                                           \
    {                                                                                    \
        sizeof((size_t[]){__VA_ARGS__}) / sizeof(size_t),                                \
        {                                                                                \
            __VA_ARGS__                                                                  \
        }                                                                                \
    }

static const layer_case layer_cases[] = {
    {"dense", "", 1, {S(5)}, {{"kernel", S(3, 5)}, {"bias", S(3)}}},
    {"dense", "", 1, {S(2, 7)}, {{"kernel", S(11, 7)}}},
    {"conv2d", "", 1, {S(5, 4, 3)}, {{"kernel", S(2, 3, 2, 3)}, {"bias", S(2)}}},
    {"conv2d",
     "padding=same; stride_h=2; stride_w=3",
     1,
     {S(6, 7, 2)},
     {{"kernel", S(9, 3, 3, 2)}, {"bias", S(9)}}},
    {"conv2d",
     "padding=same; dilation_h=2; dilation_w=3",
     1,
     {S(7, 8, 2)},
     {{"kernel", S(3, 3, 2, 2)}}},
    {"conv2d",
     "padding=explicit; pad_top=2; pad_left=1; pad_right=3; stride_w=2",
     1,
     {S(4, 5, 2)},
     {{"kernel", S(3, 3, 3, 2)}, {"bias", S(3)}}},
    {"conv2d",
     "padding=same; groups=2; stride_h=2",
     1,
     {S(5, 4, 4)},
     {{"kernel", S(6, 3, 3, 2)}, {"bias", S(6)}}},
    {"conv2d", "padding=same; groups=3", 1, {S(4, 4, 3)}, {{"kernel", S(6, 3, 3, 1)}}},
    {"conv2d",
     "padding=explicit; pad_top=5; pad_bottom=5; groups=2; dilation_h=2",
     1,
     {S(3, 3, 2)},
     {{"kernel", S(2, 2, 1, 1)}, {"bias", S(2)}}},
    {"tt_dense",
     "",
     1,
     {S(2, 12)},
     {{"core1", S(1, 2, 3, 2)},
      {"core2", S(2, 5, 2, 3)},
      {"core3", S(3, 1, 2, 1)},
      {"bias", S(10)}}},
    {"tt_dense", "", 1, {S(6)}, {{"core1", S(1, 4, 6, 1)}}},
    {"ring_dense",
     "",
     1,
     {S(2, 12)},
     {{"core1", S(3, 2, 3, 2)},
      {"core2", S(2, 5, 2, 3)},
      {"core3", S(3, 1, 2, 3)},
      {"bias", S(10)}}},
    {"ring_dense", "", 1, {S(6)}, {{"core1", S(2, 2, 3, 1)}, {"core2", S(1, 2, 2, 2)}}},
    {"tt_conv2d",
     "padding=same; stride_h=2",
     1,
     {S(5, 4, 6)},
     {{"window", S(1, 3, 2, 3)},
      {"core1", S(3, 2, 3, 2)},
      {"core2", S(2, 2, 2, 1)},
      {"bias", S(4)}}},
    {"batch_norm",
     "epsilon=0.01",
     1,
     {S(3, 2, 4)},
     {{"gamma", S(4)}, {"beta", S(4)}, {"mean", S(4)}, {"variance", S(4)}}},
    {"batch_norm",
     "",
     1,
     {S(5, 6)},
     {{"mean", S(6)}, {"variance", S(6)}, {"gamma", S(6)}}},
    {"batch_norm", "", 1, {S(6)}, {{"mean", S(6)}, {"variance", S(6)}, {"beta", S(6)}}},
    {"layer_norm", "epsilon=0.01", 1, {S(3, 2, 5)}, {{"gamma", S(5)}, {"beta", S(5)}}},
    {"layer_norm", "", 1, {S(7)}, {{"beta", S(7)}}},
    {"layer_norm", "", 1, {S(4, 6)}, {{0}}},
    {"softplus", "", 1, {S(40)}, {{0}}},
    {"relu", "", 1, {S(40)}, {{0}}},
    {"leaky_relu", "slope=0.2", 1, {S(40)}, {{0}}},
    {"leaky_relu", "slope=-0.3", 1, {S(40)}, {{0}}},
    {"clip", "lo=-0.5; hi=0.7", 1, {S(40)}, {{0}}},
    {"scale", "factor=-1.5", 1, {S(40)}, {{0}}},
    {"sign", "", 1, {S(40)}, {{0}}},
    {"sign", "zero=1", 1, {S(40)}, {{0}}},
    {"sign", "threshold=0.4", 1, {S(40)}, {{0}}},
    {"elu", "alpha=1.5", 1, {S(40)}, {{0}}},
    {"gelu", "form=exact", 1, {S(40)}, {{0}}},
    {"gelu", "form=tanh", 1, {S(40)}, {{0}}},
    {"sigmoid", "", 1, {S(40)}, {{0}}},
    {"tanh", "", 1, {S(40)}, {{0}}},
    {"softmax", "", 1, {S(7)}, {{0}}},
    {"softmax", "", 1, {S(3, 2, 5)}, {{0}}},
    {"max_pool", "", 1, {S(6, 5, 3)}, {{0}}},
    {"max_pool",
     "kernel_h=3; kernel_w=2; stride_h=2; stride_w=1; padding=same",
     1,
     {S(6, 5, 2)},
     {{0}}},
    {"max_pool",
     "kernel_h=3; kernel_w=3; stride_h=2; stride_w=2; padding=explicit; pad_top=1; "
     "pad_right=2",
     1,
     {S(6, 5, 2)},
     {{0}}},
    {"avg_pool", "", 1, {S(6, 5, 3)}, {{0}}},
    {"avg_pool",
     "kernel_h=3; kernel_w=3; stride_h=2; stride_w=2; padding=same",
     1,
     {S(6, 5, 2)},
     {{0}}},
    {"avg_pool",
     "kernel_h=3; kernel_w=2; stride_h=2; stride_w=1; padding=explicit; pad_top=2; "
     "pad_left=1; count_padding=true",
     1,
     {S(6, 5, 2)},
     {{0}}},
    {"global_max_pool", "", 1, {S(4, 3, 5)}, {{0}}},
    {"global_avg_pool", "", 1, {S(4, 3, 5)}, {{0}}},
    {"add", "", 3, {S(2, 3), S(2, 3), S(2, 3)}, {{0}}},
    {"multiply", "", 3, {S(2, 3), S(2, 3), S(2, 3)}, {{0}}},
    {"concat", "", 3, {S(2, 3), S(2, 1), S(2, 4)}, {{0}}},
    {"concat", "axis=0", 2, {S(2, 3, 2), S(4, 3, 2)}, {{0}}},
    {"concat", "axis=-2", 2, {S(2, 3, 2), S(2, 5, 2)}, {{0}}},
    {"concat", "", 1, {S(2, 3)}, {{0}}},
    {"flatten", "", 1, {S(2, 3, 4)}, {{0}}},
    {"reshape", "shape=[4,-1]", 1, {S(2, 3, 4)}, {{0}}},
    {"pad",
     "top=1; bottom=2; left=3; before=2; after=1; value=0.5",
     1,
     {S(2, 3, 4)},
     {{0}}},
    {"subsample", "stride_h=2; stride_w=3", 1, {S(5, 7, 3)}, {{0}}},
    {"slice", "from=2; to=5", 1, {S(3, 7)}, {{0}}},
    {"slice", "from=6", 1, {S(7)}, {{0}}},
    {"masked_pool", "mode=mean", 2, {S(7, 3), S(7, 1)}, {{0}}},
    {"masked_pool", "", 2, {S(7, 3), S(7, 1)}, {{0}}},
    {"masked_pool", "mode=max", 2, {S(7, 3), S(7, 1)}, {{0}}},
    {"dropout", "rate=0.3", 1, {S(9)}, {{0}}},
};

enum { N_LAYER_CASES = sizeof layer_cases / sizeof *layer_cases };

#endif
