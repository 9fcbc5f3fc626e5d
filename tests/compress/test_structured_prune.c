#include "compress/wiring.h"
#include "nets.h"

/* 2 -> 4 -> relu -> 3 -> relu -> 2 by hand: rows of a have norms 5, 1, 3, 2. */
static pq_graph *by_hand(void)
{
    static const float a[] = {3, 4, 1, 0, 0, -3, 2, 0},
                       b[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 1, 1},
                       c[] = {1, 2, 3, 4, 5, 6}, bias[] = {0.5f, 0.25f, -1, 2};
    const struct {
        const char  *name;
        const float *kernel;
        pq_shape     shape;
    } dense[] = {
        {"a", a, PQ_SHAPE(4, 2)}, {"b", b, PQ_SHAPE(3, 4)}, {"c", c, PQ_SHAPE(2, 3)}};
    const char              *last    = "in";
    static const char *const relus[] = {"ra", "rb"};
    pq_graph                *g       = NULL;

    OK(pq_graph_create(&g, &err));
    net_input(g, "2");
    for (size_t i = 0; i < 3; i++) {
        pq_layer  *layer = net_layer("dense");
        pq_tensor *k = NULL, *v = NULL;
        OK(pq_tensor_create(PQ_DTYPE_F32, dense[i].shape, &k, &err));
        memcpy(k->data, dense[i].kernel, k->count * sizeof(float));
        OK(pq_layer_add_weight(layer, "kernel", k, &err));
        OK(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(dense[i].shape.dim[0]), &v, &err));
        memcpy(v->data, bias, v->count * sizeof(float));
        OK(pq_layer_add_weight(layer, "bias", v, &err));
        net_add(g, dense[i].name, layer, last);
        last = dense[i].name;
        if (i < 2) {
            net_plain(g, "relu", relus[i], last);
            last = relus[i];
        }
    }
    OK(pq_graph_check(g, &err));
    return g;
}

Test(structured_prune, least_rows_and_their_columns_go)
{
    static const float rows[] = {3, 4, 0, -3}, bias[] = {0.5f, -1},
                       columns[] = {5, 7, 9, 1};
    pq_graph        *g           = by_hand();
    pq_layer_change *changes;
    size_t           n;
    pq_graph *out = net_apply("structured_prune:target_sparsity=0.5,layers=a|b", g, NULL,
                              &changes, &n);

    /* a: norms 5, 1, 3, 2, two of four go; b: round(1.5) = 2 of three, the rows of norm
       5.5 and 9.2: the second row, of 13.2, stays. */
    cr_assert_eq(net_weight(out, "a", "kernel")->count, 4);
    cr_expect_eq(memcmp(pq_f32(net_weight(out, "a", "kernel")), rows, sizeof rows), 0);
    cr_expect_eq(memcmp(pq_f32(net_weight(out, "a", "bias")), bias, sizeof bias), 0);
    cr_assert_eq(net_weight(out, "b", "kernel")->count, 2);
    cr_expect_eq(
        memcmp(pq_f32(net_weight(out, "b", "kernel")), columns, 2 * sizeof *columns), 0);
    cr_expect_eq(pq_f32(net_weight(out, "c", "kernel"))[0], 2.0f);
    cr_expect_eq(pq_f32(net_weight(out, "c", "kernel"))[1], 5.0f);
    cr_assert_eq(n, 3);
    cr_expect_str_eq(changes[0].what, "2 of 4 outputs, 2 of 2 inputs kept");
    cr_expect_str_eq(changes[1].what, "1 of 3 outputs, 2 of 4 inputs kept");
    cr_expect_str_eq(changes[2].what, "2 of 2 outputs, 1 of 3 inputs kept");
    cr_expect_float_eq(changes[0].error, sqrt(5.0 / 39.0), 1e-12);
    pq_free(changes);
    pq_graph_free(&out);
    pq_graph_free(&g);
}

static size_t width(const pq_graph *g, const char *node)
{
    const pq_shape *shape = &net_node(g, node)->shape;

    return shape->dim[shape->ndim - 1];
}

