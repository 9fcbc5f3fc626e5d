/* Generated convolutions in tiles (AMX) beside the engine `integer`: lines of all
   lengths, on several threads, by every compiler; where there are no tiles, what runs
   instead. */
#include <pthread.h>

#include "codegen/whole_check.h"
#include "core/file.h"
#include "kernels/amx.h"

TestSuite(tiles, .init = make_folder, .fini = remove_folder);

typedef enum {
    ALONE,
    SUM,
    PAIR
} join; /* with its input: before the grid, or after one */

static const struct {
    const char *shape;
    size_t      in, out, kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w;
    const char *padding;
    join        with;
} cases[] = {
    {"[4, 4, 4]", 4, 16, 1, 1, 1, 1, 1, 1, "valid", ALONE},    /* the fewest sums */
    {"[16, 3, 4]", 4, 16, 1, 1, 1, 1, 1, 1, "valid", ALONE},   /* too short for tiles */
    {"[1, 16, 8]", 8, 16, 1, 1, 1, 1, 1, 1, "valid", ALONE},   /* one tile */
    {"[3, 16, 16]", 16, 16, 3, 3, 1, 1, 1, 1, "same", SUM},    /* three of four */
    {"[3, 17, 16]", 16, 16, 3, 3, 1, 1, 1, 1, "same", PAIR},   /* lines of 16 + 1 */
    {"[5, 31, 16]", 16, 17, 3, 3, 1, 1, 1, 1, "same", ALONE},  /* 16 + 15, one lane */
    {"[4, 33, 16]", 16, 48, 3, 3, 2, 2, 1, 1, "same", ALONE},  /* three panels */
    {"[32, 32, 3]", 3, 16, 3, 3, 1, 1, 1, 1, "same", ALONE},   /* 9 bytes of a segment */
    {"[8, 8, 64]", 64, 64, 3, 3, 1, 1, 1, 1, "same", PAIR},    /* three products each */
    {"[9, 7, 40]", 40, 33, 3, 3, 2, 1, 1, 1, "same", ALONE},   /* 30 blocks: 2 x 15 */
    {"[8, 9, 52]", 52, 20, 3, 3, 1, 1, 1, 1, "valid", ALONE},  /* 39: 3 x 13 */
    {"[8, 9, 45]", 45, 20, 3, 3, 1, 1, 1, 1, "valid", ALONE},  /* 34: 2 x 17, refused */
    {"[10, 20, 5]", 5, 8, 2, 3, 1, 1, 2, 2, "same", ALONE},    /* holes: cell by cell */
    {"[12, 24, 8]", 8, 8, 3, 1, 2, 3, 1, 1, "same", ALONE},    /* lines of 8, pitch 24 */
    {"[9, 18, 12]", 12, 12, 1, 5, 1, 1, 1, 1, "same", SUM},    /* no zeros above */
    {"[5, 13, 70]", 70, 10, 1, 1, 1, 1, 1, 1, "valid", ALONE}, /* 18 blocks: 2 x 9 */
};
enum { CASES = sizeof cases / sizeof *cases };

static void join_input(net *t, join with, bool fixed)
{
    char sum[16];

    if (with == PAIR) {
        t->graph->nodes[t->graph->n_nodes - 1].quant = activations(t, fixed, 8);
    }
    if (with != ALONE) {
        (void)snprintf(sum, sizeof sum, "%s", t->last);
        append2(t, make_layer("add"), "in", sum);
    }
}

/* The convolution of a case, of 8 bits, and another that ends in sums. */
static made make_case(size_t i, bool fixed)
{
    net       t     = {.rng = pq_rng_stream(i, "tiles")};
    pq_layer *layer = make_layer("conv2d");

    OK(pq_graph_create(&t.graph, &err));
    add_input(t.graph, "in", cases[i].shape);
    (void)snprintf(t.last, sizeof t.last, "in");
    OK(pq_graph_check(t.graph, &err));
    t.graph->nodes[0].quant = activations(&t, fixed, 8);
    set(layer, "stride_h", cases[i].stride_h);
    set(layer, "stride_w", cases[i].stride_w);
    set(layer, "dilation_h", cases[i].dilation_h);
    set(layer, "dilation_w", cases[i].dilation_w);
    OK(pq_layer_set(layer, "padding", cases[i].padding, &err));
    append(&t, whole_kernel(&t, layer,
                            PQ_SHAPE(cases[i].out, cases[i].kernel_h, cases[i].kernel_w,
                                     cases[i].in),
                            fixed, 8));
    join_input(&t, cases[i].with, fixed);
    end_layer(&t, fixed, 8);
    append(&t, whole_kernel(&t, make_layer("conv2d"), PQ_SHAPE(3, 1, 1, cases[i].out),
                            fixed, 8));
    OK(pq_graph_check(t.graph, &err));
    return (made){t.graph, i};
}

/* Every case, of both kinds of grids, by a compiler. */
static void check_cases(const char *options)
{
    made   nets[BATCH];
    size_t n = 0;

    for (size_t i = 0; i < 2 * (size_t)CASES; i++) {
        nets[n] = make_case(i / 2, i % 2 == 1);
        write_net(&nets[n], n, PQ_CODEGEN_AMX);
        if (++n == BATCH || i + 1 == 2 * (size_t)CASES) {
            check_batch(nets, n, options);
            n = 0;
        }
    }
}

