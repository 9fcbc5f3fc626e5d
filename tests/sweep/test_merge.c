#include "support.h"

#include <stdio.h>

#include "core/rng.h"
#include "store/record.h"
#include "sweep/merge.h"
#include "sweep/run.h"

#define PIPELINES                                                                        \
    "pipelines:\n  reference: []\n  svd: {stages: [{svd: {rank: $r}}], sweep: {r: [1, "  \
    "2, 3]}}\n"

static void run_part(const char *dir, const char *only)
{
    pq_config       *config  = read_config(PIPELINES, NULL);
    pq_sweep_summary summary = {0};

    OK(pq_sweep_run(config, &(pq_sweep_options){.dir = dir, .only = only}, &summary,
                    ERR));
    pq_sweep_summary_free(&summary);
    pq_config_free(&config);
}

static void expect_same_file(const char *a, const char *b)
{
    char  *x = NULL, *y = NULL;
    size_t n;

    OK(pq_file_read(a, 1 << 24, &x, &n, ERR));
    OK(pq_file_read(b, 1 << 24, &y, &n, ERR));
    cr_expect_str_eq(x, y);
    pq_free(x);
    pq_free(y);
}

Test(merge, parts_make_the_whole_in_any_order)
{
    const char *const ab[] = {"a", "b"}, *const ba[] = {"b", "a"};
    pq_merged merged;

    enter_inputs(100);
    run_part("whole", NULL);
    run_part("a", "reference,*r=1");
    run_part("b", "*r=2,*r=3,reference");
    OK(pq_sweep_join("ab", 2, ab, NULL, &merged, ERR));
    cr_expect_eq(merged.copied, 4);
    cr_expect_eq(merged.duplicates, 1, "both computed the reference");
    OK(pq_sweep_collect("ab", NULL, false, NULL, NULL, ERR));
    OK(pq_sweep_join("ba", 2, ba, NULL, &merged, ERR));
    OK(pq_sweep_collect("ba", NULL, false, NULL, NULL, ERR));
    expect_same_file("ab/table.csv", "whole/table.csv");
    expect_same_file("ba/table.csv", "whole/table.csv");
    OK(pq_sweep_join("ab", 2, ab, NULL, &merged, ERR));
    cr_expect_eq(merged.copied, 0, "nothing is lacking");
    pq_merged_free(&merged);
}

Test(merge, a_record_that_was_copied_is_not_parsed_again)
{
    const char *const from[]  = {"a"};
    pq_shelf         *shelf   = NULL;
    json_t           *results = NULL;
    pq_results_count  count;
    pq_merged         merged;

    enter_inputs(100);
    run_part("a", NULL);
    OK(pq_shelf_open("all", &shelf, ERR));
    OK(pq_sweep_join("all", 1, from, &(pq_join_options){.shelf = shelf}, &merged, ERR));
    OK(pq_sweep_collect("all", shelf, false, &results, &count, ERR));
    cr_expect_eq(merged.copied, 4);
    cr_expect_eq(count.done, 4);
    cr_expect_eq(pq_shelf_parsed(shelf), 0);
    expect_same_file("all/table.csv", "a/table.csv");
    json_decref(results);
    pq_shelf_close(&shelf);
    pq_merged_free(&merged);
}

Test(merge, two_values_of_one_key_are_a_conflict)
{
    const char *const from[] = {"a"}, *const both[] = {"a", "b"};
    json_t   *records = NULL, *record;
    pq_merged merged;
    pq_err    err = {0};

    enter_inputs(100);
    run_part("a", "reference");
    run_part("b", "reference");
    OK(pq_records_read("b", &records, NULL, ERR));
    record = json_array_get(records, 0);
    cr_assert_eq(json_object_set_new(
                     json_object_get(json_object_get(record, "metrics"), "accuracy"),
                     "value", json_real(0.123)),
                 0);
    OK(pq_record_write("b", record, ERR));
    json_decref(records);
    cr_expect_eq(pq_sweep_join("b", 1, from, NULL, &merged, &err), PQ_ERR_NUMERIC);
    cr_expect(strstr(err.message, "b and a differ in accuracy of cell 'reference'") !=
                  NULL,
              "%s", err.message);
    cr_expect_eq(merged.n_conflicts, 1);
    pq_merged_free(&merged);
    cr_expect_eq(pq_sweep_join("new", 2, both, NULL, &merged, NULL), PQ_ERR_NUMERIC);
    cr_expect_not(pq_folder_exists("new"), "nothing is written of folders that differ");
    pq_merged_free(&merged);
}

