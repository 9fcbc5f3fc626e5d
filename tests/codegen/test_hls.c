/* HLS C++, compiled with the open headers of ap_fixed (PQ_AP_TYPES) or ac_fixed
 * (PQ_AC_TYPES) and loaded, beside the engine `integer`. */
#include <dlfcn.h>

#include "codegen/whole_nets.h"
#include "core/file.h"

enum { BATCH = 5 /* nets that are compiled in one go */ };

TestSuite(hls, .init = make_folder, .fini = remove_folder);

static pq_status write_hls(const made *m, size_t number, pq_err *refusal)
{
    char               name[16], path[96];
    pq_codegen_summary summary;

    (void)snprintf(name, sizeof name, "net%zu", number);
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return pq_codegen_hls(m->graph, name, path, &summary, refusal);
}

/* All nets in one file, each in a namespace, behind functions of C. */
static void write_driver(size_t n, const char *header)
{
    char  path[96];
    FILE *f;

    (void)snprintf(path, sizeof path, "%s/all.cpp", folder);
    f = fopen(path, "w");
    cr_assert_not_null(f);
    (void)fprintf(f, "#include <cstddef>\n#include <%s>\n", header);
    for (size_t i = 0; i < n; i++) {
        (void)fprintf(
            f,
            "namespace n%zu {\n#include \"net%zu/net%zu.cpp\"\n}\n"
            "extern \"C\" void net%zu_run(const float *x, float *y, size_t n)\n{\n"
            "    using namespace n%zu;\n    static net%zu_input_t a[net%zu_INPUTS];\n"
            "    static net%zu_result_t b[net%zu_OUTPUTS];\n"
            "    for (size_t e = 0; e < n; e++) {\n"
            "        for (int i = 0; i < net%zu_INPUTS; i++) {\n"
            "            a[i] = (double)x[e * net%zu_INPUTS + i];\n        }\n"
            "        net%zu(a, b);\n"
            "        for (int i = 0; i < net%zu_OUTPUTS; i++) {\n"
            "            y[e * net%zu_OUTPUTS + i] = (float)b[i].to_double();\n"
            "        }\n    }\n}\n",
            i, i, i, i, i, i, i, i, i, i, i, i, i, i);
    }
    cr_assert_eq(fclose(f), 0);
}

/* Events of a net in reach of double: a far value is a power of ten beyond every grid. */
static void events_of(const made *m, size_t n, float *x)
{
    net t = {.rng = pq_rng_stream(m->seed, "events"), .graph = m->graph};

    hard_values(&t, n, x);
    for (size_t i = 0; i < n; i++) {
        x[i] = isnan(x[i]) ? 0.0f : x[i];
    }
}

static void compare(const made *m, const float *x, const float *y)
{
    const size_t width = items_of(&m->graph->nodes[m->graph->output].shape);
    float       *due   = run_graph(m->graph, "integer", EVENTS, EVENTS, x);

    for (size_t i = 0; i < EVENTS * width; i++) {
        cr_assert_eq(y[i], due[i], "seed %llu: output %zu is %.9g, not %.9g",
                     (unsigned long long)m->seed, i, (double)y[i], (double)due[i]);
    }
    pq_free(due);
}

static void check_batch(made *nets, size_t n, const char *types, const char *option,
                        const char *header)
{
    char   command[512], name[32];
    void  *object;
    float *x = pq_calloc(EVENTS * ITEMS, sizeof *x),
          *y = pq_calloc(EVENTS * ITEMS, sizeof *y);

    write_driver(n, header);
    (void)snprintf(command, sizeof command,
                   "cd '%s' && ${CXX:-c++} -O1 -w %s -I'%s' -shared -fPIC all.cpp -o "
                   "nets.so",
                   folder, option, types);
    cr_assert_eq(system(command), 0, "seed %llu and on: %s",
                 (unsigned long long)nets[0].seed, command);
    (void)snprintf(command, sizeof command, "%s/nets.so", folder);
    object = dlopen(command, RTLD_NOW | RTLD_LOCAL);
    cr_assert_not_null(object, "%s", dlerror());
    for (size_t i = 0; i < n; i++) {
        void (*run)(const float *, float *, size_t);
        (void)snprintf(name, sizeof name, "net%zu_run", i);
        *(void **)&run = dlsym(object, name);
        cr_assert_not_null(*(void **)&run);
        events_of(&nets[i], EVENTS * items_of(&nets[i].graph->nodes[0].shape), x);
        run(x, y, EVENTS);
        compare(&nets[i], x, y);
        pq_graph_free(&nets[i].graph);
    }
    cr_assert_eq(dlclose(object), 0);
    remove_folder();
    make_folder();
    pq_free(x);
    pq_free(y);
}

/* Slopes of 1/8 for most nets: those of 0.01 are refused. */
static void bend_by_powers_of_two(pq_graph *g, uint64_t seed)
{
    for (size_t i = 0; i < g->n_nodes && seed % 8 != 0; i++) {
        if (strcmp(g->nodes[i].layer->kind->name, "leaky_relu") == 0) {
            OK(pq_layer_set(g->nodes[i].layer, "slope", "0.125", &err));
        }
    }
}

/* ap_ufixed has no WRAP_SM, ac_fixed none at all; some nets keep it, and are refused. */
static void overflow_otherwise(pq_graph *g, uint64_t seed, bool ac)
{
    for (size_t i = 0; i < g->n_nodes; i++) {
        pq_quant *q = g->nodes[i].quant;
        if (q != NULL && q->overflow == PQ_OVERFLOW_WRAP_SM &&
            (ac || (!q->is_signed && seed % 8 != 1))) {
            q->overflow = PQ_OVERFLOW_WRAP;
        }
    }
}

