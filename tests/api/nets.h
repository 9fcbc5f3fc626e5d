/* A small network and events for the tests of the library's calls. */
#ifndef PQ_TEST_API_NETS_H
#define PQ_TEST_API_NETS_H

#include <criterion/criterion.h>
#include <math.h>
#include <pquant.h>
#include <string.h>

enum { IN = 6, HIDDEN = 8, OUT = 3, EVENTS = 900 };

static float net_kernel1[HIDDEN * IN], net_bias1[HIDDEN], net_kernel2[OUT * HIDDEN];

static inline pquant_array matrix(const void *data, pquant_dtype dtype, size_t n,
                                  size_t m)
{
    pquant_array a = {
        .data = (void *)(uintptr_t)data, .dtype = dtype, .ndim = m > 0 ? 2 : 1};

    a.shape[0] = n;
    a.shape[1] = m;
    return a;
}

/* Numbers between -1 and 1 that are the same everywhere. */
static inline void draw(float *out, size_t n, unsigned seed)
{
    for (size_t i = 0; i < n; i++) {
        seed   = seed * 1664525U + 1013904223U;
        out[i] = (float)((double)(seed >> 8) / (double)(1U << 23) - 1.0);
    }
}

static inline void draw_net(void)
{
    draw(net_kernel1, HIDDEN * IN, 1);
    draw(net_bias1, HIDDEN, 2);
    draw(net_kernel2, OUT * HIDDEN, 3);
}

/* 6-8-3 with relu and softmax. */
static inline pquant_model *make_net(void)
{
    const size_t    shape[] = {IN};
    pquant_builder *b       = pquant_builder_create();
    pquant_array    k1      = matrix(net_kernel1, PQUANT_FLOAT32, HIDDEN, IN);
    pquant_array    b1      = matrix(net_bias1, PQUANT_FLOAT32, HIDDEN, 0);
    pquant_array    k2      = matrix(net_kernel2, PQUANT_FLOAT32, OUT, HIDDEN);
    pquant_model   *model;

    draw_net();
    cr_assert_eq(pquant_builder_input(b, "x", 1, shape), 0);
    cr_assert_eq(pquant_builder_layer(b, "dense", "fc1", 0, NULL, NULL), 0);
    cr_assert_eq(pquant_builder_weight(b, "kernel", &k1), 0);
    cr_assert_eq(pquant_builder_weight(b, "bias", &b1), 0);
    cr_assert_eq(pquant_builder_layer(b, "relu", "act", 0, NULL, NULL), 0);
    cr_assert_eq(pquant_builder_layer(b, "dense", "fc2", 0, NULL, NULL), 0);
    cr_assert_eq(pquant_builder_weight(b, "kernel", &k2), 0);
    cr_assert_eq(pquant_builder_layer(b, "softmax", "out", 0, NULL, NULL), 0);
    model = pquant_builder_finish(b);
    pquant_builder_free(b);
    cr_assert_not_null(model, "%s", pquant_error());
    return model;
}

/* The same in plain loops. */
static inline void forward(const float *x, float *out)
{
    double h[HIDDEN], y[OUT], sum = 0.0;

    for (size_t o = 0; o < HIDDEN; o++) {
        h[o] = (double)net_bias1[o];
        for (size_t i = 0; i < IN; i++) {
            h[o] += (double)net_kernel1[o * IN + i] * (double)x[i];
        }
        h[o] = fmax(h[o], 0.0);
    }
    for (size_t o = 0; o < OUT; o++) {
        y[o] = 0.0;
        for (size_t i = 0; i < HIDDEN; i++) {
            y[o] += (double)net_kernel2[o * HIDDEN + i] * h[i];
        }
        sum += exp(y[o]);
    }
    for (size_t o = 0; o < OUT; o++) {
        out[o] = (float)(exp(y[o]) / sum);
    }
}

/* Events whose label is the network's own decision. */
static inline void make_events(float *x, int64_t *y)
{
    draw_net();
    draw(x, (size_t)EVENTS * IN, 7);
    for (size_t i = 0; i < EVENTS; i++) {
        float out[OUT];
        forward(x + i * IN, out);
        y[i] = out[1] > out[0] ? 1 : 0;
        y[i] = out[2] > out[y[i]] ? 2 : y[i];
    }
}

#endif
