#include "support.h"

#include "sweep/pipeline.h"

/* Labels of all cases of the last pipeline, a line each. */
static char *labels_of(const char *pipeline)
{
    char      *text = pq_format("pipelines:\n  p: %s\n", pipeline);
    pq_text    out  = {0};
    pq_config *c    = read_config(text, NULL);
    char      *labels;

    for (size_t i = 0; i < c->pipelines[0].n_cases; i++) {
        pq_text_add(&out, "%s\n", c->pipelines[0].cases[i].label);
    }
    OK(pq_text_take(&out, &labels, ERR));
    pq_config_free(&c);
    pq_free(text);
    return labels;
}

typedef struct {
    const char *pipeline, *labels;
} grid_case;

static const grid_case grids[] = {
    {"[]", "p\n"},
    {"[svd: {rank: 2}]", "p\n"},
    {"{stages: [{svd: {rank: $r}}], sweep: {r: [2, 4, 8]}}", "p r=2\np r=4\np r=8\n"},
    {"{stages: [{svd: {rank: $r}}], sweep: {r: {range: [4, 12, 4]}}}",
     "p r=4\np r=8\np r=12\n"},
    {"{stages: [{svd: {rank: $r}}], sweep: {r: {range: [4, 11, 4]}}}", "p r=4\np r=8\n"},
    {"{stages: [{prune: {target_sparsity: $s}}], sweep: {s: {range: [0.1, 0.5, 0.1]}}}",
     "p s=0.1\np s=0.2\np s=0.3\np s=0.4\np s=0.5\n"},
    {"{stages: [{prune: {target_sparsity: $s}}], sweep: {s: {linspace: [0.5, 0.9, 5]}}}",
     "p s=0.5\np s=0.6\np s=0.7\np s=0.8\np s=0.9\n"},
    /* crossed, last axis fastest */
    {"{stages: [{svd: {rank: $r}}, {quantize: {bits: $b}}], sweep: {r: [2, 4], b: [4, "
     "8]}}",
     "p r=2 b=4\np r=2 b=8\np r=4 b=4\np r=4 b=8\n"},
    /* side by side */
    {"{stages: [{svd: {rank: $r}}, {quantize: {bits: $b}}], zip: {r: [2, 4], b: [4, 8]}}",
     "p r=2 b=4\np r=4 b=8\n"},
    /* zipped pairs inside a sweep */
    {"{stages: [{svd: {rank: $r, layers: $l}}, {quantize: {bits: $b}}], sweep: {b: [4, "
     "8]},"
     " zip: {r: [2, 4], l: [fc1, fc2]}}",
     "p b=4 r=2 l=fc1\np b=4 r=4 l=fc2\np b=8 r=2 l=fc1\np b=8 r=4 l=fc2\n"},
    {"{stages: [{svd: {rank: $r}}, {quantize: {bits: $b}}], sweep: {r: [2, 4], b: [4, "
     "8]},"
     " exclude: [{r: 2, b: 8}]}",
     "p r=2 b=4\np r=4 b=4\np r=4 b=8\n"},
    {"{stages: [{svd: {rank: $r}}, {quantize: {bits: $b}}], sweep: {r: [2, 4], b: [4, "
     "8]},"
     " exclude: [{r: 2.0}]}",
     "p r=4 b=4\np r=4 b=8\n"},
};

Test(pipeline, grids_expand_in_order)
{
    enter_folder();
    for (size_t i = 0; i < sizeof grids / sizeof *grids; i++) {
        char *labels = labels_of(grids[i].pipeline);
        cr_expect_str_eq(labels, grids[i].labels, "%s gives\n%s", grids[i].pipeline,
                         labels);
        pq_free(labels);
    }
}

Test(pipeline, values_reach_the_stages)
{
    pq_text    text = {0};
    pq_config *c;

    enter_folder();
    c = read_config("pipelines:\n  p: {stages: [{svd: {rank: $r, layers: 'fc*'}}], "
                    "sweep: {r: [2, 4]}}\n",
                    NULL);
    cr_assert_eq(c->pipelines[0].cases[1].n_stages, 1);
    pq_stage_print(c->pipelines[0].cases[1].stages[0], &text);
    cr_expect(strstr(text.text, "rank=4") != NULL && strstr(text.text, "fc*") != NULL,
              "%s", text.text);
    pq_text_free(&text);
    pq_config_free(&c);
}

