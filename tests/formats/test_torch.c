#include "run.h"

#include "core/file.h"
#include "core/memory.h"
#include "formats/model.h"
#include "formats/torch_storage.h"
#include "formats/zoo.h"

TestSuite(torch, .init = setup, .fini = teardown);

/* A file being written. */
static struct {
    uint8_t bytes[1 << 17];
    size_t  n;
} file;

static void put(const void *bytes, size_t n)
{
    cr_assert_leq(file.n + n, sizeof file.bytes);
    memcpy(file.bytes + file.n, bytes, n);
    file.n += n;
}

static void number(uint64_t value, size_t bytes)
{
    put(&value, bytes); /* little-endian, as this machine */
}

static void text(const char *s)
{
    put("X", 1);
    number(strlen(s), 4);
    put(s, strlen(s));
}

static void integer(size_t value)
{
    put("J", 1);
    number(value, 4);
}

static void protocol(void)
{
    put("\x80\x02", 2);
}

/* A tensor [rows, columns] (or [rows]) of storage `key`; transposed: stored by columns.
 */
static void tensor(const char *key, size_t rows, size_t columns, bool transposed)
{
    put("ctorch._utils\n_rebuild_tensor_v2\n((", 35);
    text("storage");
    put("ctorch\nFloatStorage\n", 20);
    text(key);
    text("cpu");
    integer(rows * (columns > 0 ? columns : 1));
    put("tQK\0(", 5);
    integer(rows);
    if (columns > 0) {
        integer(columns);
    }
    put("t(", 2);
    integer(columns == 0 || transposed ? 1 : columns);
    if (columns > 0) {
        integer(transposed ? rows : 1);
    }
    put("t\x89", 2);
    put("ccollections\nOrderedDict\n)RtR", 29);
}

/* Modules of jsc-mlp: 16-64-32-32-5. */
static const struct {
    const char *name, *weight, *bias;
    size_t      in, out;
} modules[] = {{"0", "w0", "b0", 16, 64},
               {"2", "w1", "b1", 64, 32},
               {"4", "w2", "b2", 32, 32},
               {"6", "w3", "b3", 32, 5}};

/* Changes that make a file wrong, or odd. */
static struct {
    bool        transposed;
    const char *global;       /* called in place of OrderedDict */
    size_t      rows_too_few; /* of module 2 */
    size_t      modules;
} how;

static void object(void)
{
    char name[64];

    protocol();
    put("}(", 2);
    text("epoch");
    integer(7);
    text("state_dict");
    if (how.global != NULL) {
        put(how.global, strlen(how.global));
    } else {
        put("ccollections\nOrderedDict\n)R", 27);
    }
    put("(", 1);
    for (size_t i = 0; i < how.modules; i++) {
        const size_t rows = modules[i].out - (i == 1 ? how.rows_too_few : 0);
        snprintf(name, sizeof name, "module.%s.weight", modules[i].name);
        text(name);
        tensor(modules[i].weight, rows, modules[i].in, how.transposed);
        snprintf(name, sizeof name, "module.%s.bias", modules[i].name);
        text(name);
        tensor(modules[i].bias, rows, 0, false);
    }
    put("uu.", 3);
}

/* Item k of a storage: distinct numbers. */
static float value_of(size_t module, bool bias, size_t k)
{
    return (float)(module * 10 + (bias ? 5 : 0)) + (float)k / 4096.0F;
}

static void storage(size_t module, bool bias)
{
    const size_t rows = modules[module].out - (module == 1 ? how.rows_too_few : 0);
    const size_t n    = bias ? rows : rows * modules[module].in;

    for (size_t k = 0; k < n; k++) {
        const float x = value_of(module, bias, k);
        put(&x, sizeof x);
    }
}

