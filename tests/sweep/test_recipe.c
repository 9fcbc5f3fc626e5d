#include "support.h"

#include "core/text.h"
#include "sweep/recipe.h"

/* The configuration as `pquant show` prints it. */
static char *shown(const char *pipelines)
{
    pq_config *c   = read_config(pipelines, NULL);
    pq_text    out = {0};
    char      *text;

    pq_config_show(c, NULL, &out);
    OK(pq_text_take(&out, &text, ERR));
    pq_config_free(&c);
    return text;
}

static void expect_same(const char *a, const char *b)
{
    char *x = shown(a), *y = shown(b);

    cr_expect_str_eq(x, y, "%s", a);
    pq_free(x);
    pq_free(y);
}

Test(recipe, every_key_has_a_default_and_stands_in_the_stages)
{
    for (const pq_recipe *const *r = pq_recipes; *r != NULL; r++) {
        size_t dollars = 0, uses = 0;
        for (const char *at = (*r)->stages; *at != '\0'; at++) {
            dollars += *at == '$' ? 1 : 0;
        }
        for (const pq_param *row = (*r)->params; row->name != NULL; row++) {
            char *name = pq_format("$%s", row->name);
            cr_expect_not_null(row->fallback, "%s %s", (*r)->name, row->name);
            cr_expect_not_null(row->help, "%s %s", (*r)->name, row->name);
            cr_expect_not_null(strstr((*r)->stages, name), "%s %s", (*r)->name, name);
            for (const char *at = strstr((*r)->stages, name); at != NULL;
                 at             = strstr(at + 1, name)) {
                const size_t n = strlen(name);
                uses += strchr(",}\n ", at[n]) != NULL ? 1 : 0;
            }
            pq_free(name);
        }
        cr_expect_eq(uses, dollars, "%s: every $name is a key", (*r)->name);
        size_t metrics = 0;
        while ((*r)->metrics[metrics] != NULL) {
            cr_expect_not_null(pq_metric_find((*r)->metrics[metrics++]));
        }
        cr_expect_leq(metrics, PQ_RECIPE_METRICS, "%s", (*r)->name);
        cr_expect_eq(*r, pq_recipe_find((*r)->name));
    }
    cr_expect_null(pq_recipe_find("nothing"));
}

Test(recipe, each_is_read_with_its_defaults_and_shown_spelled_out)
{
    enter_folder();
    for (const pq_recipe *const *r = pq_recipes; *r != NULL; r++) {
        char      *text = pq_format("pipelines: {reference: [], p: [%s]}\n", (*r)->name);
        char      *once = shown(text);
        char      *file = pq_format("%s", once);
        pq_config *c    = NULL;
        pq_text    out  = {0};
        cr_expect_null(strstr(once, "$"), "%s", (*r)->name);
        write_text("shown.yaml", file);
        OK(pq_config_read("shown.yaml", NULL, &c, NULL, ERR));
        pq_config_show(c, NULL, &out);
        cr_expect_str_eq(out.text, once, "%s: what is shown reads as the same",
                         (*r)->name);
        pq_text_free(&out);
        pq_config_free(&c);
        pq_free(file);
        pq_free(once);
        pq_free(text);
    }
}

/* Whether a recipe is read with a number for one of its keys. */
static bool is_read(const pq_recipe *r, const char *key, double x)
{
    const bool both = pq_params_find(r->params, "least_bits") != NULL;
    char *bits = both && strcmp(key, "bits") == 0 ? pq_format(", least_bits: %.17g", x)
                 : both && strcmp(key, "least_bits") == 0 ? pq_format(", bits: %.17g", x)
                                                          : pq_strdup("");
    char *text =
        pq_format(HEAD "pipelines: {p: [%s: {%s: %.17g%s}]}\n", r->name, key, x, bits);
    pq_config *c = NULL;
    pq_status  st;

    write_text("c.yaml", text);
    st = pq_config_read("c.yaml", NULL, &c, NULL, NULL);
    pq_config_free(&c);
    pq_free(bits);
    pq_free(text);
    return st == PQ_OK;
}

Test(recipe, every_range_that_help_tells_is_that_of_the_stage)
{
    enter_folder();
    for (const pq_recipe *const *r = pq_recipes; *r != NULL; r++) {
        for (const pq_param *row = (*r)->params; row->name != NULL; row++) {
            const double off = row->type == PQ_PARAM_INT ? 1.0 : 0.5;
            if (row->min >= row->max) {
                continue;
            }
            cr_expect(is_read(*r, row->name, row->min), "%s: %g", row->name, row->min);
            cr_expect(is_read(*r, row->name, row->max), "%s: %g", row->name, row->max);
            cr_expect_not(is_read(*r, row->name, row->min - off), "%s: below %g",
                          row->name, row->min);
            cr_expect_not(is_read(*r, row->name, row->max + off), "%s: above %g",
                          row->name, row->max);
        }
    }
}