Test(tiles, give_the_bits_of_the_engine_integer, .timeout = 600)
{
    check_cases("-O1");
}

Test(tiles, are_understood_by_clang, .timeout = 600)
{
    if (system("command -v clang >/dev/null") != 0) {
        cr_skip_test("no clang");
    }
    OK(setenv("CC", "clang", 1) == 0 ? PQ_OK : PQ_ERR_IO);
    check_cases("-O2");
}

typedef struct {
    const char *name, *hash, *isa;
    size_t      n_features;
    const void *features;
    size_t      n_classes;
    const void *classes;
} information;

/* One net as an object of its own. */
static void *load_case(const made *m, size_t number)
{
    char  command[512], path[96];
    void *object;

    write_net(m, number, PQ_CODEGEN_AMX);
    (void)snprintf(path, sizeof path, "%s/net%zu.so", folder, number);
    (void)snprintf(command, sizeof command,
                   "${CC:-cc} -O2 -shared -fPIC '%s/net%zu/net%zu.c' -o '%s' -lm", folder,
                   number, number, path);
    cr_assert_eq(system(command), 0, "%s", command);
    object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    cr_assert_not_null(object, "%s", dlerror());
    return object;
}

static const char *set_of(void *object, size_t number)
{
    char name[32];
    information (*info)(void);

    (void)snprintf(name, sizeof name, "net%zu_info", number);
    *(void **)&info = dlsym(object, name);
    cr_assert_not_null(*(void **)&info);
    return info().isa;
}

Test(tiles, run_where_they_pay_and_the_processor_has_them, .timeout = 120)
{
    static const struct {
        size_t number;
        bool   pays;
    } asked[] = {{0, true}, {1, false}, {12, true}};

    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        made   m      = make_case(asked[i].number, false);
        void  *object = load_case(&m, i);
        char   path[96], *text;
        size_t n;
        (void)snprintf(path, sizeof path, "%s/net%zu/net%zu.c", folder, i, i);
        OK(pq_file_read(path, 1 << 24, &text, &n, &err));
        cr_expect_eq(strstr(text, "_tile_dpbusd") != NULL, asked[i].pays, "case %zu",
                     asked[i].number);
        if (pq_amx_may(PQ_AMX_INT8)) {
            cr_expect_str_eq(set_of(object, i), asked[i].pays ? "amx" : "avx512",
                             "case %zu", asked[i].number);
        }
        cr_assert_eq(dlclose(object), 0);
        pq_free(text);
        pq_graph_free(&m.graph);
    }
}

/* What a thread runs, over and over, and what that must give. */
typedef struct {
    void (*run)(const float *, float *, size_t);
    const float *x;
    float       *y;
    const float *due;
    size_t       n;
    bool         same;
} runner;

static void *run_often(void *context)
{
    runner *r = context;

    r->same = true;
    for (size_t k = 0; k < 300; k++) {
        memset(r->y, 0, r->n * sizeof *r->y);
        r->run(r->x, r->y, EVENTS);
        r->same = r->same && memcmp(r->y, r->due, r->n * sizeof *r->y) == 0;
    }
    return NULL;
}

/* The shapes of tiles belong to a thread: nets of other shapes run beside. */
Test(tiles, keep_apart_the_threads_that_use_them, .timeout = 300)
{
    enum { THREADS = 4 };
    static const size_t numbers[THREADS] = {3, 8, 12, 15};
    made                m[THREADS];
    runner              r[THREADS] = {{0}};
    pthread_t           threads[THREADS];
    void               *objects[THREADS];
    float              *x[THREADS], *due[THREADS];

    for (size_t i = 0; i < THREADS; i++) {
        char name[32];
        m[i]       = make_case(numbers[i], false);
        net t      = {.rng = pq_rng_stream(i, "events"), .graph = m[i].graph};
        x[i]       = pq_calloc(EVENTS * ITEMS, sizeof *x[i]);
        objects[i] = load_case(&m[i], i);
        (void)snprintf(name, sizeof name, "net%zu_runN", i);
        *(void **)&r[i].run = dlsym(objects[i], name);
        hard_values(&t, EVENTS * items_of(&t.graph->nodes[0].shape), x[i]);
        r[i].x   = x[i];
        r[i].n   = EVENTS * items_of(&t.graph->nodes[t.graph->output].shape);
        r[i].y   = pq_calloc(r[i].n, sizeof *r[i].y);
        r[i].due = due[i] = run_graph(t.graph, "integer", EVENTS, EVENTS, x[i]);
    }
    for (size_t i = 0; i < THREADS; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, run_often, &r[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
        cr_expect(r[i].same, "case %zu", numbers[i]);
        cr_assert_eq(dlclose(objects[i]), 0);
        pq_free(x[i]);
        pq_free(due[i]);
        pq_free(r[i].y);
        pq_graph_free(&m[i].graph);
    }
}
