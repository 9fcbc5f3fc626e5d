/* Configurations mutated by structure: `validate`, `show` and `plan` end with a status.
 *
 *   mutate_configs SECONDS SEED CONFIG…
 *
 * Starts from the files given and from one that names every key of every table. Keys,
 * kinds of nodes, values, anchors, `$names`, grids and the options -S and -P are changed,
 * grafted and removed; what is accepted must be shown as it reads back, and planned on a
 * small network and events. Built with sanitizers it needs no other oracle. The folder it
 * works in keeps the last configuration, c.yaml, when something falls. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/file.h"
#include "core/memory.h"
#include "core/rng.h"
#include "formats/model.h"
#include "formats/zoo.h"
#include "sweep/plan.h"
#include "sweep/recipe.h"
#include "sweep/source.h"
#include "sweep/train_config.h"

enum { TREES_MAX = 128, TEXT_MAX = 1 << 20, DEPTH_MAX = 24, CHANGES_MAX = 3 };

static pq_yaml *corpus[TREES_MAX];
static size_t   n_corpus;
static pq_rng   rng;

static const char *const words[] = {
    "",
    "0",
    "1",
    "-1",
    "2",
    "8",
    "0.5",
    "1e-3",
    "1e308",
    "-0",
    "nan",
    "inf",
    "none",
    "true",
    "99999999999999999999",
    "9007199254740993",
    "1e5",
    "10ms",
    "4GB",
    "25%",
    "2h",
    "0x10",
    "$r",
    "$",
    "$rank",
    "$$r",
    "$no",
    "~",
    "*",
    "dense*",
    "fc*,out",
    "[8, 4]",
    "a: b",
    "- a",
    "\xe2\x80\xa8",
    "\n",
    "a\nb",
    "\t",
    "'",
    "\"",
    "\\",
    "%99999999g",
    "'''x",
    "{",
    "#",
    "\xc3\xa9",
    "m.h5",
    "d.csv",
    "c.yaml",
    ".",
    "/",
    "nothing.h5",
    "train",
    "test",
    "val",
    "calib",
    "d.csv:test",
    "csv,md",
    "accuracy",
    "auc",
    "auc_loss",
    "latency.b1.p50_s",
    "log_loss_loss",
    "svd",
    "quantize",
    "quantise",
    "finetune",
    "lora",
    "reference",
    "bytes",
    "status",
    "pipeline",
    "r",
    "rank",
    "layers",
    "include",
    "sweep",
    "zip",
    "exclude",
    "stages",
    "pquant/1",
};

static const char *const snippets[] = {
    "[]",
    "{}",
    "[1, 2]",
    "[[1, 2], [3]]",
    "{range: [1, 4, 1]}",
    "{range: [0, 1e5, 1]}",
    "{linspace: [0, 1, 5]}",
    "{range: [1, 2, 0]}",
    "{linspace: [1, 1, 3]}",
    "{r: [2, 4]}",
    "{r: [2, 2]}",
    "{rank: [2, 4], r: [1, 2]}",
    "[{r: 2}]",
    "{min: 1}",
    "{r: {range: [2, 6, 2]}}",
    "[{svd: {rank: $r}}, {quantise: {bits: 8}}]",
    "[{svd: {rank: $r}}, {quantize: {bits: $b}}]",
    "{stages: [svd: {rank: $r}], sweep: {r: [2, 4]}}",
    "{stages: [], sweep: {r: [1]}}",
    "{a: {a: {a: {a: 1}}}}",
    "{layers: [a, b], rank: $r}",
    "[svd, {svd: }, {svd: {rank: [1]}}]",
    "{max: 0.5, min: nan}",
    "{warmup: {seconds: 1}, samples: {count: 2}}",
};

static size_t below(size_t n)
{
    return pq_rng_below(&rng, n);
}

static void must(pq_status st, const pq_err *err)
{
    if (st != PQ_OK) {
        (void)fprintf(stderr, "mutate_configs: %s\n", err->message);
        exit(1);
    }
}

static const char *any_word(void)
{
    return words[below(sizeof words / sizeof *words)];
}

/* A node of a tree, each equally likely; `parent` may be NULL. */
static pq_yaml *any_node(pq_yaml *tree, pq_yaml **parent)
{
    pq_yaml *node = tree;

    *parent = NULL;
    while (node->n > 0 && below(6) > 0) {
        *parent = node;
        node    = node->items[below(node->n)];
    }
    return node;
}

