/* Widths shared out among layers: by what a bit costs, to a mean, a size or a loss. */
#include "nets.h"

static int bits_of(const pq_graph *g, const char *name)
{
    return pq_layer_weight(net_node(g, name)->layer, "kernel")->quant->bits;
}

/* Two layers of the same size, fc2 and its like, so that only costs decide. */
static pq_graph *two_layers(void)
{
    pq_rng    rng = pq_rng_stream(31, "test");
    pq_graph *g   = NULL;

    OK(pq_graph_create(&g, &err));
    net_input(g, "16");
    net_add(g, "a", net_kernel(&rng, PQ_SHAPE(16, 16), true), "in");
    net_add(g, "b", net_kernel(&rng, PQ_SHAPE(16, 16), true), "a");
    OK(pq_graph_check(g, &err));
    return g;
}

Test(quantize_widths, a_budget_of_bytes_is_met_and_used)
{
    static const char *const rules[] = {"error", "range"};
    pq_graph                *g       = net_mlp(32);

    for (size_t bytes = 2333; bytes <= 5000; bytes += 333) {
        for (size_t r = 0; r < 2; r++) {
            char      text[128];
            pq_graph *out;
            snprintf(text, sizeof text,
                     "quantize:activations=no,budget_bytes=%zu,width_rule=%s", bytes,
                     rules[r]);
            out = net_apply(text, g, NULL, NULL, NULL);
            cr_expect_leq(pq_graph_stored_bytes(out), bytes, "%s", text);
            cr_expect_gt(pq_graph_stored_bytes(out) + 2048 / 8, bytes,
                         "%s: a bit of the largest layer would fit", text);
            pq_graph_free(&out);
        }
    }
    pq_graph_free(&g);
}

Test(quantize_widths, a_budget_that_cannot_be_met_is_refused_with_what_is_least)
{
    pq_graph *g = net_mlp(33);
    pq_err    err;

    cr_expect_eq(net_refusal("quantize:activations=no,budget_bytes=1000", g, NULL, &err),
                 PQ_ERR_RANGE);
    /* 4256 kernel values in 2 bits, 133 scales and 133 biases in 4 bytes */
    cr_expect_str_eq(err.message,
                     "budget_bytes = 1000 is below the 2128 bytes that 2 bits "
                     "everywhere take");
    pq_graph_free(&g);
}

/* An outlier widens the range, so that each bit there costs more. */
Test(quantize_widths, by_range_the_layer_with_outliers_keeps_more_bits)
{
    pq_graph *g = two_layers(), *out;

    pq_f32(net_weight(g, "b", "kernel"))[7] = 9.0f;
    out = net_apply("quantize:activations=no,average_bits=5,width_rule=range,"
                    "granularity=per_tensor",
                    g, NULL, NULL, NULL);
    cr_expect_eq(bits_of(out, "a") + bits_of(out, "b"), 10);
    cr_expect_gt(bits_of(out, "b"), bits_of(out, "a") + 1);
    pq_graph_free(&out);
    pq_graph_free(&g);
}

/* Outputs of a net whose layer a costs nothing, and whose layer b decides 4 % of the
 * events otherwise for each bit below 8, and so many percent more on any grid. */
static pq_status show_costs(void *context, const pq_graph *graph, size_t node,
                            pq_bench_seen seen, void *sink, pq_err *why)
{
    const pq_quant *grid = pq_layer_weight(net_node(graph, "b")->layer, "kernel")->quant;
    const size_t    more = *(const size_t *)context;
    const size_t    changed = grid == NULL ? 0 : more + 4 * (size_t)(8 - grid->bits);

    cr_expect_eq(node, graph->output);
    for (size_t i = 0; i < 100; i++) {
        float x[16]            = {0.0F};
        x[i < changed ? 1 : 0] = 3.0F;
        OK(seen(sink, 1, x, why));
    }
    return PQ_OK;
}

