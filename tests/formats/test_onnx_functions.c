/* Functions of a model's own: read as the nodes that they hold, or refused by name. */
#include "onnx_nets.h"

#include <math.h>

TestSuite(onnx_functions, .init = setup, .fini = teardown);

static double elu(double x, double alpha)
{
    return x > 0.0 ? x : alpha * expm1(x);
}

/* y = elu(x w + b) */
static void layer(const double *x, const pq_tensor *w, double alpha, double *y)
{
    for (int o = 0; o < WIDTH; o++) {
        double sum = (double)pq_f32(bias)[o];
        for (int i = 0; i < WIDTH; i++) {
            sum += x[i] * (double)pq_f32(w)[i * WIDTH + o];
        }
        y[o] = elu(sum, alpha);
    }
}

Test(onnx_functions, calls_give_what_their_nodes_give)
{
    double    x[WIDTH], m[WIDTH], h[WIDTH], y[WIDTH];
    pq_graph *g = NULL;

    snprintf(path, sizeof path, "%s/functions.onnx", folder);
    write_functions();
    OK(pq_model_load(path, NULL, &g, err));
    cr_assert_eq(g->n_nodes, 7); /* input, 2 x (dense, elu), elu, add */
    cr_expect_neq(pq_graph_find(g, "m same.h.m"), SIZE_MAX);
    for (int i = 0; i < WIDTH; i++) {
        x[i] = sin(1.0 + i);
    }
    layer(x, kernel, 0.5, m);
    layer(m, dense, 1.0, h); /* the slope is not given: ELU's own default */
    run_graph(g, x, y);
    for (int i = 0; i < WIDTH; i++) {
        const double due = elu(h[i], 1.0) + x[i];
        cr_expect_float_eq(y[i], due, 1e-6, "%d: %g, not %g", i, y[i], due);
    }
    pq_graph_free(&g);
    free_net();
    cr_assert_eq(pq_memory_live(), 0);
}

/* Softmax without an axis runs over all axes before opset 13, over the last one after. */
Test(onnx_functions, a_node_has_the_opset_of_its_function)
{
    const int64_t ports[] = {-1, 2, 3};

    for (int64_t opset = 11; opset <= 13; opset += 2) {
        pq_graph *g   = NULL;
        pq_err    why = {0};
        begin_function("Soft", "x", "y", "", opset);
        begin_node("Softmax", "x", "y");
        end_inner();
        end_function();
        begin_call("Soft", "x", "y");
        end_node();
        put_port(11, "x", 3, ports);
        put_port(12, "y", 3, ports);
        snprintf(path, sizeof path, "%s/soft.onnx", folder);
        write_onnx(path, 17, "test");
        (void)pq_model_load(path, NULL, &g, &why);
        cr_expect_eq(g != NULL, opset >= 13, "opset %d: %s", (int)opset, why.message);
        pq_graph_free(&g);
    }
}

static void function_of(const char *name, const char *op, bool is_call)
{
    begin_function(name, "x", "y", "", 17);
    if (is_call) {
        begin_call(op, "x", "y");
    } else {
        begin_node(op, "x", "y");
    }
    end_inner();
    end_function();
}

static void call(const char *name)
{
    begin_call(name, "x", "y");
    end_node();
}

static void itself(void)
{
    function_of("F", "F", true);
    call("F");
}

static void in_a_circle(void)
{
    function_of("F", "G", true);
    function_of("G", "H", true);
    function_of("H", "F", true);
    call("G");
}

static void nowhere(void)
{
    function_of("F", "Relu", false);
    call("G");
}

static void another_overload(void)
{
    function_of("F", "Relu", false);
    begin_call("F", "x", "y");
    pq_wire_put_text(&onnx_node, 8, "second");
    end_node();
}

static void inner_nowhere(void)
{
    function_of("F", "G", true);
    call("F");
}

static void many_inputs(void)
{
    function_of("F", "Relu", false);
    begin_call("F", "x x", "y");
    end_node();
}

static void no_input(void)
{
    function_of("F", "Relu", false);
    begin_call("F", "", "f");
    end_node();
    plain_node("Add", "x f", "y");
}

static void many_outputs(void)
{
    function_of("F", "Relu", false);
    begin_call("F", "x", "y z");
    end_node();
}

static void odd_attribute(void)
{
    function_of("F", "Relu", false);
    begin_call("F", "x", "y");
    put_int("beta", 1);
    end_node();
}

static void odd_reference(void)
{
    begin_function("F", "x", "y", "alpha", 17);
    begin_node("Elu", "x", "y");
    put_reference("alpha", "beta");
    end_inner();
    end_function();
    call("F");
}

static void reference_outside(void)
{
    begin_node("Elu", "x", "y");
    put_reference("alpha", "alpha");
    end_node();
}

