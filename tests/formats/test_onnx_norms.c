/* LayerNormalization: as an operator, and as the means, squares and roots it is written
 * as. */
#include "onnx_nets.h"

#include <math.h>

TestSuite(onnx_norms, .init = setup, .fini = teardown);

static void norm_of(float epsilon, pq_shape scale)
{
    const float ones[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    size_t      n        = 0;

    (void)pq_shape_count(&scale, &n);
    put_raw("s", 1, scale, ones, n * sizeof *ones);
    begin_node("LayerNormalization", "x s", "y");
    put_real(&onnx_node, 5, "epsilon", epsilon);
    end_node();
}

static void norm_below_0(void)
{
    norm_of(-0.5F, PQ_SHAPE(8));
}

static void norm_of_infinite_epsilon(void)
{
    norm_of((float)INFINITY, PQ_SHAPE(8));
}

static void norm_of_columns(void)
{
    norm_of(0.1F, PQ_SHAPE(8, 1));
}

static void norm_of_one(void)
{
    norm_of(0.1F, PQ_SHAPE(1));
}

/* m = the mean of x, c = x - m, v = the variance. */
static void begin_norm(void)
{
    put_number("zero", 0.0F);
    put_number("one", 1.0F);
    put_number("two", 2.0F);
    put_number("epsilon", 0.1F);
    begin_node("ReduceMean", "x", "m");
    put_ints("axes", 1, (const int64_t[]){-1});
    end_node();
    plain_node("Sub", "x m", "c");
    plain_node("Pow", "c two", "cc");
    begin_node("ReduceMean", "cc", "v");
    put_ints("axes", 1, (const int64_t[]){-1});
    end_node();
}

static void mean_alone(void)
{
    begin_norm();
    plain_node("Relu", "m", "y");
}

static void mean_out(void)
{
    begin_node("ReduceMean", "x", "y");
    put_ints("axes", 1, (const int64_t[]){1});
    end_node();
}

static void variance_of_another(void)
{
    begin_norm();
    plain_node("Relu", "x", "r");
    begin_node("ReduceMean", "r", "n");
    put_ints("axes", 1, (const int64_t[]){1});
    end_node();
    plain_node("Sub", "x n", "y");
}

static void root_of_x(void)
{
    plain_node("Sqrt", "x", "y");
}

static void cube(void)
{
    put_number("three", 3.0F);
    plain_node("Pow", "x three", "y");
}

static void bounded_variance(void)
{
    begin_norm();
    plain_node("Max", "v one", "y");
}

static void deviation_by_centered(void)
{
    begin_norm();
    plain_node("Add", "v epsilon", "ve");
    plain_node("Sqrt", "ve", "d");
    plain_node("Div", "d c", "y");
}

static void norm_by_operator(void)
{
    norm_of(0.1F, PQ_SHAPE(1, 8));
}

static void norm_by_root(void)
{
    begin_norm();
    plain_node("Add", "v epsilon", "ve");
    plain_node("Sqrt", "ve", "d");
    plain_node("Div", "c d", "y");
}

static void norm_by_inverse(void)
{
    begin_norm();
    plain_node("Add", "epsilon v", "ve");
    plain_node("Sqrt", "ve", "d");
    plain_node("Reciprocal", "d", "i");
    plain_node("Mul", "i c", "y");
}

/* As jax2onnx writes it: the mean of squares less the square of the mean. */
static void norm_by_squares(void)
{
    begin_norm();
    plain_node("Mul", "x x", "xx");
    begin_node("ReduceMean", "xx", "s");
    put_ints("axes", 1, (const int64_t[]){1});
    end_node();
    plain_node("Mul", "m m", "mm");
    plain_node("Sub", "s mm", "w");
    plain_node("Max", "w zero", "w0");
    plain_node("Add", "w0 epsilon", "we");
    plain_node("Sqrt", "we", "d");
    plain_node("Div", "one d", "i");
    plain_node("Mul", "c i", "y");
}

Test(onnx_norms, are_read_in_every_way_that_they_are_written)
{
    static void (*const put[])(void) = {norm_by_operator, norm_by_root, norm_by_inverse,
                                        norm_by_squares};
    const double x[]                 = {1.0, -2.0, 0.5, 3.0, 0.0, 0.25, -1.0, 2.0};
    double       y[8], mean = 0.0, square = 0.0;

    for (int i = 0; i < 8; i++) {
        mean += x[i] / 8.0;
        square += x[i] * x[i] / 8.0;
    }
    for (size_t k = 0; k < sizeof put / sizeof *put; k++) {
        put[k]();
        pq_graph *g = read_of(flat8, 2, flat8, 2);
        cr_assert_eq(g->n_nodes, 2, "case %zu", k);
        run_graph(g, x, y);
        for (int i = 0; i < 8; i++) {
            const double due = (x[i] - mean) / sqrt(square - mean * mean + (double)0.1F);
            cr_expect_float_eq(y[i], due, 1e-9, "case %zu: %g, not %g", k, y[i], due);
        }
        pq_graph_free(&g);
    }
}

static void norm_without_epsilon(void)
{
    norm_of(0.0F, PQ_SHAPE(8));
}

static void norm_of_large_epsilon(void)
{
    norm_of(2.0F, PQ_SHAPE(8));
}

static void root_without_epsilon(void)
{
    begin_norm();
    plain_node("Sqrt", "v", "d");
    plain_node("Div", "c d", "y");
}

Test(onnx_norms, may_add_nothing_or_much_to_the_variance)
{
    static const struct {
        void (*put)(void);
        double epsilon;
    } cases[]        = {{norm_without_epsilon, 0.0},
                        {root_without_epsilon, 0.0},
                        {norm_of_large_epsilon, 2.0}};
    const double x[] = {1.0, -2.0, 0.5, 3.0, 0.0, 0.25, -1.0, 2.0};
    double       y[8], mean = 0.0, square = 0.0;

    for (int i = 0; i < 8; i++) {
        mean += x[i] / 8.0;
        square += x[i] * x[i] / 8.0;
    }
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        cases[k].put();
        pq_graph *g = read_of(flat8, 2, flat8, 2);
        run_graph(g, x, y);
        for (int i = 0; i < 8; i++) {
            const double due =
                (x[i] - mean) / sqrt(square - mean * mean + cases[k].epsilon);
            cr_expect_float_eq(y[i], due, 1e-9, "case %zu: %g, not %g", k, y[i], due);
        }
        pq_graph_free(&g);
    }
}

