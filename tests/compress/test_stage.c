#include "nets.h"

static void expect_text(const char *text, const char *canonical)
{
    pq_stage stage = {0}, again = {0};
    pq_text  printed = {0}, repeated = {0};

    OK(pq_stage_parse(text, &stage, &err));
    pq_stage_print(&stage, &printed);
    cr_expect_str_eq(printed.text, canonical);
    OK(pq_stage_parse(printed.text, &again, &err));
    pq_stage_print(&again, &repeated);
    cr_expect_str_eq(repeated.text, canonical);
    pq_text_free(&printed);
    pq_text_free(&repeated);
    pq_stage_free(&stage);
    pq_stage_free(&again);
}

Test(stage, canonical_text_holds_every_default_and_reads_back)
{
    expect_text("prune", "prune: layers=*, target_sparsity=0.5, scope=global, "
                         "criterion=magnitude, N=none, M=none, block=[]");
    expect_text("prune: scope = per_layer , target_sparsity=25%",
                "prune: layers=*, target_sparsity=0.25, scope=per_layer, "
                "criterion=magnitude, N=none, M=none, block=[]");
}

Test(stage, every_method_prints_all_its_parameters_and_reads_them_back)
{
    for (const pq_method *const *m = pq_methods; *m != NULL; m++) {
        pq_stage stage = {0};
        pq_text  text  = {0};
        OK(pq_stage_create((*m)->name, &stage, &err));
        pq_stage_print(&stage, &text);
        for (const pq_param *p = (*m)->params; p != NULL && p->name != NULL; p++) {
            char entry[80];
            snprintf(entry, sizeof entry, " %s=", p->name);
            cr_expect_not_null(strstr(text.text, entry), "%s:%s", (*m)->name, entry);
        }
        pq_text_free(&text);
        pq_stage_free(&stage);
    }
}

Test(stage, what_was_given_stands_in_the_canonical_text_and_reads_back)
{
    pq_stage stage = {0}, again = {0};
    pq_text  first = {0}, second = {0};

    OK(pq_stage_parse("svd:layers=fc1|conv*,rank=8", &stage, &err));
    pq_stage_print(&stage, &first);
    cr_expect_eq(strncmp(first.text, "svd: layers=fc1|conv*, rank=8, ", 31), 0, "%s",
                 first.text);
    OK(pq_stage_parse(first.text, &again, &err));
    pq_stage_print(&again, &second);
    cr_expect_str_eq(second.text, first.text);
    pq_text_free(&first);
    pq_text_free(&second);
    pq_stage_free(&stage);
    pq_stage_free(&again);
}

static void expect_refused(const char *text, pq_status status, const char *message)
{
    pq_stage stage = {0};
    pq_err   err   = {0};

    cr_expect_eq(pq_stage_parse(text, &stage, &err), status, "%s", text);
    cr_expect_str_eq(err.message, message);
    cr_expect_null(stage.method);
}

Test(stage, what_cannot_be_read_is_named)
{
    expect_refused("sdv:rank=3", PQ_ERR_CONFIG,
                   "unknown method 'sdv'; did you mean 'svd'?");
    expect_refused("magic", PQ_ERR_CONFIG, "unknown method 'magic'");
    expect_refused("", PQ_ERR_CONFIG, "unknown method ''");
    expect_refused("svd:rnak=3", PQ_ERR_CONFIG,
                   "svd: unknown parameter 'rnak'; did you mean 'rank'?");
    expect_refused("svd:rank", PQ_ERR_CONFIG, "svd: 'rank' is not key=value");
    expect_refused("svd:rank=3,,", PQ_ERR_CONFIG, "svd: '' is not key=value");
    expect_refused("svd:rank=three", PQ_ERR_CONFIG,
                   "svd: rank = 'three' is not a whole number");
    expect_refused("svd:rank=3, rank=4", PQ_ERR_CONFIG, "svd: rank is given twice");
    expect_refused("svd:layers=a,rank=3,layers=b", PQ_ERR_CONFIG,
                   "svd: layers is given twice");
    expect_refused("svd:layers=,rank=3", PQ_ERR_CONFIG, "svd: layers is empty");
    expect_refused("prune:scope=globl", PQ_ERR_CONFIG,
                   "prune: scope = 'globl' is not one of global, per_layer, per_channel; "
                   "did you mean "
                   "'global'?");
    expect_refused("quantize:bits=17", PQ_ERR_RANGE,
                   "quantize: bits = 17 is not in 2..16");
}

Test(stage, hint_of_an_unknown_method_lists_them)
{
    pq_stage stage = {0};
    pq_err   err   = {0};

    cr_expect_eq(pq_stage_parse("magic", &stage, &err), PQ_ERR_CONFIG);
    cr_expect_eq(strncmp(err.hint, "methods: ", 9), 0);
    for (const pq_method *const *m = pq_methods; *m != NULL; m++) {
        cr_expect_not_null(strstr(err.hint, (*m)->name));
    }
}

Test(stage, methods_are_complete_and_found_by_name)
{
    for (const pq_method *const *m = pq_methods; *m != NULL; m++) {
        pq_stage stage = {0};

        cr_expect_eq(pq_method_find((*m)->name), *m);
        cr_expect((*m)->summary != NULL && (*m)->source != NULL && (*m)->version != NULL);
        cr_expect((*m)->accepts != NULL && (*m)->apply != NULL);
        OK(pq_stage_create((*m)->name, &stage, &err));
        for (const pq_param *row = (*m)->params; row->name != NULL; row++) {
            cr_expect_not_null(row->help);
            cr_expect_neq(strcmp(row->name, "layers"), 0);
        }
        pq_stage_free(&stage);
    }
    cr_expect_null(pq_method_find("identity"));
}