Test(structured_prune, target_is_met_to_one_channel_in_every_layer)
{
    pq_graph *g = net_mlp(1);

    for (int percent = 0; percent <= 95; percent += 5) {
        char      text[64];
        pq_graph *out;
        (void)snprintf(text, sizeof text, "structured_prune:target_sparsity=%d%%",
                       percent);
        out = net_apply(text, g, NULL, NULL, NULL);
        cr_expect_eq(width(out, "fc1"), 64 - (size_t)round(percent * 64 / 100.0));
        cr_expect_eq(width(out, "fc2"), 32 - (size_t)round(percent * 32 / 100.0));
        cr_expect_eq(width(out, "fc3"), 32 - (size_t)round(percent * 32 / 100.0));
        cr_expect_eq(width(out, "out"), 5);
        pq_graph_free(&out);
    }
    pq_graph_free(&g);
}

Test(structured_prune, global_target_is_met_to_one_channel_of_all)
{
    static const char *const more[] = {"", ",normalize=false", ",criterion=l1",
                                       ",criterion=group_norm"};
    pq_graph                *g      = net_mlp(2);

    for (size_t i = 0; i < 4; i++) {
        for (int percent = 0; percent <= 95; percent += 5) {
            char      text[96];
            pq_graph *out;
            (void)snprintf(text, sizeof text,
                           "structured_prune:scope=global,target_sparsity=%d%%%s",
                           percent, more[i]);
            out = net_apply(text, g, NULL, NULL, NULL);
            cr_expect_eq(width(out, "fc1") + width(out, "fc2") + width(out, "fc3"),
                         128 - (size_t)round(percent * 128 / 100.0));
            pq_graph_free(&out);
        }
    }
    pq_graph_free(&g);
}

Test(structured_prune, nothing_asked_is_the_identity)
{
    pq_graph *g = net_residual(3);
    pq_graph *out =
        net_apply("structured_prune:target_sparsity=0,align=16", g, NULL, NULL, NULL);
    char before[65], after[65];

    OK(pq_graph_hash(g, before, &err));
    OK(pq_graph_hash(out, after, &err));
    cr_expect_str_eq(before, after);
    pq_graph_free(&out);
    pq_graph_free(&g);
}

/* sparsity, align, and what is left of 64 and 32. */
Test(structured_prune, widths_are_rounded_to_the_nearest_multiple)
{
    static const struct {
        const char *sparsity, *align;
        size_t      fc1, fc2;
    } cases[] = {
        {"0.5", "16", 32, 16},   {"0.6", "16", 32, 16},  {"0.3", "16", 48, 16},
        {"0.8", "auto", 16, 16}, {"0.9", "8", 8, 8},     {"0.3", "8", 48, 24},
        {"0.1", "16", 64, 32},   {"0.97", "32", 32, 32}, {"0.3", "1", 45, 22},
    };
    pq_graph *g = net_mlp(3);

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char      text[96];
        pq_graph *out;
        (void)snprintf(text, sizeof text, "structured_prune:target_sparsity=%s,align=%s",
                       cases[i].sparsity, cases[i].align);
        out = net_apply(text, g, NULL, NULL, NULL);
        cr_expect_eq(width(out, "fc1"), cases[i].fc1, "%s: %zu", text, width(out, "fc1"));
        cr_expect_eq(width(out, "fc2"), cases[i].fc2, "%s: %zu", text, width(out, "fc2"));
        pq_graph_free(&out);
    }
    pq_graph_free(&g);
}

Test(structured_prune, named_channels_go_and_no_others)
{
    pq_graph *g   = net_mlp(4);
    pq_graph *out = net_apply("structured_prune:channels=[31,0,7],layers=fc2|fc3", g,
                              NULL, NULL, NULL);
    const pq_tensor *all = net_weight(g, "fc3", "kernel"),
                    *w   = net_weight(out, "fc3", "kernel");

    cr_assert_eq(w->shape.dim[0], 29);
    cr_assert_eq(w->shape.dim[1], 29);
    for (size_t r = 0, at = 0; r < 32; r++) {
        for (size_t c = 0; c < 32; c++) {
            if (r != 0 && r != 7 && r != 31 && c != 0 && c != 7 && c != 31) {
                cr_expect_eq(pq_f32(w)[at++], pq_f32(all)[r * 32 + c]);
            }
        }
    }
    cr_expect_eq(width(out, "fc1"), 64);
    pq_graph_free(&out);
    pq_graph_free(&g);
}