static pq_yaml *parsed(const char *text)
{
    pq_yaml *tree = NULL;
    pq_err   err  = {0};

    must(pq_yaml_parse(text, strlen(text), "snippet", &tree, &err), &err);
    return tree;
}

/* A copy of some node of the corpus, or a new one. */
static pq_yaml *any_tree(void)
{
    pq_yaml *parent, *copy = NULL;
    pq_err   err = {0};

    if (below(3) == 0) {
        return parsed(snippets[below(sizeof snippets / sizeof *snippets)]);
    }
    if (below(2) == 0) {
        copy = parsed("x");
        must(pq_yaml_set_text(copy, any_word(), &err), &err);
        return copy;
    }
    must(pq_yaml_clone(any_node(corpus[below(n_corpus)], &parent), &copy, &err), &err);
    return copy;
}

/* A key that stands somewhere in the corpus, sometimes misspelt. */
static void any_key(char *key, size_t size)
{
    pq_yaml       *parent;
    const pq_yaml *node = any_node(corpus[below(n_corpus)], &parent);

    (void)snprintf(key, size, "%s", node->key != NULL ? node->key : any_word());
    if (below(4) == 0 && *key != '\0') {
        key[below(strlen(key))] = "abxyz_$ 0"[below(9)];
    }
}

/* Puts a tree in place of an item of a list or a map, the key being kept. */
static void replace(pq_yaml *parent, size_t i, pq_yaml *with)
{
    pq_yaml *old = parent->items[i];
    pq_err   err = {0};

    if (parent->kind == PQ_YAML_MAP) {
        char *key = pq_strdup(old->key);
        must(pq_yaml_set(parent, key, with, &err), &err);
        pq_free(key);
        return;
    }
    pq_yaml_free(&parent->items[i]);
    pq_free(with->key);
    with->key        = NULL;
    parent->items[i] = with;
}

static void drop(pq_yaml *parent, size_t i)
{
    pq_yaml_free(&parent->items[i]);
    memmove(&parent->items[i], &parent->items[i + 1],
            (parent->n - i - 1) * sizeof *parent->items);
    parent->n--;
}

static void add(pq_yaml *node)
{
    char   key[160];
    pq_err err = {0};

    any_key(key, sizeof key);
    if (node->kind == PQ_YAML_MAP) {
        must(pq_yaml_set(node, key, any_tree(), &err), &err);
    } else if (node->kind == PQ_YAML_LIST) {
        must(pq_yaml_append(node, any_tree(), &err), &err);
    } else {
        must(pq_yaml_set_text(node, any_word(), &err), &err);
    }
}

/* The same value as the only entry of a list or a map. */
static void wrap(pq_yaml *parent, size_t i)
{
    pq_yaml *copy = NULL, *around = parsed(below(2) == 0 ? "[]" : "{}");
    char     key[160];
    pq_err   err = {0};

    must(pq_yaml_clone(parent->items[i], &copy, &err), &err);
    any_key(key, sizeof key);
    if (around->kind == PQ_YAML_MAP) {
        must(pq_yaml_set(around, key, copy, &err), &err);
    } else {
        pq_free(copy->key);
        copy->key = NULL;
        must(pq_yaml_append(around, copy, &err), &err);
    }
    replace(parent, i, around);
}