static void twice(void)
{
    function_of("F", "Relu", false);
    function_of("F", "Tanh", false);
    call("F");
}

static void no_opset(void)
{
    begin_function("F", "x", "y", "", 0);
    begin_node("Relu", "x", "y");
    end_inner();
    end_function();
    call("F");
}

static void old_opset(void)
{
    begin_function("F", "x", "y", "", 5);
    begin_node("Relu", "x", "y");
    end_inner();
    end_function();
    call("F");
}

static void over_its_input(void)
{
    begin_function("F", "x", "x", "", 17);
    begin_node("Relu", "x", "x");
    end_inner();
    end_function();
    call("F");
}

static void input_twice(void)
{
    begin_function("F", "x x", "y", "", 17);
    begin_node("Relu", "x", "y");
    end_inner();
    end_function();
    call("F");
}

static void of_the_caller(void)
{
    begin_function("F", "x", "y", "", 17);
    begin_node("Add", "x outer", "y");
    end_inner();
    end_function();
    plain_node("Relu", "x", "outer");
    call("F");
}

static void no_output(void)
{
    begin_function("F", "x", "z", "", 17);
    begin_node("Relu", "x", "y");
    end_inner();
    end_function();
    begin_call("F", "x", "f");
    end_node();
    plain_node("Add", "x f", "y");
}

static void output_without_a_name(void)
{
    begin_function("F", "x", "-", "", 17);
    end_function();
    begin_call("F", "x", "f");
    end_node();
    plain_node("Add", "x f", "y");
}

/* F0 calls F1, … ; each does so `times` times. */
static void tower(int height, int times)
{
    char name[16], inner[16], in[16], out[16];

    for (int i = 0; i < height; i++) {
        snprintf(name, sizeof name, "F%d", i);
        snprintf(inner, sizeof inner, "F%d", i + 1);
        begin_function(name, "v0", i + 1 < height ? times == 2 ? "v2" : "v1" : "v0", "",
                       17);
        for (int k = 0; i + 1 < height && k < times; k++) {
            snprintf(in, sizeof in, "v%d", k);
            snprintf(out, sizeof out, "v%d", k + 1);
            begin_call(inner, in, out);
            end_inner();
        }
        end_function();
    }
    call("F0");
}

static void deep(void)
{
    tower(40, 1);
}

static void exponential(void)
{
    tower(30, 2);
}

/* One node of many inputs, called often. */
static void wide(void)
{
    begin_function("F", "x", "y", "", 17);
    for (int i = 0; i < 60000; i++) {
        pq_wire_put_text(&onnx_node, 1, "x");
    }
    pq_wire_put_text(&onnx_node, 2, "y");
    pq_wire_put_text(&onnx_node, 4, "Sum");
    end_inner();
    end_function();
    for (int i = 0; i < 5; i++) {
        call("F");
    }
}

static const struct {
    void (*put)(void);
    const char *says;
} hostile[] = {
    {itself, "node 'y/y': local.F: the function calls itself"},
    {in_a_circle, "node 'y/y/y/y': local.G: the function calls itself"},
    {nowhere, "node 'y': local.G: the operator is not read"},
    {another_overload, "node 'y': local.F: the operator is not read"},
    {inner_nowhere, "node 'y/y': local.G: the operator is not read"},
    {many_inputs, "node 'y': local.F: it has 2 inputs, but the function 1"},
    {no_input, "node 'f/y': Relu: input 0 is missing"},
    {many_outputs, "node 'y z': local.F: it has 2 outputs, but the function 1"},
    {odd_attribute, "node 'y': local.F: attribute 'beta' is none of the function"},
    {odd_reference, "asks for the attribute 'beta', which the function does not have"},
    {reference_outside, "node 'y': Elu: attribute 'alpha' is to be that of a function"},
    {twice, "function 'local.F' is there twice"},
    {no_opset, "the function holds the standard operator Relu, but names no opset"},
    {old_opset, "function 'local.F': opset 5 of the operators is not in 6..25"},
    {over_its_input, "value 'x' of the function is given twice"},
    {input_twice, "node 'y': local.F: input 'x' of it is there twice"},
    {of_the_caller, "node 'y/y': Add: input 'outer' is given by no earlier node"},
    {no_output, "node 'y': Add: input 'f' is given by no earlier node"},
    {output_without_a_name, "node 'f': Identity: input 0 is missing"},
    {deep, "functions call each other more than 32 deep"},
    {exponential, "calls of functions make more than 4096 nodes"},
    {wide, "calls of functions make more than 4096 nodes, or more than 65536 values"},
};

Test(onnx_functions, calls_that_cannot_be_read_are_refused_by_name)
{
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        hostile[i].put();
        expect(refusal(17, flat8, 2), hostile[i].says);
    }
}