/* A dense layer of 1 x 1 behind an input, both in fixed point, and what follows. */
static pq_graph *net_with(const char *kind)
{
    net t = {.rng = pq_rng_stream(1, "hls")};

    OK(pq_graph_create(&t.graph, &err));
    add_input(t.graph, "in", "[2]");
    (void)snprintf(t.last, sizeof t.last, "in");
    OK(pq_graph_check(t.graph, &err));
    t.graph->nodes[0].quant           = activations(&t, true, 6);
    t.graph->nodes[0].quant->overflow = PQ_OVERFLOW_SAT;
    append(&t, whole_kernel(&t, make_layer("dense"), PQ_SHAPE(2, 2), true, 6));
    if (kind != NULL) {
        append(&t, make_layer(kind));
    }
    return t.graph;
}

static void expect_refusal(pq_graph *g, const char *why)
{
    pq_err     refusal = {0};
    const made m       = {g, 0};

    cr_expect_eq(write_hls(&m, 0, &refusal), PQ_ERR_UNSUPPORTED);
    cr_expect_not_null(strstr(refusal.message, why), "%s", refusal.message);
    pq_graph_free(&g);
}

Test(hls, what_has_no_exact_form_is_refused_by_name)
{
    pq_graph *g = net_with(NULL);

    g->nodes[0].quant->scheme = PQ_QUANT_INTEGER;
    expect_refusal(g, "layer 'in': its values are on a grid of scheme integer");
    g = net_with(NULL);
    pq_quant_free(&g->nodes[0].quant);
    expect_refusal(g, "layer 'in': its values are on no grid");
    g                                                           = net_with(NULL);
    pq_layer_weight(g->nodes[1].layer, "kernel")->quant->scheme = PQ_QUANT_NF4;
    expect_refusal(g, "layer 'l0': its kernel has no whole-number codes");
    expect_refusal(net_with("softmax"), "layer 'l1': softmax has no exact form in fixed "
                                        "point (--logits");
    expect_refusal(net_with("sigmoid"), "layer 'l1': sigmoid has no exact form");
    expect_refusal(net_with("leaky_relu"), "layer 'l1': its slope 0.01 is no power");
}

Test(hls, nothing_is_written_over_that_is_not_ours)
{
    const made m = {net_with(NULL), 0};
    char       path[96];
    pq_err     refusal = {0};
    pq_graph  *g       = m.graph;

    OK(write_hls(&m, 0, &err));
    OK(write_hls(&m, 0, &err));
    (void)snprintf(path, sizeof path, "%s/net0/net0.cpp", folder);
    OK(pq_file_write(path, "mine", 4, &err));
    cr_expect_eq(write_hls(&m, 0, &refusal), PQ_ERR_CONFIG);
    cr_expect_not_null(strstr(refusal.message, "is not one that pquant wrote"));
    pq_graph_free(&g);
}

Test(hls, failed_allocations_write_no_half_a_source)
{
    const made m  = {net_with("relu"), 0};
    pq_graph  *g  = m.graph;
    pq_status  st = PQ_ERR_NOMEM;

    const size_t live = pq_memory_live();
    for (size_t k = 0; st != PQ_OK; k++) {
        pq_memory_fail_after(k);
        st = write_hls(&m, 0, NULL);
        pq_memory_fail_after(SIZE_MAX);
        cr_assert_eq(pq_memory_live(), live, "after %zu", k);
        cr_assert(st == PQ_OK || st == PQ_ERR_NOMEM, "after %zu: %d", k, (int)st);
        cr_assert_lt(k, 4096);
    }
    pq_graph_free(&g);
}

/* Random nets in fixed point: refused by the name of a layer, or the same bits. */
static void random_nets(const char *variable, const char *option, const char *header)
{
    const char  *types  = getenv(variable);
    const size_t in_all = getenv("PQ_LONG") != NULL ? 300 : 15;
    made         nets[BATCH];
    size_t       n = 0, right = 0, refused = 0;

    if (types == NULL) {
        cr_skip_test("skipped: %s names no folder with %s", variable, header);
    }
    for (uint64_t seed = 0; seed < in_all; seed++) {
        pq_err refusal = {0};
        nets[n]        = make_whole_of(seed, 1.0, 0.0);
        bend_by_powers_of_two(nets[n].graph, seed);
        overflow_otherwise(nets[n].graph, seed, strcmp(header, "ac_fixed.h") == 0);
        if (write_hls(&nets[n], n, &refusal) != PQ_OK) {
            cr_assert_eq(strncmp(refusal.message, "layer '", 7), 0, "%s",
                         refusal.message);
            if (getenv("PQ_LOUD") != NULL) {
                (void)fprintf(stderr, "%s\n", refusal.message);
            }
            pq_graph_free(&nets[n].graph);
            refused++;
            continue;
        }
        right++;
        if (++n == BATCH) {
            check_batch(nets, n, types, option, header);
            n = 0;
        }
    }
    if (n > 0) {
        check_batch(nets, n, types, option, header);
    }
    cr_log_info("%zu nets are equal, %zu were refused", right, refused);
    cr_expect_gt(right, in_all / 2, "only %zu were generated", right);
}

Test(hls, random_nets_give_the_bits_of_the_engine_integer_in_ap_fixed, .timeout = 7200)
{
    random_nets("PQ_AP_TYPES", "", "ap_fixed.h");
}

Test(hls, random_nets_give_the_bits_of_the_engine_integer_in_ac_fixed, .timeout = 7200)
{
    random_nets("PQ_AC_TYPES", "-DPQUANT_AC_TYPES", "ac_fixed.h");
}