static void rename_key(pq_yaml *parent, size_t i)
{
    char     key[160];
    pq_yaml *copy = NULL;
    pq_err   err  = {0};

    if (parent->kind != PQ_YAML_MAP) {
        return;
    }
    any_key(key, sizeof key);
    must(pq_yaml_clone(parent->items[i], &copy, &err), &err);
    drop(parent, i);
    must(pq_yaml_set(parent, key, copy, &err), &err);
}

static void twin(pq_yaml *parent, size_t i)
{
    pq_yaml *copy = NULL;
    pq_err   err  = {0};

    must(pq_yaml_clone(parent->items[i], &copy, &err), &err);
    if (parent->kind == PQ_YAML_LIST) {
        must(pq_yaml_append(parent, copy, &err), &err);
    } else {
        char *key = pq_format("%s2", parent->items[i]->key);
        must(pq_yaml_set(parent, key, copy, &err), &err);
        pq_free(key);
    }
}

/* A value becomes `$r`, and the pipeline around it, if any, sweeps r over values. */
static void sweep_value(pq_yaml *tree, pq_yaml *node)
{
    pq_yaml *pipelines = pq_yaml_find(tree, "pipelines"), *pipeline;
    pq_err   err       = {0};

    if (node->kind == PQ_YAML_SCALAR) {
        must(pq_yaml_set_text(node, "$r", &err), &err);
    }
    if (pipelines == NULL || pipelines->n == 0) {
        return;
    }
    pipeline = pipelines->items[below(pipelines->n)];
    if (pipeline->kind == PQ_YAML_MAP) {
        must(pq_yaml_set(pipeline, below(3) == 0 ? "zip" : "sweep",
                         parsed("{r: [1, 2, [3, 4], x]}"), &err),
             &err);
    }
}

static void mutate(pq_yaml *tree)
{
    pq_yaml *parent, *node = any_node(tree, &parent);
    size_t   i = 0;

    if (parent == NULL) {
        add(tree);
        return;
    }
    while (parent->items[i] != node) {
        i++;
    }
    switch (below(10)) {
    case 0:
        drop(parent, i);
        break;
    case 1:
        rename_key(parent, i);
        break;
    case 2:
        wrap(parent, i);
        break;
    case 3:
        twin(parent, i);
        break;
    case 4:
        sweep_value(tree, node);
        break;
    case 5:
    case 6:
        add(node);
        break;
    default:
        replace(parent, i, any_tree());
        break;
    }
}

static void print_text(const char *text, pq_text *out)
{
    pq_text_add(out, "\"");
    for (; *text != '\0'; text++) {
        const unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            pq_text_add(out, "\\%c", c);
        } else if (c < 0x20 || c == 0x7f) {
            pq_text_add(out, "\\x%02x", c);
        } else {
            pq_text_add_bytes(out, text, 1);
        }
    }
    pq_text_add(out, "\"");
}

/* Flow form; once in a while with what we do not read: anchors, aliases, tags, keys given
 * twice. */
static void print_tree(const pq_yaml *node, size_t depth, pq_text *out)
{
    static const char *const odd[] = {"&a ", "*a ", "!!int ", "? ", "- ", "<<: ", "\xff"};

    if (below(4000) == 0) {
        pq_text_add(out, "%s", odd[below(sizeof odd / sizeof *odd)]);
    }
    if (node->kind == PQ_YAML_SCALAR || depth > DEPTH_MAX) {
        print_text(node->text != NULL ? node->text : "", out);
        return;
    }
    pq_text_add(out, node->kind == PQ_YAML_LIST ? "[" : "{");
    for (size_t i = 0; i < node->n && out->length < TEXT_MAX; i++) {
        pq_text_add(out, "%s", i == 0 ? "" : ",\n");
        if (node->kind == PQ_YAML_MAP) {
            print_text(node->items[i]->key, out);
            pq_text_add(out, ": ");
        }
        print_tree(node->items[i], depth + 1, out);
    }
    pq_text_add(out, node->kind == PQ_YAML_LIST ? "]" : "}");
}