Test(pipeline, a_list_of_values_may_hold_lists)
{
    pq_yaml            *tree = NULL, *pair = NULL;
    const pq_substitute value = {"r", NULL};
    pq_substitute       values[1];
    const char         *text = "{ranks: $r, other: [1, $x]}";
    pq_text             out  = {0};

    OK(pq_yaml_parse(text, strlen(text), "t", &tree, ERR));
    OK(pq_yaml_parse("[8, 4]", 6, "t", &pair, ERR));
    values[0]       = value;
    values[0].value = pair;
    OK(pq_substitute_names(tree, 1, values, ERR));
    cr_assert_eq(pq_yaml_find(tree, "ranks")->kind, PQ_YAML_LIST);
    cr_expect_str_eq(pq_yaml_find(tree, "ranks")->items[1]->text, "4");
    cr_expect_str_eq(pq_yaml_find(tree, "other")->items[1]->text, "$x");
    pq_text_free(&out);
    pq_yaml_free(&tree);
    pq_yaml_free(&pair);
}

Test(pipeline, grids_without_end_are_refused)
{
    pq_config *c        = NULL;
    pq_text    problems = {0};

    enter_folder();
    write_text("c.yaml",
               HEAD "pipelines:\n  p: {stages: [{svd: {rank: $a}}, {svd: {rank: $b}}],\n"
                    "    sweep: {a: {range: [1, 1000, 1]}, b: {range: [1, 1000, 1]}}}\n");
    cr_expect_eq(pq_config_read("c.yaml", NULL, &c, &problems, NULL), PQ_ERR_CONFIG);
    cr_expect_str_eq(problems.text,
                     "c.yaml:7:13: pipeline 'p': has more than 100000 cells\n");
    pq_text_free(&problems);
    write_text("c.yaml", HEAD "pipelines:\n  p: {stages: [{svd: {rank: $a}}],\n"
                              "    sweep: {a: {range: [1, 1e9, 1e-9]}}}\n");
    cr_expect_eq(pq_config_read("c.yaml", NULL, &c, &problems, NULL), PQ_ERR_CONFIG);
    cr_expect(strstr(problems.text, "range: has more than 100000 values\n") != NULL);
    pq_text_free(&problems);
}

/* Every stage of every case, as it is when each case is read on its own: of the axes, one
 * value each is left. */
Test(pipeline, shared_stages_are_those_of_each_case_alone)
{
    char *all = pq_format("pipelines:\n  p: {%s,\n    sweep: {b: [4, 8], s: [0.1, 0.2, "
                          "0.3]}, zip: {r: [2, 4, 3], l: [fc1, fc2, fc1]}, exclude: "
                          "[{b: 4.0, r: 4}]}\n",
                          "stages: [{svd: {rank: $r, layers: $l}}, {prune: "
                          "{target_sparsity: 0.5}}, {quantize: {bits: $b}}, {prune: "
                          "{target_sparsity: $s}}]");
    pq_config *c;

    enter_folder();
    c                    = read_config(all, NULL);
    const pq_pipeline *p = &c->pipelines[0];
    cr_assert_eq(p->n_cases, 15);
    for (size_t i = 0; i < p->n_cases; i++) {
        const pq_setting *v    = p->cases[i].axes;
        char             *text = pq_format(
                        "pipelines:\n  p: [{svd: {rank: %s, layers: %s}}, {prune: {target_sparsity: "
                                    "0.5}}, {quantize: {bits: %s}}, {prune: {target_sparsity: %s}}]\n",
                        v[2].value, v[3].value, v[0].value, v[1].value);
        pq_config *one = read_config(text, NULL);
        for (size_t s = 0; s < 4; s++) {
            pq_text is = {0}, due = {0};
            pq_stage_print(p->cases[i].stages[s], &is);
            pq_stage_print(one->pipelines[0].cases[0].stages[s], &due);
            cr_expect_str_eq(is.text, due.text, "%s", p->cases[i].label);
            pq_text_free(&is);
            pq_text_free(&due);
        }
        pq_config_free(&one);
        pq_free(text);
    }
    cr_expect_eq(p->cases[0].stages[1], p->cases[14].stages[1], "one stage, made twice");
    pq_config_free(&c);
    pq_free(all);
}