Test(merge, a_folder_that_is_not_there_is_told)
{
    const char *const from[] = {"nowhere"};
    pq_merged         merged;
    pq_err            err = {0};

    enter_folder();
    cr_expect_eq(pq_sweep_join("x", 1, from, NULL, &merged, &err), PQ_ERR_NOT_FOUND);
    cr_expect_not(pq_folder_exists("x"));
    cr_expect_str_eq(err.message, "nowhere: there is no such folder");
}

Test(merge, folders_of_different_plans_are_refused_but_by_force)
{
    const char *const from[] = {"a"};
    pq_config        *config;
    pq_sweep_summary  summary = {0};
    pq_merged         merged;
    pq_err            err = {0};

    enter_inputs(100);
    run_part("a", "reference");
    config = read_config("pipelines:\n  reference: []\n  int8: [quantize]\n", NULL);
    OK(pq_sweep_run(config, &(pq_sweep_options){.dir = "b"}, &summary, ERR));
    pq_sweep_summary_free(&summary);
    pq_config_free(&config);
    cr_expect_eq(pq_sweep_join("b", 1, from, NULL, &merged, &err), PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message, "b and a have different plans: cell 1 is not the same; "
                                  "--force brings their records together all the same");
    OK(pq_sweep_join("b", 1, from, &(pq_join_options){.force = true}, &merged, ERR));
    cr_expect_leq(merged.copied, 1, "the reference is there, and of the same key");
}

/* Random splits: invented records of a few keys in a few folders, some in several. */
enum { KEYS = 40, SHARDS = 5 };

static void key_of(size_t k, char out[65])
{
    (void)snprintf(out, 65, "%064zx", k * 7919 + 1);
}

/* A record that some worker could have written: evaluations of a key agree, whoever made
 * them; timings and failures need not. */
static void write_record(const char *dir, size_t k, pq_rng *rng)
{
    const bool   eval = k % 3 != 0, fails = pq_rng_bits(rng) % 4 == 0;
    const char  *status = fails ? "timeout" : "ok";
    const double value  = eval ? 0.01 * (double)k : 1e-6 * (double)(pq_rng_bits(rng) % 9);
    char         key[65], date[32];
    json_t      *record;

    key_of(k, key);
    (void)snprintf(date, sizeof date, "2026-11-%02d", 1 + (int)(pq_rng_bits(rng) % 3));
    record = json_pack("{s:s, s:s, s:s, s:s, s:s, s:{s:{s:f}}, s:{s:b}, s:{s:s}, s:f}",
                       "schema", PQ_RECORD_SCHEMA, "key", key, "phase",
                       eval ? "eval" : "latency", "label", "x", "status", status,
                       "metrics", eval ? "accuracy" : "latency.b1.p50_s", "value", value,
                       "timing", "noisy", (int)(pq_rng_bits(rng) % 2), "provenance",
                       "date", date, "seconds", (double)(pq_rng_bits(rng) % 5));
    cr_assert_not_null(record);
    OK(pq_record_write(dir, record, ERR));
    json_decref(record);
}

