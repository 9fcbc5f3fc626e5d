/* Kinds that exporters write as several operators. */
#include "onnx_nets.h"

#include <math.h>

TestSuite(onnx_formulas, .init = setup, .fini = teardown);

/* As tf2onnx writes it: both cases times their condition. */
static void elu_by_products(void)
{
    put_number("zero", 0.0F);
    put_number("alpha", 0.7F);
    plain_node("Greater", "x zero", "above");
    plain_node("Not", "above", "below");
    begin_node("Cast", "below", "below1");
    put_int("to", 1);
    end_node();
    begin_node("Cast", "above", "above1");
    put_int("to", 1);
    end_node();
    plain_node("Elu", "x", "e");
    plain_node("Mul", "alpha e", "ae");
    plain_node("Mul", "ae below1", "second");
    plain_node("Mul", "above1 e", "first");
    plain_node("Add", "first second", "y");
}

static void elu_by_where(void)
{
    put_number("zero", 0.0F);
    put_number("one", 1.0F);
    put_number("alpha", 0.7F);
    plain_node("Greater", "x zero", "above");
    plain_node("Exp", "x", "e");
    plain_node("Sub", "e one", "e1");
    plain_node("Mul", "e1 alpha", "low");
    plain_node("Where", "above x low", "y");
}

static void elu_of_elu(void)
{
    put_number("zero", 0.0F);
    put_number("alpha", 0.7F);
    plain_node("Less", "x zero", "below");
    plain_node("Elu", "x", "e");
    plain_node("Mul", "e alpha", "low");
    plain_node("Where", "below low e", "y");
}

static void leaky_by_where(void)
{
    put_number("zero", 0.0F);
    put_number("slope", 0.2F);
    plain_node("LessOrEqual", "zero x", "above");
    plain_node("Mul", "slope x", "low");
    plain_node("Where", "above x low", "y");
}

static void relu_by_where(void)
{
    put_number("zero", 0.0F);
    plain_node("GreaterOrEqual", "zero x", "below");
    plain_node("Where", "below zero x", "y");
}

static void gelu_by_erfc(void)
{
    put_number("half", 0.5F);
    put_number("root", 0.70710678F);
    plain_node("Mul", "half x", "h");
    plain_node("Neg", "x", "n");
    plain_node("Mul", "n root", "a");
    plain_node("Erfc", "a", "e");
    plain_node("Mul", "h e", "y");
}

static void gelu_by_minus_erf(void)
{
    put_number("half", 0.5F);
    put_number("one", 1.0F);
    put_number("root", -0.70710678F);
    plain_node("Mul", "x root", "a");
    plain_node("Erf", "a", "e");
    plain_node("Sub", "one e", "e1");
    plain_node("Mul", "x e1", "t");
    plain_node("Mul", "t half", "y");
}

static void gelu_halved(void)
{
    put_number("two", 2.0F);
    put_number("one", 1.0F);
    put_number("root", 1.41421356F);
    plain_node("Div", "x root", "a");
    plain_node("Erf", "a", "e");
    plain_node("Add", "e one", "e1");
    plain_node("Div", "e1 two", "g");
    plain_node("Mul", "x g", "y");
}

static void sum_of_none(void)
{
    begin_node("ReduceSum", "x", "y");
    put_int("noop_with_empty_axes", 1);
    end_node();
}

static double elu_07(double x)
{
    return x > 0.0 ? x : (double)0.7F * expm1(x);
}

static double leaky_02(double x)
{
    return x > 0.0 ? x : (double)0.2F * x;
}

static double relu(double x)
{
    return x > 0.0 ? x : 0.0;
}

static double gelu(double x)
{
    return 0.5 * x * (1.0 + erf(x / sqrt(2.0)));
}

static double same(double x)
{
    return x;
}

static const struct {
    void (*put)(void);
    double (*due)(double);
    const char *kind; /* of the one node that it becomes, or NULL */
} formulas[] = {
    {elu_by_products, elu_07, "elu"},  {elu_by_where, elu_07, "elu"},
    {elu_of_elu, elu_07, "elu"},       {leaky_by_where, leaky_02, "leaky_relu"},
    {relu_by_where, relu, "relu"},     {gelu_by_erfc, gelu, "gelu"},
    {gelu_by_minus_erf, gelu, "gelu"}, {gelu_halved, gelu, "gelu"},
    {sum_of_none, same, NULL},
};

Test(onnx_formulas, become_one_kind)
{
    const double x[] = {-3.0, -1.5, -0.3, -1e-4, 0.0, 1e-4, 0.8, 2.5};
    double       y[8];

    for (size_t k = 0; k < sizeof formulas / sizeof *formulas; k++) {
        formulas[k].put();
        pq_graph *g = read_of(flat8, 2, flat8, 2);
        if (formulas[k].kind == NULL) {
            cr_assert_eq(g->n_nodes, 1, "case %zu", k);
            pq_graph_free(&g);
            continue;
        }
        cr_assert_eq(g->n_nodes, 2, "case %zu: %zu nodes", k, g->n_nodes);
        cr_expect_str_eq(g->nodes[1].layer->kind->name, formulas[k].kind);
        run_graph(g, x, y);
        for (int i = 0; i < 8; i++) {
            cr_expect_float_eq(y[i], formulas[k].due(x[i]), 1e-7, "case %zu, %g: %g", k,
                               x[i], y[i]);
        }
        pq_graph_free(&g);
    }
    cr_assert_eq(pq_memory_live(), 0);
}