/* conv1 is free; the stem, conv2 and the depthwise conv3 share a stream. */
Test(structured_prune, streams_go_together)
{
    static const char *const stream[] = {"stem", "bn0",  "conv2", "bn2",
                                         "add",  "pool", "conv3"};
    pq_graph                *g        = net_residual(5);
    pq_graph                *out =
        net_apply("structured_prune:target_sparsity=0.5", g, NULL, NULL, NULL);
    pq_graph *free = net_apply("structured_prune:target_sparsity=0.5,layers=conv1", g,
                               NULL, NULL, NULL);

    for (size_t i = 0; i < sizeof stream / sizeof *stream; i++) {
        cr_expect_eq(width(out, stream[i]), 3, "%s", stream[i]);
        cr_expect_eq(width(free, stream[i]), 6, "%s", stream[i]);
    }
    cr_expect_eq(width(out, "conv1"), 3);
    cr_expect_eq(width(free, "conv1"), 3);
    cr_expect_eq(
        ((const pq_conv2d_params *)net_node(out, "conv3")->layer->params)->groups, 3);
    pq_graph_free(&free);
    pq_graph_free(&out);
    pq_graph_free(&g);
}

static const char *change_of(const pq_layer_change *changes, size_t n, const char *layer)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(changes[i].layer, layer) == 0) {
            return changes[i].what;
        }
    }
    return "no change";
}

Test(structured_prune, rows_say_why_channels_stay)
{
    pq_layer_change *changes;
    size_t           n;
    pq_graph        *g = net_residual(6);
    pq_graph        *out =
        net_apply("structured_prune:target_sparsity=0.5,layers=conv1|conv2|out", g, NULL,
                  &changes, &n);

    cr_expect_str_eq(change_of(changes, n, "conv1"),
                     "3 of 6 outputs, 6 of 6 inputs kept");
    cr_expect_str_eq(change_of(changes, n, "bn1"), "3 of 6 channels kept");
    cr_expect_str_eq(change_of(changes, n, "conv2"),
                     "6 of 6 outputs, 3 of 6 inputs kept; 6 of its outputs stay: 'stem' "
                     "is not selected");
    cr_expect_str_eq(change_of(changes, n, "out"),
                     "5 of 5 outputs, 6 of 6 inputs kept; 5 of its outputs stay: "
                     "'softmax' needs all of its inputs");
    cr_expect_str_eq(change_of(changes, n, "stem"), "no change");
    pq_free(changes);
    pq_graph_free(&out);
    pq_graph_free(&g);
}

Test(structured_prune, batch_norm_goes_by_gamma)
{
    pq_graph *g   = net_residual(7);
    pq_graph *out = net_apply(
        "structured_prune:target_sparsity=0.34,criterion=batch_norm,layers=conv1", g,
        NULL, NULL, NULL);
    const pq_tensor *gamma = net_weight(g, "bn1", "gamma"),
                    *left  = net_weight(out, "bn1", "gamma");
    size_t at              = 0;

    cr_assert_eq(left->count, 4);
    for (size_t c = 0; c < 6; c++) {
        size_t smaller = 0;
        for (size_t k = 0; k < 6; k++) {
            smaller += pq_f32(gamma)[k] < pq_f32(gamma)[c] ? 1 : 0;
        }
        if (smaller >= 2) {
            cr_expect_eq(pq_f32(left)[at++], pq_f32(gamma)[c]);
        }
    }
    pq_graph_free(&out);
    pq_graph_free(&g);
}

/* The channel whose loss costs the readers least, found by running without each. */
Test(structured_prune, activation_takes_what_readers_miss_least)
{
    pq_graph        *g     = net_mlp(8), *out;
    const size_t     last  = g->output;
    pq_calib        *calib = NULL;
    pq_apply_options with  = {0};
    double           least = HUGE_VAL;
    size_t           due = 0, got = 0, count;
    float           *x;

    OK(pq_calib_create(g, &calib, &err));
    g->output = pq_graph_find(g, "relu1");
    x         = net_run(g, 20, &count);
    OK(pq_calib_add_gram(calib, g, pq_graph_find(g, "fc2"), 20, x, &err));
    pq_free(x);
    g->output  = last;
    with.calib = calib;
    out =
        net_apply("structured_prune:target_sparsity=0.02,criterion=activation,layers=fc1",
                  g, &with, NULL, NULL);
    g->output = pq_graph_find(g, "fc2");
    for (size_t c = 0; c < 64; c++) {
        pq_graph *zero = NULL;
        size_t    n;
        float    *full, *less;
        double    loss = 0.0;
        OK(pq_graph_clone(g, &zero, &err));
        for (size_t o = 0; o < 32; o++) {
            pq_f32(net_weight(zero, "fc2", "kernel"))[o * 64 + c] = 0.0f;
        }
        OK(pq_graph_check(zero, &err));
        full = net_run(g, 20, &n);
        less = net_run(zero, 20, &n);
        for (size_t i = 0; i < n; i++) {
            loss +=
                ((double)full[i] - (double)less[i]) * ((double)full[i] - (double)less[i]);
        }
        due   = loss < least ? c : due;
        least = fmin(loss, least);
        pq_free(full);
        pq_free(less);
        pq_graph_free(&zero);
    }
    cr_assert_eq(width(out, "fc1"), 63);
    while (got < 63 && pq_f32(net_weight(out, "fc1", "bias"))[got] ==
                           pq_f32(net_weight(g, "fc1", "bias"))[got]) {
        got++;
    }
    cr_expect_eq(got, due);
    pq_calib_free(&calib);
    pq_graph_free(&out);
    pq_graph_free(&g);
}