#define TAGGER(rank, bits, epochs, keep)                                                 \
    "{svd: {layers: '*', rank: " rank ", clip_rank: true}}, {quantize: {layers: '*', "   \
    "bits: " bits "}}, {finetune: {epochs: " epochs                                      \
    ", batch: 128, lr: 0.001, schedule: cosine, preserve_rare_classes: " keep "}}"

/* With metrics all named, so that the recipe has none to add. */
#define METRICS "metrics: {accuracy: , btag: }\n"

Test(recipe, jet_tagger_is_its_stages_wherever_it_stands)
{
    enter_folder();
    expect_same(METRICS "pipelines: {p: [jet_tagger]}\n",
                METRICS "pipelines: {p: [" TAGGER("8", "8", "20", "true") "]}\n");
    expect_same(METRICS "pipelines: {p: [jet_tagger: ]}\n",
                METRICS "pipelines: {p: [" TAGGER("8", "8", "20", "true") "]}\n");
    expect_same(
        METRICS "pipelines: {p: [{prune: {target_sparsity: 0.5}}, {jet_tagger: {rank: 4, "
                "bits: 6, epochs: 3, preserve_rare_classes: false}}, {quantize: {bits: "
                "5}}, jet_tagger]}\n",
        METRICS "pipelines: {p: [{prune: {target_sparsity: 0.5}}, " TAGGER(
            "4", "6", "3", "false") ", {quantize: {bits: 5}}, " TAGGER("8", "8", "20",
                                                                       "true") "]}\n");
    expect_same(METRICS
                "pipelines: {p: {stages: [{jet_tagger: {rank: $r, bits: $b}}], sweep: "
                "{r: [2, 4]}, zip: {b: [4, 8]}}}\n",
                METRICS "pipelines: {p: {stages: [" TAGGER(
                    "$r", "$b", "20", "true") "], sweep: "
                                              "{r: [2, 4]}, zip: {b: [4, 8]}}}\n");
}

/* What the recipe adds to metrics that were named; the last word is whether it does. */
Test(recipe, adds_its_metric_where_metrics_are_named_without_it)
{
    static const struct {
        const char *head;
        size_t      n;
        bool        usual; /* the last of them */
    } cases[] = {{"metrics: [accuracy]\n", 2, true},
                 {"metrics: [accuracy, btag]\n", 2, false},
                 {"metrics: {btag: {f_c: 0.1}}\n", 1, false}};

    enter_folder();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char      *text = pq_format("%spipelines: {p: [jet_tagger]}\n", cases[i].head);
        pq_config *c    = read_config(text, NULL);
        cr_expect_eq(c->n_metrics, cases[i].n, "%s", cases[i].head);
        cr_expect_eq(c->metrics[c->n_metrics - 1].usual, cases[i].usual);
        cr_expect(pq_config_metric(c, "btag"));
        pq_config_free(&c);
        pq_free(text);
    }
    pq_config *c =
        read_config("metrics: [accuracy]\npipelines: {p: [svd: {rank: 2}]}\n", NULL);
    cr_expect_eq(c->n_metrics, 1, "no recipe, no metric");
    pq_config_free(&c);
}

Test(recipe, trigger_is_the_search_for_a_latency_with_what_a_circuit_would_take)
{
    pq_config *c;

    enter_folder();
    expect_same(
        "metrics: [accuracy, ebops, fpga]\npipelines: {p: {stages: [{trigger: "
        "{target_latency: 50ns, target_sparsity: $gone}}], sweep: {gone: [0.5, 0.9]}}}\n",
        "metrics: [accuracy, ebops, fpga]\npipelines: {p: {stages: [{fit_latency: "
        "{target_latency: 50ns, target_sparsity: $gone, margin: 0.1, bits: 6, "
        "least_bits: 4, format: int, epochs: 8, rounded_epochs: 4, batch: 256, lr: "
        "0.003, logits: true}}], sweep: {gone: [0.5, 0.9]}}}\n");
    c = read_config("metrics: [accuracy]\npipelines: {p: [trigger]}\n", NULL);
    cr_expect_eq(c->n_metrics, 3);
    cr_expect(pq_config_metric(c, "ebops") && pq_config_metric(c, "fpga"));
    pq_config_free(&c);
}