static void write_file(const char *path, const pq_text *text)
{
    FILE *file = fopen(path, "wb");

    if (file == NULL || fwrite(text->text, 1, text->length, file) != text->length ||
        fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

/* Changes as -S and -P give them; a path of keys of the corpus, a value of the words. */
static size_t any_changes(char *changes[CHANGES_MAX], bool axis)
{
    const size_t n = below(10) == 0 ? 1 + below(CHANGES_MAX) : 0;

    for (size_t k = 0; k < n; k++) {
        char a[160], b[160];
        any_key(a, sizeof a);
        any_key(b, sizeof b);
        changes[k] =
            axis ? pq_format("%s=%s,%s", a, any_word(), any_word())
                 : pq_format("%s%s%s=%s", a, below(3) == 0 ? "" : ".", b, any_word());
    }
    return n;
}

typedef struct {
    size_t tried, read, planned, cells;
} counts;

static void fall(const char *what, const pq_err *err)
{
    (void)fprintf(stderr, "mutate_configs: %s: %s\n", what, err->message);
    abort();
}

/* What is shown must read back and then show the same. */
static void check_shown(const char *shown, bool training)
{
    pq_text          text = {0}, file = {0};
    pq_config       *config = NULL;
    pq_train_config *train  = NULL;
    pq_err           err    = {0};
    pq_status        st;

    pq_text_add(&file, "%s", shown);
    write_file("shown.yaml", &file);
    st = training ? pq_train_config_read("shown.yaml", NULL, NULL, &train, NULL, &err)
                  : pq_config_read("shown.yaml", NULL, &config, NULL, &err);
    if (st != PQ_OK) {
        fall("what was shown does not read back", &err);
    }
    if (training) {
        pq_train_config_show(train, &text);
    } else {
        pq_config_show(config, NULL, &text);
    }
    if (strcmp(text.text, shown) != 0) {
        write_file("again.yaml", &text);
        fall("what was shown reads back as something else", &err);
    }
    pq_text_free(&text);
    pq_text_free(&file);
    pq_config_free(&config);
    pq_train_config_free(&train);
}

static void plan(const pq_config *config, counts *n)
{
    pq_cells cells = {0};
    pq_text  text  = {0};
    pq_err   err   = {0};

    if (pq_cells_plan(config, NULL, &cells, &err) != PQ_OK) {
        return;
    }
    n->planned++;
    n->cells += cells.n;
    if (cells.n > 0) {
        pq_cell_explain(&cells, &cells.cells[below(cells.n)], &text);
    }
    pq_text_free(&text);
    pq_cells_free(&cells);
}

static void try_training(const pq_config_changes *changes, counts *n)
{
    pq_train_config *config   = NULL;
    pq_text          problems = {0}, text = {0};
    pq_err           err = {0};

    if (pq_train_config_read("c.yaml", changes, NULL, &config, &problems, &err) ==
        PQ_OK) {
        n->read++;
        pq_train_config_show(config, &text);
        check_shown(text.text, true);
    }
    pq_train_config_free(&config);
    pq_text_free(&problems);
    pq_text_free(&text);
}

static void try_sweep(const pq_config_changes *changes, counts *n)
{
    pq_config *config   = NULL;
    pq_text    problems = {0}, text = {0};
    pq_err     err = {0};

    if (pq_config_read("c.yaml", changes, &config, &problems, &err) == PQ_OK) {
        n->read++;
        pq_config_show(config, NULL, &text);
        check_shown(text.text, false);
        plan(config, n);
    } else if (err.message[0] == '\0') {
        fall("refused without a reason", &err);
    }
    pq_config_free(&config);
    pq_text_free(&problems);
    pq_text_free(&text);
}

static void try_one(counts *n)
{
    const size_t            live             = pq_memory_live();
    pq_yaml                *tree             = NULL;
    pq_text                 text             = {0};
    char                   *set[CHANGES_MAX] = {0}, *axes[CHANGES_MAX] = {0};
    const pq_config_changes changes = {any_changes(set, false), (const char *const *)set,
                                       any_changes(axes, true),
                                       (const char *const *)axes};
    pq_err                  err     = {0};

    must(pq_yaml_clone(corpus[below(n_corpus)], &tree, &err), &err);
    for (size_t k = below(4); k > 0; k--) {
        mutate(tree);
    }
    print_tree(tree, 0, &text);
    write_file("c.yaml", &text);
    if (pq_train_config_is("c.yaml")) {
        try_training(&changes, n);
    } else {
        try_sweep(&changes, n);
    }
    n->tried++;
    for (size_t k = 0; k < CHANGES_MAX; k++) {
        pq_free(set[k]);
        pq_free(axes[k]);
    }
    pq_yaml_free(&tree);
    pq_text_free(&text);
    if (pq_memory_live() != live) {
        fall("memory is not given back", &err);
    }
}

/* "name: {key: default, …}" of a table, without the keys that have no default. */
static void add_table(pq_text *out, const char *name, const pq_param *table)
{
    pq_text_add(out, "%s: {", name);
    for (const pq_param *row = table; row != NULL && row->name != NULL; row++) {
        const bool list = row->type == PQ_PARAM_LIST;
        pq_text_add(out, "%s: %s%s%s, ", row->name, list ? "[" : "'",
                    row->fallback != NULL ? row->fallback
                    : list                ? "1"
                                          : "none",
                    list ? "]" : "'");
    }
    pq_text_add(out, "}");
}

/* One configuration with every key of every table. */
static void add_whole(pq_text *out)
{
    pq_text_add(out, "{schema: pquant/1, name: t");
    for (const pq_config_block *b = pq_config_blocks; b->name != NULL; b++) {
        if (strchr(b->name, '.') == NULL) {
            pq_text_add(out, ",\n");
            add_table(out, b->name, b->params);
        }
    }
    pq_text_add(out,
                ",\nconstraints: {auc.macro_loss: {max: 1}}, gates: {auc: {max_loss: "
                "1}}, baseline: none, metrics: {");
    for (size_t i = 0; pq_metrics[i] != NULL; i++) {
        pq_text_add(out, "%s", i == 0 ? "" : ",\n");
        add_table(out, pq_metrics[i]->name, pq_metrics[i]->params);
    }
    pq_text_add(out, "},\npipelines: {reference: []");
    for (size_t i = 0; pq_methods[i] != NULL; i++) {
        pq_text_add(out, ",\n%s: {stages: [{", pq_methods[i]->name);
        add_table(out, pq_methods[i]->name, pq_methods[i]->params);
        pq_text_add(out, "}]}");
    }
    for (size_t i = 0; pq_recipes[i] != NULL; i++) {
        pq_text_add(out, ",\n%s: {stages: [{", pq_recipes[i]->name);
        add_table(out, pq_recipes[i]->name, pq_recipes[i]->params);
        pq_text_add(out, "}, %s]}", pq_recipes[i]->name);
    }
    pq_text_add(out, "}}");
}

static const char small[] =
    "{schema: pquant/1, name: t, model: {weights: m.h5}, dataset: {file: d.csv, splits: "
    "{train: [0, 0.6], calib: [0.6, 0.7], val: [0.7, 0.8], test: [0.8, 1]}},\n"
    "pipelines: {reference: [], svd: {stages: [{svd: {rank: $r}}, {finetune: {epochs: "
    "$e}}], sweep: {r: [2, 4], e: [0, 1]}},\n"
    "pairs: {stages: [{svd: {rank: $r}}, {quantize: {bits: $b}}], zip: {r: [2, 4], b: "
    "[6, 8]}, exclude: [{r: 2}]}, prune: [{prune: {target_sparsity: 0.5}}]},\n"
    "seeds: {base: 1, repeats: 2}, metrics: [accuracy, auc, size], latency: {batch: [1, "
    "8]}, constraints: {auc.macro_loss: {max: 0.1}}}";

static void add_corpus(pq_yaml *tree)
{
    if (n_corpus < TREES_MAX) {
        corpus[n_corpus++] = tree;
    }
}

/* The jet network of the zoo with its first weights, and 40 events. */
static void make_inputs(void)
{
    pq_graph *graph = NULL;
    pq_text   csv   = {0};
    pq_err    err   = {0};

    must(pq_zoo_build("jsc-mlp", 1, &graph, &err), &err);
    must(pq_model_save(graph, "m.h5", &err), &err);
    for (size_t f = 0; f < 16; f++) {
        pq_text_add(&csv, "f%zu,", f);
    }
    pq_text_add(&csv, "class\n");
    for (size_t i = 0; i < 40; i++) {
        for (size_t f = 0; f < 16; f++) {
            pq_text_add(&csv, "%.3f,", pq_rng_normal(&rng));
        }
        pq_text_add(&csv, "%c\n", "gqwzt"[i % 5]);
    }
    write_file("d.csv", &csv);
    pq_text_free(&csv);
    pq_graph_free(&graph);
}

/* A sweep takes the small network and its events instead of its own. */
static void shrink(pq_yaml *tree)
{
    static const char *const blocks[] = {"model", "dataset"};
    pq_yaml                 *own = parsed(small), *copy = NULL;
    pq_err                   err = {0};

    for (size_t i = 0; i < 2 && pq_yaml_find(tree, "pipelines") != NULL; i++) {
        must(pq_yaml_clone(pq_yaml_find(own, blocks[i]), &copy, &err), &err);
        must(pq_yaml_set(tree, blocks[i], copy, &err), &err);
    }
    pq_yaml_free(&own);
}

static void make_corpus(int n, char *const *files)
{
    pq_text text = {0};
    pq_err  err  = {0};

    for (int i = 0; i < n; i++) {
        pq_yaml *tree = NULL;
        must(pq_source_read(files[i], &tree, &err), &err);
        shrink(tree);
        add_corpus(tree);
    }
    add_whole(&text);
    add_corpus(parsed(text.text));
    pq_text_free(&text);
    for (size_t i = 0; i < 8; i++) { /* half of what is tried can be planned */
        add_corpus(parsed(small));
    }
}

int main(int argc, char **argv)
{
    char         folder[] = "/tmp/pq-configs-XXXXXX";
    const double start = pq_clock_wall_s(), seconds = argc > 2 ? atof(argv[1]) : 0.0;
    counts       n = {0};

    if (argc < 3) {
        (void)fprintf(stderr, "mutate_configs SECONDS SEED CONFIG…\n");
        return 2;
    }
    rng = pq_rng_stream(strtoull(argv[2], NULL, 10), "configurations");
    make_corpus(argc - 3, argv + 3);
    if (mkdtemp(folder) == NULL || chdir(folder) != 0) {
        perror(folder);
        return 1;
    }
    (void)fprintf(stderr, "in %s\n", folder);
    make_inputs();
    do {
        try_one(&n);
    } while (pq_clock_wall_s() - start < seconds);
    (void)printf(
        "%zu configurations, %zu accepted, %zu planned with %zu cells in %.0f s\n",
        n.tried, n.read, n.planned, n.cells, pq_clock_wall_s() - start);
    for (size_t i = 0; i < n_corpus; i++) {
        pq_yaml_free(&corpus[i]);
    }
    (void)unlink("c.yaml");
    (void)unlink("shown.yaml");
    (void)unlink("m.h5");
    (void)unlink("d.csv");
    (void)rmdir(folder);
    return n.planned > 0 ? 0 : 1;
}