/* Per-channel scales go with their channels: what is left is still on its grid. */
Test(structured_prune, keeps_an_earlier_quantization_and_earlier_zeros)
{
    pq_graph *g      = net_mlp(9);
    pq_graph *sparse = net_apply("prune:target_sparsity=0.5", g, NULL, NULL, NULL);
    pq_graph *q = net_apply("quantize:activations=no,granularity=per_channel", sparse,
                            NULL, NULL, NULL);
    pq_graph *out =
        net_apply("structured_prune:target_sparsity=0.5", q, NULL, NULL, NULL);
    static const char *const names[] = {"fc1", "fc2", "fc3", "out"};

    for (size_t k = 0; k < 4; k++) {
        const pq_weight *w    = pq_node_kernel(net_node(out, names[k]));
        size_t           zero = 0;
        cr_assert_not_null(w->quant);
        cr_assert_not_null(w->pruned);
        cr_expect_eq(w->quant->n, w->value->shape.dim[0]);
        for (size_t i = 0; i < w->value->count; i++) {
            const float x = pq_f32(w->value)[i];
            cr_expect_eq(x, pq_quant_round(w->quant,
                                           pq_quant_index(w->quant, &w->value->shape, i),
                                           x));
            cr_expect(!pq_weight_is_pruned(w, i) || x == 0.0f);
            zero += pq_weight_is_pruned(w, i) ? 1 : 0;
        }
        cr_expect_gt(zero, 0);
        cr_expect_lt(zero, w->value->count);
    }
    pq_graph_free(&out);
    pq_graph_free(&q);
    pq_graph_free(&sparse);
    pq_graph_free(&g);
}

Test(structured_prune, refuses_in_one_sentence)
{
    static const struct {
        const char *text, *message;
        pq_status   status;
    } cases[] = {
        {"structured_prune",
         "structured_prune: exactly one of target_sparsity and channels must be given",
         PQ_ERR_CONFIG},
        {"structured_prune:target_sparsity=0.5,channels=[1]",
         "structured_prune: exactly one of target_sparsity and channels must be given",
         PQ_ERR_CONFIG},
        {"structured_prune:target_sparsity=1",
         "structured_prune: target_sparsity = 1 is not in 0..0.999999", PQ_ERR_RANGE},
        {"structured_prune:target_sparsity=-0.1",
         "structured_prune: target_sparsity = -0.1 is not in 0..0.999999", PQ_ERR_RANGE},
        {"structured_prune:channels=[1.5]",
         "structured_prune: channels[0] = 1.5 is not a whole number", PQ_ERR_RANGE},
        {"structured_prune:target_sparsity=0.99,layers=fc2",
         "layer 'fc2': target_sparsity = 0.99 would take 32 of the 32 channels that can "
         "go, but every layer must keep one: at most 31 can",
         PQ_ERR_RANGE},
        {"structured_prune:target_sparsity=0.99,scope=global",
         "layer 'fc1': target_sparsity = 0.99 would take 127 of the 128 channels that "
         "can go, but every layer must keep one: at most 125 can",
         PQ_ERR_RANGE},
        {"structured_prune:channels=[32],layers=fc2",
         "layer 'fc2': channel 32 is not in 0..31", PQ_ERR_RANGE},
        {"structured_prune:channels=[0],layers=out",
         "layer 'out': channel 0 cannot go: layer 'softmax' needs all of its inputs",
         PQ_ERR_UNSUPPORTED},
        {"structured_prune:target_sparsity=0.5,criterion=batch_norm",
         "layer 'fc1': criterion batch_norm has nothing to go by here: no BatchNorm with "
         "a gamma is behind it",
         PQ_ERR_UNSUPPORTED},
        {"structured_prune:target_sparsity=0.5,criterion=activation",
         "structured_prune needs calibration events with these parameters",
         PQ_ERR_CONFIG},
        {"structured_prune:sparsity=0.5",
         "structured_prune: unknown parameter 'sparsity'", PQ_ERR_CONFIG},
        {"structured_prune:target_sparsity=0.5,align=3",
         "structured_prune: align = '3' is not one of 1, 2, 4, 8, 16, 32, auto",
         PQ_ERR_CONFIG},
    };
    pq_graph *g = net_mlp(10);

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pq_err err;
        cr_expect_eq(net_refusal(cases[i].text, g, NULL, &err), cases[i].status, "%s",
                     cases[i].text);
        cr_expect_eq(strncmp(err.message, cases[i].message, strlen(cases[i].message)), 0,
                     "%s: %s", cases[i].text, err.message);
    }
    pq_graph_free(&g);
}