/* 100,000 cells, every one with parameters of its own, and one with shared ones. */
static const char *const large[] = {
    "{stages: [{finetune: {epochs: $a, batch: $b, seed: $c}}],",
    "{stages: [{svd: {rank: $a}}, {svd: {rank: $b}}, {svd: {rank: $c}}],"};

static void write_large(size_t i, const char *limits)
{
    char *text = pq_format(
        HEAD "%spipelines:\n  p: %s\n    sweep: {a: {range: [1, 100, 1]}, b: {range: [1, "
             "100, 1]}, c: {range: [1, 10, 1]}}}\n",
        limits, large[i]);

    write_text("c.yaml", text);
    pq_free(text);
}

Test(pipeline, cells_as_many_as_there_may_be_fit_into_what_a_file_may_take)
{
    enter_folder();
    for (size_t i = 0; i < 2; i++) {
        pq_config *c      = NULL;
        size_t     before = pq_memory_bytes();
        write_large(i, "");
        pq_memory_peak_start();
        OK(pq_config_read("c.yaml", NULL, &c, NULL, ERR));
        cr_expect_eq(c->pipelines[0].n_cases, 100000);
        cr_expect_lt(pq_memory_peak() - before, i == 0 ? 64 << 20 : 24 << 20, "%zu bytes",
                     pq_memory_peak() - before);
        pq_config_free(&c);
    }
}

Test(pipeline, the_limit_of_memory_holds_what_is_planned)
{
    pq_err     err = {0};
    pq_config *c   = NULL;

    enter_folder();
    write_large(0, "limits: {memory: 20MB}\n");
    cr_expect_eq(pq_config_read("c.yaml", NULL, &c, NULL, &err), PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message,
                     "c.yaml: planning its 100000 cells takes more memory than "
                     "limits.memory = 20.0 MB");
    cr_expect_not_null(strstr(err.hint, "limits.memory"));
    err = (pq_err){0};
    write_text("c.yaml", HEAD
               "limits: {memory: 1MB}\npipelines:\n  p: {stages: [{prune: "
               "{target_sparsity: $s}}], sweep: {s: {range: [0.1, 0.9, 0.0001]}}}\n");
    cr_expect_eq(pq_config_read("c.yaml", NULL, &c, NULL, &err), PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message, "c.yaml: planning its cells takes more memory than "
                                  "limits.memory = 1.0 MB");
    write_large(1, "limits: {memory: 20MB}\n"); /* shares its stages */
    OK(pq_config_read("c.yaml", NULL, &c, NULL, ERR));
    pq_config_free(&c);
}

/* What a value becomes where it is put in is held too, with a limit or without. */
Test(pipeline, values_that_multiply_are_held)
{
    static const char *const limits[] = {"", "limits: {memory: 30MB}\n"};
    pq_text                  text     = {0};

    enter_folder();
    for (size_t i = 0; i < 2; i++) {
        pq_err     err = {0};
        pq_config *c   = NULL;
        pq_text_free(&text);
        pq_text_add(&text, HEAD "%spipelines:\n  p:\n    sweep: {x: [[", limits[i]);
        for (size_t k = 0; k < 4000; k++) {
            pq_text_add(&text, "%s12345678", k == 0 ? "" : ",");
        }
        pq_text_add(&text, "], [1]]}\n    stages: [");
        for (size_t k = 0; k < 2000; k++) {
            pq_text_add(&text, "%s{svd: {layers: $x, rank: $x}}", k == 0 ? "" : ",");
        }
        pq_text_add(&text, "]\n");
        write_text("c.yaml", text.text);
        const pq_status st = pq_config_read("c.yaml", NULL, &c, NULL, &err);
        /* By memory; on a slow processor the guard of time comes first. */
        cr_expect(st == PQ_ERR_CONFIG || (st == PQ_ERR_FORMAT &&
                                          strstr(err.message, "more time than") != NULL),
                  "%s", err.message);
        cr_expect_lt(pq_memory_peak(), (size_t)100 << 20);
    }
    pq_text_free(&text);
}
