/* Generated C in whole numbers, compiled and loaded, beside the engine `integer`. */
#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "codegen/codegen.h"
#include "core/file.h"
#include "exec/random_nets.h"

enum {
    BATCH  = 15, /* nets that are compiled in one go */
    EVENTS = 12,
    ITEMS  = 3 * 40 * 40 /* most of an input */
};

/* A net, what it was generated for, and its number in the batch. */
typedef struct {
    pq_graph *graph;
    uint64_t  seed;
} made;

static char folder[64];

static size_t items_of(const pq_shape *shape)
{
    size_t n = 0;

    (void)pq_shape_count(shape, &n);
    return n;
}

static void make_folder(void)
{
    (void)snprintf(folder, sizeof folder, "/tmp/pquant-whole-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}

static void remove_folder(void)
{
    char command[96];

    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    cr_expect_eq(system(command), 0);
}

TestSuite(whole, .init = make_folder, .fini = remove_folder);

/* Values that are far away, no numbers, and on the edge between two codes. */
static void hard_values(net *t, size_t n, float *x)
{
    const pq_quant *q = t->graph->nodes[0].quant;

    fill_normal(&t->rng, 1.5, n, x);
    for (size_t i = 0; i < n; i++) {
        const size_t draw = below(t, 12);
        if (draw == 0) {
            x[i] *= 1e30f;
        } else if (draw == 1 && q != NULL && pq_quant_has_codes(q)) {
            x[i] = NAN;
        } else if (draw < 5 && q != NULL && pq_quant_has_codes(q)) {
            x[i] = ((float)below(t, 64) - 31.5f) * q->scale[0];
        }
    }
}

/* Whether the last layer has no whole form: the answer is float32 then. */
static bool ends_in_floats(const pq_graph *g)
{
    const pq_node *last = &g->nodes[g->output];

    return last->quant == NULL && pq_layer_weight(last->layer, "kernel") == NULL;
}

static void compare(const made *m, const float *x, const float *y, size_t n)
{
    const size_t width = items_of(&m->graph->nodes[m->graph->output].shape);
    float       *due   = run_graph(m->graph, "integer", n, n, x);
    const bool   exact = !ends_in_floats(m->graph);

    for (size_t i = 0; i < n * width; i++) {
        const double apart = fabs((double)y[i] - (double)due[i]);
        cr_assert(y[i] == due[i] || (isnan(y[i]) && isnan(due[i])) ||
                      (!exact && apart <= 1e-5 * fmax(1.0, fabs((double)due[i]))),
                  "seed %llu: output %zu is %.9g, not %.9g", (unsigned long long)m->seed,
                  i, (double)y[i], (double)due[i]);
    }
    pq_free(due);
}

static void write_net(const made *m, size_t number, pq_codegen_isa isa)
{
    char               name[16], path[96];
    pq_codegen_summary summary;

    (void)snprintf(name, sizeof name, "net%zu", number);
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    OK(pq_codegen_write(m->graph, name, isa, path, &summary, &err));
}

/* Compiles net0 .. net<n-1> into one object, runs all, and forgets them. */
static void check_batch(made *nets, size_t n, const char *options)
{
    char   command[512], name[32];
    void  *object;
    float *x = pq_calloc(EVENTS * ITEMS, sizeof *x),
          *y = pq_calloc(EVENTS * ITEMS, sizeof *y);

    (void)snprintf(
        command, sizeof command,
        "cd '%s' && ${CC:-cc} -std=gnu11 %s -Wall -Wextra -Werror -shared -fPIC "
        "net*/net*[0-9].c -o nets.so -lm",
        folder, options);
    cr_assert_eq(system(command), 0, "seed %llu and on: %s",
                 (unsigned long long)nets[0].seed, command);
    (void)snprintf(command, sizeof command, "%s/nets.so", folder);
    object = dlopen(command, RTLD_NOW | RTLD_LOCAL);
    cr_assert_not_null(object, "%s", dlerror());
    for (size_t i = 0; i < n; i++) {
        net t = {.rng = pq_rng_stream(nets[i].seed, "events"), .graph = nets[i].graph};
        void (*run)(const float *, float *, size_t);
        (void)snprintf(name, sizeof name, "net%zu_runN", i);
        *(void **)&run = dlsym(object, name);
        cr_assert_not_null(*(void **)&run);
        hard_values(&t, EVENTS * items_of(&t.graph->nodes[0].shape), x);
        run(x, y, EVENTS);
        compare(&nets[i], x, y, EVENTS);
        pq_graph_free(&nets[i].graph);
    }
    cr_assert_eq(dlclose(object), 0);
    remove_folder();
    make_folder();
    pq_free(x);
    pq_free(y);
}

/* --- nets as they are made for triggers and images: every layer is whole --- */

static pq_quant *activations(net *t, bool fixed, int bits)
{
    const double lo = chance(t, 0.6) ? 0.0 : -2.0 * pq_rng_uniform(&t->rng);
    pq_quant    *q  = NULL;

    if (!fixed) {
        OK(pq_quant_create(PQ_QUANT_INTEGER, bits, lo < 0.0 && chance(t, 0.5), false,
                           PQ_QUANT_PER_TENSOR, 1, &q, &err));
        pq_quant_set_range(q, 0, lo, 0.5 + 4.0 * pq_rng_uniform(&t->rng), chance(t, 0.3));
        return q;
    }
    OK(pq_quant_create_fixed(lo < 0.0, (pq_overflow)below(t, 4), (pq_rounding)below(t, 7),
                             PQ_QUANT_PER_TENSOR, 1, &q, &err));
    const int fraction = (int)below(t, (size_t)bits);
    OK(pq_quant_set_fixed(q, 0, bits - fraction - (lo < 0.0 ? 1 : 0), fraction, &err));
    return q;
}

/* Some weights become 0, some outputs lose all of them. */
static void thin_out(net *t, pq_weight *w)
{
    const size_t length = w->value->count / w->value->shape.dim[0];
    const double kept   = pq_rng_uniform(&t->rng);

    for (size_t i = 0; i < w->value->count; i++) {
        if (!chance(t, kept) || (i / length % 5 == 3 && kept < 0.5)) {
            pq_f32(w->value)[i] = 0.0f;
        }
    }
}

static pq_layer *whole_kernel(net *t, pq_layer *layer, pq_shape shape, bool fixed,
                              int bits)
{
    const bool channels = chance(t, 0.6);
    const int  axis     = channels ? 0 : PQ_QUANT_PER_TENSOR;
    pq_weight *w;

    affine(&t->rng, layer, shape, chance(t, 0.8));
    w = pq_layer_weight(layer, "kernel");
    if (chance(t, 0.4)) {
        thin_out(t, w);
    }
    const size_t n = channels ? shape.dim[0] : 1;
    if (fixed) {
        OK(pq_quant_create_fixed(true, PQ_OVERFLOW_SAT, PQ_ROUND_RND_CONV, axis, n,
                                 &w->quant, &err));
        for (size_t i = 0; i < n; i++) {
            OK(pq_quant_set_fixed(w->quant, i, 1, bits - 2, &err));
        }
    } else {
        OK(pq_quant_create(PQ_QUANT_INTEGER, bits, true, true, axis, n, &w->quant, &err));
        for (size_t i = 0; i < n; i++) {
            pq_quant_set_range(w->quant, i, -1.0 - pq_rng_uniform(&t->rng), 1.0, true);
        }
    }
    OK(pq_quant_apply(w->quant, w->value, &err));
    return layer;
}

/* A bend behind the last layer, or none, and a grid. */
static void end_layer(net *t, bool fixed, int bits)
{
    static const char *const kinds[] = {"relu", "relu", "relu", "leaky_relu", "clip"};

    if (chance(t, 0.8)) {
        const char *kind  = kinds[below(t, 5)];
        pq_layer   *layer = make_layer(kind);
        if (strcmp(kind, "clip") == 0) {
            OK(pq_layer_set(layer, "lo", "-0.5", &err));
            OK(pq_layer_set(layer, "hi", "1.5", &err));
        }
        append(t, layer);
    }
    t->graph->nodes[t->graph->n_nodes - 1].quant = activations(t, fixed, bits);
}

static void add_block(net *t, bool fixed, int bits)
{
    const size_t in = shape_of(t)->dim[2];
    char         from[16];
    pq_layer    *layer = windowed(t, "conv2d");

    (void)snprintf(from, sizeof from, "%s", t->last);
    const bool residual = chance(t, 0.5);
    if (residual) { /* the shape stays */
        OK(pq_layer_set(layer, "padding", "same", &err));
        set(layer, "stride_h", 1);
        set(layer, "stride_w", 1);
    }
    append(t, whole_kernel(t, layer,
                           PQ_SHAPE(residual ? in : 1 + below(t, 40), 1 + below(t, 3),
                                    1 + below(t, 3), in),
                           fixed, bits));
    if (residual) {
        char sum[16];
        (void)snprintf(sum, sizeof sum, "%s", t->last);
        append2(t, make_layer("add"), chance(t, 0.5) ? sum : from, sum);
        (void)from;
    }
    end_layer(t, fixed, bits);
}

static made make_whole(uint64_t seed)
{
    static const char *const ends[] = {"global_avg_pool", "global_max_pool", "flatten"};
    net                      t      = {.rng = pq_rng_stream(seed, "whole")};
    const bool               image = chance(&t, 0.4), fixed = chance(&t, 0.4);
    const int                bits = 2 + (int)below(&t, 7);
    char                     shape[32];

    OK(pq_graph_create(&t.graph, &err));
    (void)snprintf(shape, sizeof shape, image ? "[%zu, 6, 3]" : "[%zu]",
                   image ? 4 + below(&t, 6) : 1 + below(&t, 70));
    add_input(t.graph, "in", shape);
    (void)snprintf(t.last, sizeof t.last, "in");
    OK(pq_graph_check(t.graph, &err));
    t.graph->nodes[0].quant = activations(&t, fixed, bits);
    for (size_t i = 0, n = 1 + below(&t, 3); image && i < n; i++) {
        const pq_shape *now = shape_of(&t);
        if (now->dim[0] > 2 && now->dim[1] > 2) {
            add_block(&t, fixed, bits);
        }
    }
    if (image) {
        append(&t, make_layer(ends[below(&t, 3)]));
        t.graph->nodes[t.graph->n_nodes - 1].quant = activations(&t, fixed, bits);
    }
    for (size_t i = 0, n = 1 + below(&t, 4); i < n; i++) {
        const size_t in = shape_of(&t)->dim[0];
        append(&t, whole_kernel(&t, make_layer("dense"),
                                PQ_SHAPE(1 + below(&t, i + 1 == n ? 6 : 70), in), fixed,
                                bits));
        if (i + 1 < n || chance(&t, 0.2)) {
            end_layer(&t, fixed, bits);
        }
    }
    if (chance(&t, 0.2)) {
        append(&t, make_layer("softmax"));
    }
    OK(pq_graph_check(t.graph, &err));
    return (made){t.graph, seed};
}

enum { TOLD = 67 * BATCH /* nets from one word to the next */ };

static size_t nets_in_all(void)
{
    return getenv("PQ_LONG") != NULL ? 10005 : 60;
}

/* Every variant that the processor has, one after the other from batch to batch. */
Test(whole, random_nets_give_the_bits_of_the_engine_integer, .timeout = 36000)
{
    made   nets[BATCH];
    size_t n = 0;

    for (uint64_t seed = 0; seed < nets_in_all(); seed++) {
        nets[n] = make_whole(seed);
        write_net(&nets[n], n, (pq_codegen_isa)(seed / BATCH % 4));
        if (++n == BATCH) {
            check_batch(nets, n, seed / BATCH % 5 == 3 ? "-O2" : "-O1");
            n = 0;
            if ((seed + 1) % TOLD == 0) {
                cr_log_warn("%zu nets are equal", (size_t)seed + 1);
            }
        }
    }
    cr_expect_eq(n, 0);
}

/* The engine: what it gives is what `integer` gives, of every batch size, and forks. */
Test(whole, the_engine_generated_gives_the_bits_of_integer, .timeout = 600)
{
    static const size_t batches[] = {1, 5, EVENTS};
    float              *x         = pq_calloc(EVENTS * ITEMS, sizeof *x);

    OK(setenv("XDG_CACHE_HOME", folder, 1) == 0 ? PQ_OK : PQ_ERR_IO);
    for (uint64_t seed = 20000; seed < 20006; seed++) {
        made m = make_whole(seed);
        net  t = {.rng = pq_rng_stream(seed, "events"), .graph = m.graph};
        hard_values(&t, EVENTS * items_of(&m.graph->nodes[0].shape), x);
        for (size_t b = 0; b < sizeof batches / sizeof *batches; b++) {
            float *y = run_graph(m.graph, "generated", batches[b], EVENTS, x);
            compare(&m, x, y, EVENTS);
            pq_free(y);
        }
        pq_graph_free(&m.graph);
    }
    pq_free(x);
}

/* A failed allocation is told: no line of the source is left out. */
Test(whole, failed_allocations_leave_nothing_out)
{
    net                t = {0};
    char              *due, *text, path[96], file[112];
    size_t             live, n;
    pq_codegen_summary summary;
    pq_status          st = PQ_ERR_NOMEM;

    OK(pq_graph_create(&t.graph, &err));
    add_input(t.graph, "x", "3");
    add_layer(t.graph, "y", make_layer("relu"), "x");
    OK(pq_quant_create(PQ_QUANT_INTEGER, 8, true, false, PQ_QUANT_PER_TENSOR, 1,
                       &t.graph->nodes[0].quant, &err));
    t.graph->nodes[0].quant->scale[0] = 0.25f;
    OK(pq_graph_check(t.graph, &err));
    (void)snprintf(path, sizeof path, "%s/net", folder);
    (void)snprintf(file, sizeof file, "%s/net.c", path);
    OK(pq_codegen_write(t.graph, "net", PQ_CODEGEN_PORTABLE, path, &summary, &err));
    OK(pq_file_read(file, 1 << 20, &due, &n, &err));
    live = pq_memory_live();
    for (size_t k = 0; st != PQ_OK; k++) {
        pq_memory_fail_after(k);
        st = pq_codegen_write(t.graph, "net", PQ_CODEGEN_PORTABLE, path, &summary, NULL);
        pq_memory_fail_after(SIZE_MAX);
        cr_assert_eq(pq_memory_live(), live, "after %zu", k);
        cr_assert(st == PQ_OK || st == PQ_ERR_NOMEM, "after %zu: %d", k, (int)st);
        cr_assert_lt(k, 4096);
    }
    OK(pq_file_read(file, 1 << 20, &text, &n, &err));
    cr_expect_str_eq(text, due);
    pq_free(text);
    pq_free(due);
    pq_graph_free(&t.graph);
}

/* Of nets of all kinds and modes many are refused, by the name of a layer; the others
 * give the same bits. */
Test(whole, nets_of_all_kinds_are_refused_or_right, .timeout = 36000)
{
    made   nets[BATCH];
    size_t n = 0, right = 0;

    for (uint64_t seed = 0; seed < 2 * nets_in_all(); seed++) {
        net                t       = make_net(seed, seed % 3 == 0);
        pq_err             refusal = {0};
        pq_codegen_summary summary;
        char               name[16], path[96];

        (void)snprintf(name, sizeof name, "net%zu", n);
        (void)snprintf(path, sizeof path, "%s/%s", folder, name);
        if (pq_codegen_write(t.graph, name, (pq_codegen_isa)(right / BATCH % 4), path,
                             &summary, &refusal) != PQ_OK) {
            cr_assert_eq(strncmp(refusal.message, "layer '", 7), 0, "%s",
                         refusal.message);
            pq_graph_free(&t.graph);
            continue;
        }
        nets[n++] = (made){t.graph, seed};
        right++;
        if (n == BATCH) {
            check_batch(nets, n, "-O1");
            n = 0;
        }
    }
    if (n > 0) {
        check_batch(nets, n, "-O1");
    }
    cr_expect_gt(right, nets_in_all() / 4, "only %zu were generated", right);
}