static void begin_gelu(void)
{
    put_number("half", 0.5F);
    put_number("one", 1.0F);
    put_number("root", 0.70710678F);
    plain_node("Mul", "x root", "a");
    plain_node("Erf", "a", "e");
    plain_node("Add", "e one", "e1");
}

static void divided_by_half(void)
{
    begin_gelu();
    plain_node("Div", "e1 half", "g");
    plain_node("Mul", "x g", "y");
}

static void divided_by_x(void)
{
    begin_gelu();
    plain_node("Mul", "e1 half", "g");
    plain_node("Div", "g x", "y");
}

static void half_taken_away(void)
{
    begin_gelu();
    plain_node("Sub", "e1 half", "g");
    plain_node("Mul", "x g", "y");
}

static void half_of_another(void)
{
    begin_gelu();
    plain_node("Relu", "x", "r");
    plain_node("Mul", "r e1", "y");
}

static void above_one(void)
{
    put_number("one", 1.0F);
    plain_node("Greater", "x one", "y");
}

static void condition_alone(void)
{
    put_number("zero", 0.0F);
    plain_node("Greater", "x zero", "c");
    plain_node("Relu", "c", "y");
}

static void condition_out(void)
{
    put_number("zero", 0.0F);
    plain_node("Greater", "x zero", "y");
}

static void both_above(void)
{
    put_number("zero", 0.0F);
    plain_node("Greater", "x zero", "c");
    plain_node("Mul", "c x", "a");
    plain_node("Add", "a a", "y");
}

static void another_below(void)
{
    put_number("zero", 0.0F);
    plain_node("Greater", "x zero", "c");
    plain_node("Tanh", "x", "t");
    plain_node("Where", "c x t", "y");
}

static void another_above(void)
{
    put_number("zero", 0.0F);
    plain_node("Greater", "x zero", "c");
    plain_node("Tanh", "x", "t");
    plain_node("Where", "c t x", "y");
}

static void chosen_by_numbers(void)
{
    plain_node("Tanh", "x", "t");
    plain_node("Where", "t x x", "y");
}

static void constant_below(void)
{
    put_number("zero", 0.0F);
    put_number("one", 1.0F);
    plain_node("Greater", "x zero", "c");
    plain_node("Where", "c x one", "y");
}

static void exp_alone(void)
{
    put_number("two", 2.0F);
    plain_node("Exp", "x", "e");
    plain_node("Sub", "e two", "y");
}

static void of_tensorflow(void)
{
    begin_node("StatefulPartitionedCall", "x", "y");
    pq_text a = {0};
    pq_wire_put_text(&a, 1, "f");
    pq_wire_put_text(&a, 4, "conv_xla");
    pq_wire_put_int(&a, 20, 3);
    pq_wire_put_message(&onnx_node, 5, &a);
    end_node();
}

static void sum_of_all(void)
{
    plain_node("ReduceSum", "x", "y");
}

static const struct {
    void (*put)(void);
    const char *says;
} refused[] = {
    {divided_by_half, "node 'g': Div: a formula with Erf is not that of GELU"},
    {divided_by_x, "node 'y': Div: a formula with Erf is not that of GELU"},
    {half_taken_away, "node 'g': Sub: a formula with Erf is not that of GELU"},
    {half_of_another, "node 'y': Mul: a formula with Erf is not that of GELU"},
    {above_one, "node 'y': Greater: it compares with 1; only with 0"},
    {condition_alone, "input 'c' is a part of a formula with Erf, Exp, a comparison or"},
    {condition_out, "output 'y' is no activations that its input makes"},
    {both_above, "a formula with a comparison is neither that of ELU nor of LeakyRelu"},
    {another_below, "what is chosen below 0 is neither alpha x nor alpha (exp(x) - 1)"},
    {another_above, "what is chosen above 0 is not x itself"},
    {chosen_by_numbers, "input 't' is not a comparison of activations with 0"},
    {constant_below, "a constant is chosen that is not the 0 of Relu"},
    {exp_alone, "a formula with Exp is not that of ELU"},
    {of_tensorflow, "it calls the function 'conv_xla' of TensorFlow, which is not in"},
    {sum_of_all, "without axes it would mix events"},
};

Test(onnx_formulas, that_are_none_are_refused_by_name)
{
    for (size_t k = 0; k < sizeof refused / sizeof *refused; k++) {
        refused[k].put();
        expect(refusal(17, flat8, 2), refused[k].says);
    }
}

Test(onnx_formulas, a_call_of_tensorflow_has_a_way_around)
{
    pq_err    why = {0};
    pq_graph *g   = NULL;

    of_tensorflow();
    put_port(11, "x", 2, flat8);
    put_port(12, "y", 2, flat8);
    snprintf(path, sizeof path, "%s/call.onnx", folder);
    write_onnx(path, 17, "test");
    cr_assert_eq(pq_model_load(path, NULL, &g, &why), PQ_ERR_UNSUPPORTED);
    cr_expect_not_null(strstr(why.hint, "model.save(\"net.keras\")"), "%s", why.hint);
}