Test(structured_prune, refuses_the_last_channel_by_name)
{
    pq_graph *g = by_hand();
    pq_err    err;

    cr_expect_eq(net_refusal("structured_prune:channels=[0,1,2],layers=b", g, NULL, &err),
                 PQ_ERR_RANGE);
    cr_expect_str_eq(err.message,
                     "layer 'b': channel 2 cannot go: it is the last one of a layer");
    pq_graph_free(&g);
}

Test(structured_prune, survives_every_failed_allocation)
{
    pq_graph *g = net_residual(11);
    pq_graph *q = net_apply("quantize:activations=no", g, NULL, NULL, NULL);

    net_survives("structured_prune:target_sparsity=0.5,scope=global", q, NULL);
    net_survives("structured_prune:target_sparsity=0.5,form=mask", q, NULL);
    pq_graph_free(&q);
    pq_graph_free(&g);
}

/* The same shape as without, other weights, by the seed; zeros stay. */
Test(structured_prune, scratch_draws_the_pruned_shape_anew)
{
    static const char *const forms[] = {"shrink", "mask"};
    pq_graph                *g       = net_residual(12);

    for (size_t f = 0; f < 2; f++) {
        char             text[96];
        pq_apply_options seeds[2] = {{.seed = 1}, {.seed = 2}};
        pq_graph        *plain, *out[3];
        (void)snprintf(text, sizeof text, "structured_prune:target_sparsity=0.5,form=%s",
                       forms[f]);
        plain = net_apply(text, g, NULL, NULL, NULL);
        strcat(text, ",scratch=true");
        for (size_t i = 0; i < 3; i++) {
            out[i] = net_apply(text, g, &seeds[i / 2], NULL, NULL);
        }
        const pq_weight *w[4] = {pq_node_kernel(net_node(plain, "conv1")),
                                 pq_node_kernel(net_node(out[0], "conv1")),
                                 pq_node_kernel(net_node(out[1], "conv1")),
                                 pq_node_kernel(net_node(out[2], "conv1"))};
        size_t           same = 0;
        for (size_t i = 0; i < w[0]->value->count; i++) {
            cr_expect_eq(pq_f32(w[1]->value)[i], pq_f32(w[2]->value)[i]);
            cr_expect_eq(pq_f32(w[0]->value)[i] == 0.0f, pq_f32(w[1]->value)[i] == 0.0f);
            same += pq_f32(w[0]->value)[i] == pq_f32(w[1]->value)[i] ||
                            pq_f32(w[1]->value)[i] == pq_f32(w[3]->value)[i]
                        ? 1
                        : 0;
        }
        cr_expect(pq_shape_equal(&w[0]->value->shape, &w[1]->value->shape));
        cr_expect_eq(same, f == 0 ? 0 : w[0]->value->count * 3 / 4);
        for (size_t i = 0; i < 3; i++) {
            pq_graph_free(&out[i]);
        }
        pq_graph_free(&plain);
    }
    pq_graph_free(&g);
}

Test(structured_prune, scratch_refuses_grids)
{
    pq_graph *g = net_mlp(13);
    pq_graph *q = net_apply("quantize:activations=no", g, NULL, NULL, NULL);
    pq_err    err;

    cr_expect_eq(
        net_refusal("structured_prune:target_sparsity=0.5,scratch=true", q, NULL, &err),
        PQ_ERR_CONFIG);
    cr_expect_str_eq(
        err.message,
        "layer 'fc1' is quantized already: scratch draws weights that are on no grid");
    pq_graph_free(&q);
    pq_graph_free(&g);
}
