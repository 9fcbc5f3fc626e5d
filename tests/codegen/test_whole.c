/* Generated C in whole numbers, compiled and loaded, beside the engine `integer`. */
#include "codegen/emit.h"
#include "codegen/whole_check.h"
#include "core/file.h"

TestSuite(whole, .init = make_folder, .fini = remove_folder);

enum { TOLD = 20 * BATCH /* nets from one word to the next */ };

static size_t nets_in_all(void)
{
    return getenv("PQ_LONG") != NULL ? 10005 : 60;
}

/* The batches first, first + step, …: PQ_LONG=1/2 and PQ_LONG=2/2 share them. */
static void our_share(size_t *first, size_t *step)
{
    const char *text = getenv("PQ_LONG");

    *first = *step = 1;
    if (text != NULL && strchr(text, '/') != NULL) {
        cr_assert_eq(sscanf(text, "%zu/%zu", first, step), 2);
        cr_assert(1 <= *first && *first <= *step, "PQ_LONG=%s", text);
    }
}

/* Every variant that the processor has, one after the other from batch to batch; in every
 * ninth the source has all up to it. */
Test(whole, random_nets_give_the_bits_of_the_engine_integer, .timeout = 36000)
{
    made   nets[BATCH];
    size_t first, step, done = 0;

    our_share(&first, &step);
    for (size_t b = first - 1; b < nets_in_all() / BATCH; b += step) {
        for (size_t n = 0; n < BATCH; n++) {
            const pq_codegen_isa isa = (pq_codegen_isa)(b % 5);
            nets[n]                  = make_whole(b * BATCH + n);
            if (b % 9 == 5) {
                write_net(&nets[n], n, isa);
            } else {
                write_here(&nets[n], n, isa);
            }
        }
        check_batch(nets, BATCH, b % 7 == 3 ? "-O2" : "-O1");
        done += BATCH;
        if (done % TOLD == 0) {
            cr_log_info("%zu nets are equal", done);
        }
    }
    cr_expect_gt(done, 0);
}

/* Puts one text in the place of another wherever it stands in a file; it must. */
static void swap_text(const char *path, const char *from, const char *to)
{
    char   *source = NULL;
    size_t  n;
    pq_text out = {0};

    OK(pq_file_read(path, 16 << 20, &source, &n, &err));
    const char *at = source, *next;
    cr_assert_not_null(strstr(source, from), "%s is not in %s", from, path);
    for (; (next = strstr(at, from)) != NULL; at = next + strlen(from)) {
        pq_text_add_bytes(&out, at, (size_t)(next - at));
        pq_text_add(&out, "%s", to);
    }
    pq_text_add(&out, "%s", at);
    OK(pq_file_write(path, out.text, out.length, &err));
    pq_text_free(&out);
    pq_free(source);
}

/* The variant of AVX-VNNI on a processor that has its instructions as AVX-512 alone. */
Test(whole, the_variant_of_avxvnni_gives_these_bits_too)
{
    made nets[BATCH];

    if (pq_emit_best(true, PQ_CODEGEN_AVX512) != PQ_CODEGEN_AVX512) {
        cr_skip_test("no AVX-512 with VNNI");
    }
    for (size_t b = 0; b < 2; b++) {
        for (size_t n = 0; n < BATCH; n++) {
            char path[96];
            nets[n] = make_whole(20000 + b * BATCH + n);
            write_net(&nets[n], n, PQ_CODEGEN_AVXVNNI);
            (void)snprintf(path, sizeof path, "%s/net%zu/net%zu.c", folder, n, n);
            swap_text(path, "avx2,fma,avxvnni", "avx2,fma,avx512vl,avx512vnni");
            swap_text(path, "_mm256_dpbusd_avx_epi32", "_mm256_dpbusd_epi32");
            swap_text(path, "__get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 16)", "1");
        }
        check_batch(nets, BATCH, "-O1");
    }
}

/* A channel that has nearly nothing has a factor of its own size: the others keep theirs,
 * and none goes one by one. */
Test(whole, a_channel_of_tiny_weights_leaves_the_others_fast)
{
    enum { INPUTS = 27, OUTPUTS = 20 };
    net        t     = {.rng = pq_rng_stream(1, "tiny")};
    pq_layer  *layer = make_layer("dense");
    pq_weight *kernel;
    char       path[96], *text;
    size_t     n;

    OK(pq_graph_create(&t.graph, &err));
    add_input(t.graph, "in", "[27]");
    (void)snprintf(t.last, sizeof t.last, "in");
    OK(pq_graph_check(t.graph, &err));
    t.graph->nodes[0].quant = activations(&t, false, 8);
    affine(&t.rng, layer, PQ_SHAPE(OUTPUTS, INPUTS), true);
    kernel = pq_layer_weight(layer, "kernel");
    OK(pq_quant_create(PQ_QUANT_INTEGER, 8, true, true, 0, OUTPUTS, &kernel->quant,
                       &err));
    for (size_t i = 0; i < OUTPUTS; i++) {
        const double scale = i == 13 ? 1e-4 : 1.0;
        pq_quant_set_range(kernel->quant, i, -scale, scale, true);
        for (size_t k = 0; k < INPUTS; k++) {
            pq_f32(kernel->value)[i * INPUTS + k] *= (float)scale;
        }
    }
    OK(pq_quant_apply(kernel->quant, kernel->value, &err));
    append(&t, layer);
    append(&t, make_layer("relu"))->quant = activations(&t, false, 8);
    OK(pq_graph_check(t.graph, &err));
    made m = {t.graph, 0};
    write_net(&m, 0, PQ_CODEGEN_AVX512);
    (void)snprintf(path, sizeof path, "%s/net0/net0.c", folder);
    OK(pq_file_read(path, 1 << 24, &text, &n, &err));
    cr_expect_not_null(strstr(text, "SCALE(V(sums)"), "the codes are made one by one");
    pq_free(text);
    check_batch(&m, 1, "-O2");
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
        if (pq_codegen_write(t.graph, name, (pq_codegen_isa)(right / BATCH % 5), path,
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