static void write_legacy(void)
{
    file.n = 0;
    protocol();
    put("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 13);
    protocol();
    put("M\xe9\x03.", 4);
    protocol();
    put("}(", 2);
    text("little_endian");
    put("\x88u.", 3);
    object();
    protocol();
    put("](", 2);
    for (size_t i = 0; i < how.modules; i++) {
        text(modules[i].weight);
        text(modules[i].bias);
    }
    put("e.", 2);
    for (size_t i = 0; i < 2 * how.modules; i++) {
        const size_t rows = modules[i / 2].out - (i / 2 == 1 ? how.rows_too_few : 0);
        number(i % 2 == 1 ? rows : rows * modules[i / 2].in, 8);
        storage(i / 2, i % 2 == 1);
    }
}

static uint32_t crc(const uint8_t *b, size_t n)
{
    uint32_t c = UINT32_MAX;

    for (size_t i = 0; i < n; i++) {
        c ^= b[i];
        for (int k = 0; k < 8; k++) {
            c = c >> 1 ^ ((c & 1) != 0 ? 0xedb88320U : 0);
        }
    }
    return ~c;
}

/* One stored entry after another, then their directory. */
static void write_zip(void)
{
    struct {
        char     name[32];
        size_t   at, n;
        uint32_t crc;
    } entries[9];
    const size_t count = 1 + 2 * how.modules;
    size_t       directory;

    file.n = 0;
    for (size_t i = 0; i < count; i++) {
        size_t begin;
        if (i == 0) {
            strcpy(entries[i].name, "a/data.pkl");
        } else {
            snprintf(entries[i].name, sizeof entries[i].name, "a/data/%s",
                     i % 2 == 1 ? modules[(i - 1) / 2].weight
                                : modules[(i - 1) / 2].bias);
        }
        entries[i].at = file.n;
        put("PK\3\4", 4);
        number(0, 8), number(0, 6), number(0, 8); /* filled in the directory alone */
        number(strlen(entries[i].name), 2), number(0, 2);
        put(entries[i].name, strlen(entries[i].name));
        begin = file.n;
        if (i == 0) {
            object();
        } else {
            storage((i - 1) / 2, i % 2 == 0);
        }
        entries[i].n   = file.n - begin;
        entries[i].crc = crc(file.bytes + begin, entries[i].n);
    }
    directory = file.n;
    for (size_t i = 0; i < count; i++) {
        put("PK\1\2", 4);
        number(0, 6), number(0, 6);
        number(entries[i].crc, 4), number(entries[i].n, 4), number(entries[i].n, 4);
        number(strlen(entries[i].name), 2), number(0, 8), number(0, 4);
        number(entries[i].at, 4);
        put(entries[i].name, strlen(entries[i].name));
    }
    put("PK\5\6", 4);
    number(0, 4), number(count, 2), number(count, 2);
    number(file.n - 12 - directory, 4), number(directory, 4), number(0, 2);
}

static void start_file(void)
{
    memset(&how, 0, sizeof how);
    how.modules = 4;
}

static void save(void)
{
    OK(pq_file_write(path, file.bytes, file.n, err));
}

static void expect_weights(const pq_graph *g, bool transposed)
{
    static const char *const names[] = {"fc1", "fc2", "fc3", "output"};

    for (size_t i = 0; i < 4; i++) {
        const pq_layer *l  = g->nodes[pq_graph_find(g, names[i])].layer;
        const float    *w  = pq_f32(pq_layer_weight(l, "kernel")->value);
        const float    *b  = pq_f32(pq_layer_weight(l, "bias")->value);
        const size_t    in = modules[i].in, out = modules[i].out;
        for (size_t k = 0; k < in * out; k++) {
            const size_t at = transposed ? k % in * out + k / in : k;
            cr_assert_eq(w[k], value_of(i, false, at), "%s[%zu]", names[i], k);
        }
        for (size_t k = 0; k < out; k++) {
            cr_assert_eq(b[k], value_of(i, true, k));
        }
    }
}

Test(torch, both_containers_give_the_weights_in_the_order_of_their_strides)
{
    for (int kind = 0; kind < 4; kind++) {
        pq_graph *g = NULL;
        start_file();
        how.transposed = kind % 2 == 1;
        kind < 2 ? write_legacy() : write_zip();
        save();
        OK(pq_model_load(path, "jsc-mlp", &g, err));
        expect_weights(g, how.transposed);
        pq_graph_free(&g);
    }
}

static void expect_refusal(const char *arch, pq_status status, const char *words)
{
    const size_t live = pq_memory_live();
    pq_graph    *g    = NULL;
    pq_err       err  = {0};

    save();
    cr_expect_eq(pq_model_load(path, arch, &g, &err), status, "%s", err.message);
    cr_expect_null(g);
    cr_expect_str_eq(err.message + strlen(path) + 2, words);
    cr_expect_eq(pq_memory_live(), live);
}

Test(torch, nothing_is_run_and_unknown_names_are_refused)
{
    start_file();
    how.global = "cposix\nsystem\n(X\x04\0\0\0truetR";
    write_legacy();
    expect_refusal(
        "jsc-mlp", PQ_ERR_UNSUPPORTED,
        "the pickle names 'posix.system', which no state dict needs; nothing of "
        "it is run");
}

Test(torch, what_does_not_fit_the_network_is_named)
{
    start_file();
    how.rows_too_few = 2;
    write_zip();
    expect_refusal(
        "jsc-mlp", PQ_ERR_SHAPE,
        "'module.2.weight' is [30, 64], but layer 'fc2' of jsc-mlp wants [32, 64]");
    start_file();
    how.modules = 3;
    write_zip();
    expect_refusal("jsc-mlp", PQ_ERR_FORMAT,
                   "holds no weights for layer 'output' of jsc-mlp");
    start_file();
    write_zip();
    expect_refusal(NULL, PQ_ERR_CONFIG,
                   "a state dict holds weights without their network");
    expect_refusal("jsc-mpl", PQ_ERR_NOT_FOUND,
                   "there is no network 'jsc-mpl' in the zoo; did you mean 'jsc-mlp'?");
    file.bytes[file.n / 2] ^= 1;
    {
        pq_graph *g   = NULL;
        pq_err    err = {0};
        save();
        cr_expect_eq(pq_model_load(path, "jsc-mlp", &g, &err), PQ_ERR_FORMAT);
        cr_expect_not_null(strstr(err.message, "is damaged: its checksum differs"), "%s",
                           err.message);
    }
}

/* Parses a copy of exactly n bytes, so that a sanitizer sees what is read beyond. */
static pq_status parse(size_t n)
{
    uint8_t      *copy = pq_calloc(n, 1);
    pq_torch_file f    = {0};
    pq_status     st;

    memcpy(copy, file.bytes, n);
    st = pq_torch_parse(copy, n, false, &f, NULL);
    pq_torch_free(&f);
    pq_free(copy);
    return st;
}

Test(torch, a_file_cut_anywhere_or_with_a_byte_changed_is_refused_or_read_cleanly)
{
    for (int kind = 0; kind < 2; kind++) {
        size_t live;
        start_file();
        kind == 0 ? write_legacy() : write_zip();
        live = pq_memory_live();
        for (size_t n = 0; n < file.n; n += n < 2000 ? 1 : 97) {
            cr_assert_neq(parse(n), PQ_OK, "cut at %zu of %zu", n, file.n);
        }
        for (size_t i = 0; i < file.n; i += i < 2500 ? 1 : 89) {
            const uint8_t was = file.bytes[i];
            file.bytes[i]     = (uint8_t)(was ^ (1 << i % 8));
            (void)parse(file.n);
            file.bytes[i] = was;
        }
        cr_expect_eq(parse(file.n), PQ_OK);
        cr_expect_eq(pq_memory_live(), live);
    }
}

Test(torch, every_failed_allocation_leaves_nothing_behind)
{
    pq_status st = PQ_ERR_NOMEM;

    start_file();
    write_zip();
    save();
    for (size_t n = 0; st != PQ_OK; n++) {
        const size_t live = pq_memory_live();
        pq_graph    *g    = NULL;
        pq_memory_fail_after(n);
        st = pq_model_load(path, "jsc-mlp", &g, NULL);
        pq_memory_fail_after(SIZE_MAX);
        cr_assert(st == PQ_OK || st == PQ_ERR_NOMEM, "allocation %zu: %d", n, (int)st);
        pq_graph_free(&g);
        cr_assert_eq(pq_memory_live(), live, "allocation %zu leaks", n);
    }
}

#define WEIGHTS PQ_TEST_SOURCE_ROOT "/../shared/data/models/resnet20-12fca82f.th"

Test(torch, a_public_resnet20_has_its_parameters_and_scaler)
{
    const pq_count_rule rule = {.biases = true, .norms = true};
    pq_graph           *g    = NULL;

    if (!pq_file_exists(WEIGHTS)) {
        cr_skip_test("skipped: no real data at " WEIGHTS);
    }
    OK(pq_model_load(WEIGHTS, "resnet20", &g, err));
    cr_expect_eq(pq_graph_parameters(g, rule, NULL), 269722);
    cr_expect_float_eq(pq_f32(g->scaler_mean)[0], 0.485 * 255, 1e-4);
    cr_expect_float_eq(pq_f32(g->scaler_std)[2], 0.225 * 255, 1e-4);
    pq_graph_free(&g);
}
