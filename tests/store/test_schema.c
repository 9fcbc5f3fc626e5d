#include <criterion/criterion.h>
#include <string.h>

#include "store/schema.h"

static void refused(pq_status (*check)(const json_t *, pq_err *), const char *text,
                    const char *want)
{
    json_t *json = json_loads(text, 0, NULL);
    pq_err  err  = {0};

    cr_assert_not_null(json, "%s", text);
    cr_expect_eq(check(json, &err), PQ_ERR_FORMAT, "%s", text);
    cr_expect_str_eq(err.message, want);
    json_decref(json);
}

Test(schema, fields_of_another_type_are_named)
{
    refused(pq_schema_record, "[]", "is not a JSON object");
    refused(pq_schema_record, "{\"metrics\": []}",
            "'metrics' is not an object of objects");
    refused(pq_schema_record, "{\"metrics\": {\"a\": 1}}",
            "'metrics' is not an object of objects");
    refused(pq_schema_record, "{\"provenance\": [1]}", "'provenance' is not an object");
    refused(pq_schema_record, "{\"stages\": [1]}", "'stages' is not a list of texts");
    refused(pq_schema_record, "{\"status\": \"\\u001b[31mok\"}",
            "'status' is not a word");
    refused(pq_schema_record, "{\"status\": \"ok](http://x)\"}",
            "'status' is not a word");
    refused(pq_schema_plan, "{\"cells\": {}}", "'cells' is not a list of objects");
    refused(pq_schema_plan, "{\"output\": [\"html\"]}",
            "'output' is not an object of texts");
    refused(pq_schema_plan, "{\"cells\": [{\"latency\": [null]}]}",
            "cell 0: 'latency' is not a list of texts");
    refused(pq_schema_plan, "{\"cells\": [{}, {\"axes\": [\"a\"]}]}",
            "cell 1: 'axes' is not an object of texts");
}

Test(schema, files_of_a_record_stay_in_its_folder)
{
    static const char *const bad[] = {"/etc/passwd",  "../x.h5",   "arrays/../../x",
                                      "cells/x.json", "arrays/",   "arrays/a/b",
                                      "models/.x",    "arrays/-x", "plots/x.svg",
                                      "arrays/..",    "arrays",    "arrays/a\\u000ab"};
    char                     text[128];

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        (void)snprintf(text, sizeof text, "{\"arrays_file\": \"%s\"}", bad[i]);
        refused(pq_schema_record, text,
                "'arrays_file' is not a file in arrays/ or models/");
        (void)snprintf(text, sizeof text, "{\"model_file\": \"%s\"}", bad[i]);
        refused(pq_schema_record, text,
                "'model_file' is not a file in arrays/ or models/");
    }
}

Test(schema, many_constraints_are_not_read)
{
    json_t *plan = json_object(), *all = json_object();
    pq_err  err = {0};
    char    name[16];

    for (int i = 0; i < 257; i++) {
        (void)snprintf(name, sizeof name, "m%d", i);
        (void)json_object_set_new(all, name, json_object());
    }
    (void)json_object_set_new(plan, "constraints", all);
    cr_expect_eq(pq_schema_plan(plan, &err), PQ_ERR_FORMAT);
    cr_expect_str_eq(err.message, "has 257 constraints; at most 256 are read");
    (void)json_object_del(all, "m0");
    cr_expect_eq(pq_schema_plan(plan, NULL), PQ_OK);
    json_decref(plan);
}