Test(stage, input_graph_is_unchanged_and_the_step_is_noted)
{
    pq_graph *g = net_mlp(1), *once, *twice;
    char      before[65], after[65], between[65];

    OK(pq_graph_hash(g, before, &err));
    once  = net_apply("svd:rank=4,layers=fc2", g, NULL, NULL, NULL);
    twice = net_apply("prune:target_sparsity=0.25", once, NULL, NULL, NULL);
    OK(pq_graph_hash(g, after, &err));
    OK(pq_graph_hash(once, between, &err));
    cr_expect_str_eq(before, after);
    cr_assert_eq(json_array_size(twice->provenance), 2);

    const json_t *first = json_array_get(twice->provenance, 0);
    const json_t *last  = json_array_get(twice->provenance, 1);

    cr_expect_str_eq(json_string_value(json_object_get(first, "method")), "svd");
    cr_expect_str_eq(json_string_value(json_object_get(first, "layers")), "fc2");
    cr_expect_str_eq(json_string_value(json_object_get(first, "input")), before);
    cr_expect_str_eq(json_string_value(json_object_get(last, "method")), "prune");
    cr_expect_str_eq(json_string_value(json_object_get(last, "input")), between);
    cr_expect_str_eq(json_string_value(json_object_get(last, "params")),
                     "target_sparsity=0.25, scope=global, criterion=magnitude, "
                     "N=none, M=none, block=[]");
    pq_graph_free(&twice);
    pq_graph_free(&once);
    pq_graph_free(&g);
}

Test(stage, a_layers_name_selects_its_factors_too)
{
    pq_graph *g   = net_mlp(2);
    pq_graph *low = net_apply("svd:rank=4,layers=fc1|fc2", g, NULL, NULL, NULL), *out;
    pq_layer_change *changes;
    size_t           n;

    out = net_apply("prune:layers=fc1", low, NULL, &changes, &n);
    cr_assert_eq(n, 2);
    cr_expect_str_eq(changes[0].layer, "fc1.b");
    cr_expect_str_eq(changes[1].layer, "fc1");
    pq_free(changes);
    pq_graph_free(&out);
    out = net_apply("prune:layers=fc2.b", low, NULL, &changes, &n);
    cr_expect_eq(n, 1);
    pq_free(changes);
    pq_graph_free(&out);
    pq_graph_free(&low);
    pq_graph_free(&g);
}

Test(stage, selecting_nothing_lists_what_could_be_selected)
{
    pq_graph *g = net_mlp(3);
    pq_err    err;

    cr_expect_eq(net_refusal("prune:layers=fc9|relu*", g, NULL, &err), PQ_ERR_CONFIG);
    cr_expect_str_eq(
        err.message,
        "prune: layers = 'fc9,relu*' selects nothing it can work on; it could work "
        "on: fc1, fc2, fc3, out");
    pq_graph_free(&g);
}

Test(stage, missing_calibration_is_said_before_any_work)
{
    pq_graph *g = net_mlp(3);
    pq_err    err;

    cr_expect_eq(net_refusal("quantize", g, NULL, &err), PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message,
                     "quantize needs calibration events with these parameters");
    cr_expect_neq(err.hint[0], '\0');
    pq_graph_free(&g);
}

Test(stage, parsing_survives_every_failed_allocation)
{
    pq_status st = PQ_ERR_NOMEM;

    for (size_t n = 0; st != PQ_OK; n++) {
        const size_t live  = pq_memory_live();
        pq_stage     stage = {0};

        pq_memory_fail_after(n);
        st = pq_stage_parse("svd:layers=a|b,rank=3,form=spatial", &stage, NULL);
        pq_memory_fail_after(SIZE_MAX);
        cr_assert(st == PQ_OK || st == PQ_ERR_NOMEM);
        pq_stage_free(&stage);
        cr_assert_eq(pq_memory_live(), live);
    }
}

/* Factors of factors belong to the factor they came from, and to nothing else. */
Test(stage, bytes_and_operations_are_counted_once_however_often_layers_are_factored)
{
    pq_graph        *g = net_mlp(3), *once, *twice;
    pq_layer_change *changes;
    size_t           n, before = 0, after = 0;
    uint64_t         macs_before = 0, macs_after = 0;

    once = net_apply("svd:rank=8,layers=fc2|fc3", g, NULL, NULL, NULL);
    twice =
        net_apply("svd:rank=3,layers=fc2|fc3,keep_dense=no", once, NULL, &changes, &n);
    cr_assert_eq(n, 4); /* fc2.b, fc2, fc3.b, fc3 */
    for (size_t i = 0; i < n; i++) {
        before += changes[i].bytes_before;
        after += changes[i].bytes_after;
        macs_before += changes[i].macs_before;
        macs_after += changes[i].macs_after;
    }
    const size_t others = 4 * (16 * 64 + 64 + 32 * 5 + 5);
    cr_expect_eq(before, pq_graph_stored_bytes(once) - others);
    cr_expect_eq(after, pq_graph_stored_bytes(twice) - others);
    cr_expect_eq(macs_before, 8 * (64 + 32) + 8 * (32 + 32));
    cr_expect_eq(macs_after, 3 * ((64 + 8) + (8 + 32) + (32 + 8) + (8 + 32)));
    pq_free(changes);
    pq_graph_free(&g);
    pq_graph_free(&once);
    pq_graph_free(&twice);
}