Test(onnx_norms, a_norm_takes_the_scale_and_bias_behind_it)
{
    const float w[] = {1, 2, 3, 4, 5, 6, 7, 8};

    put_raw("w", 1, PQ_SHAPE(8), w, sizeof w);
    norm_by_root();
    plain_node("Mul", "w y", "n");
    plain_node("Add", "n w", "nw");
    plain_node("Add", "nw w", "z");
    put_port(11, "x", 2, flat8);
    put_port(12, "z", 2, flat8);
    snprintf(path, sizeof path, "%s/norm.onnx", folder);
    write_onnx(path, 17, "test");
    pq_graph *g = NULL;
    OK(pq_model_load(path, NULL, &g, err));
    cr_assert_eq(g->n_nodes, 3); /* the second bias is a line of its own */
    for (int i = 0; i < 8; i++) {
        cr_expect_eq(pq_f32(pq_layer_weight(g->nodes[1].layer, "gamma")->value)[i], w[i]);
        cr_expect_eq(pq_f32(pq_layer_weight(g->nodes[1].layer, "beta")->value)[i], w[i]);
    }
    pq_graph_free(&g);
}

static const struct {
    void (*put)(void);
    const char *says;
} refused[] = {
    {norm_below_0, "node 'y': LayerNormalization: epsilon = -0.5 is not in 0..1e+30"},
    {norm_of_infinite_epsilon, "node 'y': LayerNormalization: epsilon = inf is not in"},
    {norm_of_columns, "its gamma is [8, 1], but the channels are [8]"},
    {norm_of_one, "its gamma is [1], but the channels are [8]"},
    {mean_alone,
     "input 'm' is a part of a formula with Erf, Exp, a comparison or a mean"},
    {mean_out, "output 'y' is no activations that its input makes"},
    {variance_of_another, "a formula with a mean over the last axis is not LayerNorm"},
    {root_of_x, "node 'y': Sqrt: of activations it is read only as a part of LayerNorm"},
    {cube, "node 'y': Pow: it is read only as a square, as a part of LayerNorm"},
    {bounded_variance, "node 'y': Max: a variance is at least 1, not 0"},
    {deviation_by_centered, "node 'y': Div: a formula with a mean over the last axis"},
};

Test(onnx_norms, that_are_none_are_refused_by_name)
{
    for (size_t k = 0; k < sizeof refused / sizeof *refused; k++) {
        refused[k].put();
        expect(refusal(17, flat8, 2), refused[k].says);
    }
}