static void expect_same_records(const char *a, const char *b)
{
    char **names = NULL, **others = NULL;
    size_t n = 0, m = 0;
    char  *x = pq_path_join(a, "cells"), *y = pq_path_join(b, "cells");

    OK(pq_folder_list(x, ".json", &names, &n, ERR));
    OK(pq_folder_list(y, ".json", &others, &m, ERR));
    cr_assert_eq(n, m);
    for (size_t i = 0; i < n; i++) {
        char *one = pq_path_join(x, names[i]), *other = pq_path_join(y, others[i]);
        cr_assert_str_eq(names[i], others[i]);
        expect_same_file(one, other);
        pq_free(one);
        pq_free(other);
        pq_free(names[i]);
        pq_free(others[i]);
    }
    pq_free(names);
    pq_free(others);
    pq_free(x);
    pq_free(y);
}

static size_t join(const char *dir, size_t n, const char *const *from)
{
    pq_merged merged;
    size_t    copied;

    OK(pq_sweep_join(dir, n, from, NULL, &merged, ERR));
    cr_expect_eq(merged.n_conflicts, 0);
    copied = merged.copied;
    pq_merged_free(&merged);
    return copied;
}

Test(merge, is_commutative_associative_and_idempotent_over_random_splits)
{
    pq_rng rng = pq_rng_stream(21, "splits");

    for (size_t round = 0; round < 25; round++) {
        char        names[SHARDS][16];
        const char *forward[SHARDS], *shuffled[SHARDS];
        const char *nested[] = {"left", "right"};

        enter_folder();
        for (size_t f = 0; f < SHARDS; f++) {
            (void)snprintf(names[f], sizeof names[f], "s%zu", f);
            OK(pq_folder_make(names[f], ERR));
            forward[f] = shuffled[f] = names[f];
            for (size_t k = 0; k < KEYS; k++) {
                if (k % SHARDS == f || pq_rng_bits(&rng) % 5 == 0) {
                    write_record(names[f], k, &rng);
                }
            }
        }
        for (size_t i = SHARDS - 1; i > 0; i--) {
            const size_t j    = (size_t)(pq_rng_bits(&rng) % (i + 1));
            const char  *keep = shuffled[i];
            shuffled[i]       = shuffled[j];
            shuffled[j]       = keep;
        }
        cr_expect_eq(join("whole", SHARDS, forward), KEYS);
        (void)join("other", SHARDS, shuffled);
        expect_same_records("whole", "other");
        (void)join("left", 2, shuffled);
        (void)join("right", SHARDS - 2, shuffled + 2);
        (void)join("both", 2, nested);
        expect_same_records("whole", "both");
        cr_expect_eq(join("whole", SHARDS, shuffled), 0, "again changes nothing");
        (void)join(shuffled[0], SHARDS, forward); /* one of them with all, itself too */
        expect_same_records("whole", shuffled[0]);
    }
}

Test(merge, a_damaged_record_is_left_out_and_a_whole_one_wins)
{
    const char *const from[] = {"a", "b"};
    pq_rng            rng    = pq_rng_stream(3, "x");
    char              key[65], *path;
    json_t           *record = NULL;
    pq_merged         merged;

    enter_folder();
    OK(pq_folder_make("a", ERR));
    OK(pq_folder_make("b", ERR));
    write_record("a", 1, &rng);
    write_record("b", 1, &rng);
    key_of(1, key);
    path = pq_format("a/cells/%s.json", key);
    OK(pq_file_write(path, "{\"half\": ", 9, ERR));
    OK(pq_sweep_join("all", 2, from, NULL, &merged, ERR));
    cr_expect_eq(merged.copied, 1);
    cr_expect_eq(merged.damaged, 1);
    cr_expect_eq(merged.duplicates, 0);
    OK(pq_record_read("all", key, &record, ERR));
    json_decref(record);
    OK(pq_sweep_join("a", 2, from, NULL, &merged, ERR));
    cr_expect_eq(merged.copied, 1, "what is damaged in the folder itself is replaced");
    OK(pq_record_read("a", key, &record, ERR));
    json_decref(record);
    pq_free(path);
}