/* With 10 % b may lose two bits. */
Test(quantize_widths, by_loss_bits_go_while_the_changed_events_sum_to_no_more)
{
    size_t                 more    = 0;
    const pq_bench         bench   = {.events = 100, .run = show_costs, .context = &more};
    const pq_apply_options options = {.bench = &bench};
    pq_graph              *g       = two_layers(), *out;
    pq_err                 err;

    cr_expect_eq(net_refusal("quantize:activations=no,width_rule=loss,max_loss=0.1", g,
                             NULL, &err),
                 PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message,
                     "quantize needs calibration events with these parameters");
    out = net_apply("quantize:activations=no,width_rule=loss,max_loss=0.1", g, &options,
                    NULL, NULL);
    cr_expect_eq(bits_of(out, "a"), 2);
    cr_expect_eq(bits_of(out, "b"), 6);
    pq_graph_free(&out);
    out = net_apply("quantize:activations=no,width_rule=loss,max_loss=0", g, &options,
                    NULL, NULL);
    cr_expect_eq(bits_of(out, "b"), 8);
    pq_graph_free(&out);
    more = 6;
    cr_expect_eq(net_refusal("quantize:activations=no,width_rule=loss,max_loss=0.05", g,
                             &options, &err),
                 PQ_ERR_RANGE);
    cr_expect_str_eq(err.message, "max_loss = 0.05 is below the share of 0.06 of the "
                                  "events that 8 bits everywhere change");
    out = net_apply("quantize:activations=no,width_rule=loss,average_bits=4", g, &options,
                    NULL, NULL);
    cr_expect_eq(bits_of(out, "a"), 2, "first what is free");
    cr_expect_eq(bits_of(out, "b"), 6);
    pq_graph_free(&out);
    pq_graph_free(&g);
}

Test(quantize_widths, keys_that_contradict_or_do_nothing_are_refused)
{
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"quantize:average_bits=4,budget_bytes=100",
         "quantize: only one of average_bits, budget_bytes and max_loss can be met"},
        {"quantize:width_rule=loss",
         "quantize: width_rule = loss has no effect here: it is for average_bits, "
         "budget_bytes or max_loss (format is int)"},
        {"quantize:max_loss=0.1",
         "quantize: max_loss = 0.1 has no effect here: it is for "
         "width_rule = loss (format is int)"},
        {"quantize:format=nf4,budget_bytes=100",
         "quantize: budget_bytes = 100 has no effect here: it is for format = int or "
         "fixed "
         "(format is nf4)"},
        {"quantize:width_rule=loss,max_loss=1.5",
         "quantize: max_loss = 1.5 is not in 0..1"},
    };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        net_stage_refused(bad[i].text, bad[i].message);
    }
}

Test(quantize_widths, survives_every_failed_allocation)
{
    pq_graph *g = net_mlp(34);

    net_survives("quantize:activations=no,bits=3,budget_bytes=2500", g, NULL);
    pq_graph_free(&g);
}

/* Cores count with all their weights, in the mean and in the bytes. */
Test(quantize_widths, all_cores_of_a_layer_count)
{
    pq_graph        *g     = net_cores(4), *out;
    pq_calib        *calib = net_calibrate(g, 20);
    pq_apply_options how   = {.calib = calib};
    char             text[96];

    for (int bits = 3; bits <= 7; bits++) {
        snprintf(text, sizeof text, "quantize:activations=no,average_bits=%d", bits);
        out                = net_apply(text, g, &how, NULL, NULL);
        const pq_layer *fc = net_node(out, "fc")->layer;
        const double    mean =
            (84.0 * fc->weights[0].quant->bits + 36.0 * bits_of(out, "out")) / 120.0;
        cr_expect_eq(fc->weights[0].quant->bits, fc->weights[1].quant->bits);
        cr_expect_leq(mean, bits);
        cr_expect_gt(mean, bits - 84.0 / 120.0);
        const size_t bytes = pq_graph_stored_bytes(out);
        pq_graph_free(&out);
        snprintf(text, sizeof text, "quantize:activations=no,budget_bytes=%zu", bytes);
        out = net_apply(text, g, &how, NULL, NULL);
        cr_expect_eq(pq_graph_stored_bytes(out), bytes);
        pq_graph_free(&out);
    }
    pq_calib_free(&calib);
    pq_graph_free(&g);
}