typedef struct {
    const char *stages, *problem;
} wrong;

static const wrong wrongs[] = {
    {"[jet_tager]", "c.yaml:6:7: pipeline 'p': unknown stage 'jet_tager'; did you mean "
                    "'jet_tagger'?\n"},
    {"[jet_tagger: {rnk: 4}]",
     "c.yaml:6:20: pipeline 'p': jet_tagger: unknown key 'rnk'; did you mean 'rank'?\n"},
    {"[jet_tagger: [4]]",
     "c.yaml:6:19: pipeline 'p': jet_tagger: a map is due here, not a list\n"},
    {"[jet_tagger: 4]",
     "c.yaml:6:19: pipeline 'p': jet_tagger: a map is due here, not a text\n"},
    {"[jet_tagger: {rank: 0}]",
     "c.yaml:6:26: pipeline 'p': svd: rank = 0 is not in 1..1048576\n"},
    {"[jet_tagger: {bits: 1}]",
     "c.yaml:6:26: pipeline 'p': quantize: bits = 1 is not in 2..16\n"},
    {"[jet_tagger: {epochs: many}]",
     "c.yaml:6:28: pipeline 'p': finetune: epochs = 'many' is not a whole number\n"},
    {"[trigger: {target_latency: 0ns}]",
     "c.yaml:6:33: pipeline 'p': fit_latency: target_latency = 0 is not in 1e-09..1\n"},
    {"[trigger: {target_latency: -5ns}]",
     "c.yaml:6:33: pipeline 'p': fit_latency: target_latency = -5e-09 is not in "
     "1e-09..1\n"},
    {"[trigger: {target_latency: 100}]",
     "c.yaml:6:33: pipeline 'p': fit_latency: target_latency = 100 is not in 1e-09..1\n"},
    {"[trigger: {layers: fc*}]",
     "c.yaml:6:17: pipeline 'p': trigger: unknown key 'layers'\n"},
    {"[jet_tagger: {rank: $r}]", "c.yaml:6:26: '$r' is neither swept nor zipped\n"},
    {"[{jet_tagger: {}, svd: {}}]",
     "c.yaml:6:7: pipeline 'p': a stage is one method and its parameters, '- svd: {rank: "
     "8}'\n"},
};

Test(recipe, what_is_wrong_is_told_once_at_its_place)
{
    enter_folder();
    for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
        pq_text    problems = {0};
        pq_config *c        = NULL;
        char      *text     = pq_format(HEAD "pipelines:\n  p: %s\n", wrongs[i].stages);
        write_text("c.yaml", text);
        cr_expect_eq(pq_config_read("c.yaml", NULL, &c, &problems, NULL), PQ_ERR_CONFIG,
                     "%s", wrongs[i].stages);
        cr_expect_str_eq(problems.text, wrongs[i].problem, "%s gives %s",
                         wrongs[i].stages, problems.text);
        pq_text_free(&problems);
        pq_free(text);
    }
}

Test(recipe, methods_of_a_command_line_are_spelled_out_too)
{
    static const char *const given[] = {
        "prune:target_sparsity=0.5", "jet_tagger:rank=4,epochs=0,layers=fc*", "quantize"};
    static const char *const due[] = {
        "prune:target_sparsity=0.5", "svd:layers=fc*,rank=4,clip_rank=true",
        "quantize:layers=fc*,bits=8",
        "finetune:epochs=0,batch=128,lr=0.001,schedule=cosine,preserve_rare_classes=true",
        "quantize"};
    static const char *const wrong[] = {
        "jet_tagger:rnk=4",
        "jet_tagger: unknown key 'rnk' (`pquant help jet_tagger` lists them)",
        "jet_tagger:rank", "jet_tagger: 'rank' is not key=value"};
    char **out = NULL;
    size_t n   = 0;

    OK(pq_recipes_methods(given, 3, &out, &n, ERR));
    cr_assert_eq(n, 5);
    for (size_t i = 0; i < n; i++) {
        cr_expect_str_eq(out[i], due[i]);
        pq_free(out[i]);
    }
    pq_free(out);
    for (size_t i = 0; i < 4; i += 2) {
        pq_err err = {0};
        cr_expect_eq(pq_recipes_methods(&wrong[i], 1, &out, &n, &err), PQ_ERR_CONFIG);
        cr_expect_str_eq(err.message, wrong[i + 1]);
    }
}
