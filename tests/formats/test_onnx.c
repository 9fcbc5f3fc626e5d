#include "onnx_nets.h"

#include <math.h>

TestSuite(onnx, .init = setup, .fini = teardown);

static const double close_to = 1e-5;

/* ONNX's own order: image [C, H, W], kernel [OUT, C, 3, 3] with one cell of padding, then
 * items channel by channel into [CLASSES, OUT H W]. */
static void plain_net(const double *x, const pq_tensor *k, const pq_tensor *b,
                      const pq_tensor *d, double *y)
{
    double flat[OUT * H * W];

    for (int o = 0; o < OUT; o++) {
        for (int p = 0; p < H; p++) {
            for (int q = 0; q < W; q++) {
                double sum = (double)pq_f32(b)[o];
                for (int c = 0; c < C; c++) {
                    for (int i = 0; i < 9; i++) {
                        const int r = p + i / 3 - 1, s = q + i % 3 - 1;
                        if (r >= 0 && r < H && s >= 0 && s < W) {
                            sum += (double)pq_f32(k)[(o * C + c) * 9 + i] *
                                   x[(c * H + r) * W + s];
                        }
                    }
                }
                flat[(o * H + p) * W + q] = sum > 0.0 ? sum : 0.0;
            }
        }
    }
    for (int n = 0; n < CLASSES; n++) {
        y[n] = 0.0;
        for (int i = 0; i < OUT * H * W; i++) {
            y[n] += (double)pq_f32(d)[n * OUT * H * W + i] * flat[i];
        }
    }
}

Test(onnx, an_image_flattened_channel_by_channel_gives_what_onnx_means)
{
    double    x[C * H * W], turned[C * H * W], due[CLASSES], y[CLASSES];
    pq_graph *g = NULL;

    snprintf(path, sizeof path, "%s/net.onnx", folder);
    write_net();
    OK(pq_model_load(path, NULL, &g, err));
    cr_assert(pq_shape_equal(&g->nodes[0].shape, &PQ_SHAPE(H, W, C)));
    for (int i = 0; i < C * H * W; i++) {
        x[i]                                  = sin(1.0 + i);
        turned[i % (H * W) * C + i / (H * W)] = x[i];
    }
    plain_net(x, kernel, bias, dense, due);
    run_graph(g, turned, y);
    for (int n = 0; n < CLASSES; n++) {
        cr_assert_float_eq(y[n], due[n], close_to, "%d: %g, not %g", n, y[n], due[n]);
    }
    pq_graph_free(&g);
    free_net();
    cr_assert_eq(pq_memory_live(), 0);
}

Test(onnx, what_is_written_is_read_again_and_failed_allocations_write_nothing)
{
    pq_graph              *g = NULL, *again = NULL;
    const pq_model_format *onnx = NULL;
    char                   out[200];
    double                 x[C * H * W], y[2][CLASSES];
    pq_status              st = PQ_ERR_NOMEM;

    snprintf(path, sizeof path, "%s/net.onnx", folder);
    snprintf(out, sizeof out, "%s/out.onnx", folder);
    write_net();
    free_net();
    for (size_t i = 0; pq_formats[i] != NULL; i++) {
        onnx = strcmp(pq_formats[i]->name, "onnx") == 0 ? pq_formats[i] : onnx;
    }
    OK(pq_model_load(path, NULL, &g, err));
    const size_t live = pq_memory_live();
    for (size_t n = 0; st != PQ_OK; n++) {
        pq_memory_fail_after(n);
        st = onnx->save(g, out, NULL);
        pq_memory_fail_after(SIZE_MAX);
        cr_assert_eq(pq_memory_live(), live, "after %zu", n);
        cr_assert_eq(pq_file_exists(out), st == PQ_OK, "after %zu", n);
        cr_assert_lt(n, 4096);
    }
    OK(pq_model_load(out, NULL, &again, err));
    for (int i = 0; i < C * H * W; i++) {
        x[i] = sin(1.0 + i);
    }
    run_graph(g, x, y[0]);
    run_graph(again, x, y[1]);
    for (int n = 0; n < CLASSES; n++) {
        cr_assert_float_eq(y[0][n], y[1][n], 1e-12);
    }
    pq_graph_free(&g);
    pq_graph_free(&again);
}

/* Constants in nodes, whose arrays have names that nothing else has: exporters write
 * them, and they are no values. */
Test(onnx, names_of_arrays_within_nodes_are_no_values)
{
    static const float one = 1.0f;
    pq_graph          *g   = NULL;
    char               out[16], name[32];
    double             x[8] = {0.0}, y[8];

    for (int i = 0; i < 100; i++) {
        pq_text t = {0}, a = {0};
        (void)snprintf(name, sizeof name, "const_fold_opt__%d", i);
        pq_wire_put_int(&t, 2, 1);
        pq_wire_put_text(&t, 8, i == 1 ? "x" : i == 2 ? "y0" : name);
        pq_wire_put_bytes(&t, 9, &one, sizeof one);
        pq_wire_put_text(&a, 1, "value");
        pq_wire_put_message(&a, 5, &t);
        pq_wire_put_int(&a, 20, 4);
        (void)snprintf(out, sizeof out, "c%d", i);
        begin_node("Constant", "", out);
        pq_wire_put_message(&onnx_node, 5, &a);
        end_node();
        (void)snprintf(out, sizeof out, i < 99 ? "y%d" : "y", i);
        (void)snprintf(name, sizeof name, i == 0 ? "x c0" : "y%d c%d", i - 1, i);
        plain_node("Add", name, out);
    }
    snprintf(path, sizeof path, "%s/named.onnx", folder);
    put_port(11, "x", 2, flat8);
    put_port(12, "y", 2, flat8);
    write_onnx(path, 17, "test");
    OK(pq_model_load(path, NULL, &g, err));
    run_graph(g, x, y);
    for (size_t i = 0; i < 8; i++) {
        cr_expect_float_eq(y[i], 100.0, 1e-9);
    }
    pq_graph_free(&g);
    cr_expect_eq(pq_memory_live(), 0);
}

Test(onnx, a_sum_over_positions_is_that_of_each_channel)
{
    const int64_t in[] = {-1, 2, 2, 3}, out[] = {-1, 2}, axes[] = {2, -1};
    const float   one[4] = {1.0F, 0.0F, 0.0F, 1.0F};
    double        x[12], y[2], due[2] = {0.0, 0.0};
    pq_graph     *g = NULL;

    for (int i = 0; i < 12; i++) { /* ours: [height, width, channels] */
        x[i] = sin(1.0 + i);
        due[i % 2] += x[i];
    }
    put_raw("k", 1, PQ_SHAPE(2, 2, 1, 1), one, sizeof one);
    put_raw("a", 7, PQ_SHAPE(2), axes, sizeof axes);
    plain_node("Conv", "x k", "c");
    begin_node("ReduceSum", "c a", "y");
    put_int("keepdims", 0);
    end_node();
    put_port(11, "x", 4, in);
    put_port(12, "y", 2, out);
    snprintf(path, sizeof path, "%s/sum.onnx", folder);
    write_onnx(path, 17, "test");
    OK(pq_model_load(path, NULL, &g, err));
    run_graph(g, x, y);
    for (int c = 0; c < 2; c++) {
        cr_expect_float_eq(y[c], due[c], 1e-12, "%d: %g, not %g", c, y[c], due[c]);
    }
    pq_graph_free(&g);
}
