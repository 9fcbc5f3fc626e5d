/* Rows of all events one behind the other, as exporters write dense layers over rows. */
#include "onnx_nets.h"

#include <math.h>

TestSuite(onnx_rows, .init = setup, .fini = teardown);

static void put_list(const char *name, size_t n, const int64_t *values)
{
    put_raw(name, 7, PQ_SHAPE(n), values, n * sizeof *values);
}

enum { ROWS = 3, FEATURES = 4, MADE = 2 };

/* Rows x w + b, of rows of all events one behind the other, and the way back. */
static void rows_of_dense(const int64_t *first, const char *back)
{
    pq_tensor    *w     = noise(PQ_SHAPE(FEATURES, MADE), 8);
    pq_tensor    *b     = noise(PQ_SHAPE(MADE), 9);
    const int64_t two[] = {0, 2}, made[] = {MADE}, fixed[] = {-1, ROWS, MADE};

    put_floats("w", w);
    put_floats("b", b);
    put_list("first", 2, first);
    put_list("made", 1, made);
    put_list("from", 1, two);
    put_list("to", 1, two + 1);
    put_list("fixed", 3, fixed);
    plain_node("Reshape", "x first", "rows");
    plain_node("MatMul", "rows w", "m");
    plain_node("Add", "m b", "mb");
    plain_node("Relu", "mb", "r");
    plain_node("Shape", "x", "s");
    plain_node("Slice", "s from to", "lead");
    begin_node("Concat", "lead made", "computed");
    put_int("axis", 0);
    end_node();
    begin_node("Reshape", "", "y");
    put_names(&onnx_node, 1, "r");
    put_names(&onnx_node, 1, back);
    end_node();
    pq_tensor_free(&w);
    pq_tensor_free(&b);
}

Test(onnx_rows, rows_of_all_events_make_dense_layers_over_rows)
{
    const int64_t     in[] = {-1, ROWS, FEATURES}, out[] = {-1, ROWS, MADE};
    const int64_t     first[] = {-1, FEATURES};
    const char *const back[]  = {"computed", "fixed"};
    double            x[ROWS * FEATURES], y[ROWS * MADE];

    for (int i = 0; i < ROWS * FEATURES; i++) {
        x[i] = sin(1.0 + i);
    }
    for (size_t k = 0; k < 2; k++) {
        pq_tensor *w = noise(PQ_SHAPE(FEATURES, MADE), 8), *b = noise(PQ_SHAPE(MADE), 9);
        rows_of_dense(first, back[k]);
        pq_graph *g = read_of(in, 3, out, 3);
        cr_assert_eq(g->n_nodes, 3); /* input, dense with its bias, relu */
        run_graph(g, x, y);
        for (int i = 0; i < ROWS * MADE; i++) {
            double due = (double)pq_f32(b)[i % MADE];
            for (int f = 0; f < FEATURES; f++) {
                due +=
                    x[i / MADE * FEATURES + f] * (double)pq_f32(w)[f * MADE + i % MADE];
            }
            cr_expect_float_eq(y[i], due > 0.0 ? due : 0.0, 1e-9);
        }
        pq_graph_free(&g);
        pq_tensor_free(&w);
        pq_tensor_free(&b);
    }
}

/* Two features a row: items of an event in another grouping than its axes. */
Test(onnx_rows, rows_may_be_cut_anew)
{
    const int64_t in[] = {-1, ROWS, FEATURES}, cut[] = {-1, 2}, back[] = {-1, 12};
    double        x[ROWS * FEATURES], y[ROWS * FEATURES];

    put_list("cut", 2, cut);
    put_list("back", 2, back);
    plain_node("Reshape", "x cut", "rows");
    plain_node("Softmax", "rows", "s");
    plain_node("Reshape", "s back", "y");
    pq_graph *g = read_of(in, 3, back, 2);
    for (int i = 0; i < ROWS * FEATURES; i++) {
        x[i] = sin(1.0 + i);
    }
    run_graph(g, x, y);
    for (int i = 0; i < ROWS * FEATURES; i++) {
        cr_expect_float_eq(y[i], exp(x[i]) / (exp(x[i]) + exp(x[i ^ 1])), 1e-9);
    }
    pq_graph_free(&g);
}

static void rows_stay(void)
{
    const int64_t rows[] = {-1, 4};

    put_list("rows", 2, rows);
    plain_node("Reshape", "x rows", "y");
}

static void rows_are_joined(void)
{
    const int64_t rows[] = {-1, 4};

    put_list("rows", 2, rows);
    plain_node("Reshape", "x rows", "r");
    begin_node("Concat", "r r", "y");
    put_int("axis", 1);
    end_node();
}

static void rows_do_not_fit(void)
{
    const int64_t rows[] = {-1, 3};

    put_list("rows", 2, rows);
    plain_node("Reshape", "x rows", "y");
}

static void rows_of_another_number(void)
{
    const int64_t rows[] = {-1, 4}, back[] = {-1, 3};

    put_list("rows", 2, rows);
    put_list("back", 2, back);
    plain_node("Reshape", "x rows", "r");
    plain_node("Reshape", "r back", "y");
}

static void events_are_counted(void)
{
    const int64_t rows[] = {7, 8};

    put_list("rows", 2, rows);
    plain_node("Reshape", "x rows", "y");
}

Test(onnx_rows, rows_that_do_not_come_back_are_refused)
{
    static const struct {
        void (*put)(void);
        const char *says;
    } cases[] = {
        {rows_stay, "output 'y' has 2 rows of each event along the batch"},
        {rows_are_joined, "node 'y': Concat: input 'r' has 2 rows of each event"},
        {rows_do_not_fit, "node 'y': Reshape: 8 items of an event do not make"},
        {rows_of_another_number, "node 'y': Reshape: 8 items of an event do not make"},
        {events_are_counted, "its result does not keep the batch as the first axis"},
    };

    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        cases[k].put();
        expect(refusal(17, flat8, 2), cases[k].says);
    }
}
