#include <criterion/criterion.h>
#include <math.h>

#include "core/memory.h"
#include "core/param.h"

typedef struct {
    int64_t  rank;
    double   energy, timeout;
    bool     keep;
    int      mode;
    char    *layers;
    pq_reals ranks;
} sample;

static const char *const modes[] = {"channel", "spatial", NULL};

static const pq_param table[] = {
    {"rank", PQ_PARAM_INT, offsetof(sample, rank), NULL, 1, 65536, NULL, PQ_UNIT_NONE,
     "rank kept"},
    {"energy", PQ_PARAM_REAL, offsetof(sample, energy), "0.9", 0, 1, NULL, PQ_UNIT_NONE,
     "share"},
    {"timeout", PQ_PARAM_REAL, offsetof(sample, timeout), "30m", 0, 1e9, NULL,
     PQ_UNIT_TIME, "time"},
    {"keep", PQ_PARAM_BOOL, offsetof(sample, keep), "true", 0, 0, NULL, PQ_UNIT_NONE,
     "keep it"},
    {"mode", PQ_PARAM_CHOICE, offsetof(sample, mode), "channel", 0, 0, modes,
     PQ_UNIT_NONE, "form"},
    {"layers", PQ_PARAM_STRING, offsetof(sample, layers), NULL, 0, 0, NULL, PQ_UNIT_NONE,
     "glob"},
    {"ranks", PQ_PARAM_LIST, offsetof(sample, ranks), "8,4", 1, 64, NULL, PQ_UNIT_NONE,
     "ranks"},
    {0},
};

static void expect_failure(const char *name, const char *text, pq_status code,
                           const char *message)
{
    sample s   = {0};
    pq_err err = {0};

    cr_assert_eq(pq_params_default(table, &s, NULL), PQ_OK);
    cr_expect_eq(pq_params_set(table, &s, name, text, &err), code, "%s=%s", name, text);
    cr_expect_str_eq(err.message, message);
    pq_params_free(table, &s);
}

Test(param, defaults_fill_every_field)
{
    sample s = {0};

    cr_assert_eq(pq_params_default(table, &s, NULL), PQ_OK);
    cr_expect_eq(s.rank, PQ_UNSET);
    cr_expect_eq(s.energy, 0.9);
    cr_expect_eq(s.timeout, 1800.0);
    cr_expect(s.keep);
    cr_expect_eq(s.mode, 0);
    cr_expect_null(s.layers);
    cr_expect_eq(s.ranks.n, 2);
    cr_expect_eq(s.ranks.value[1], 4.0);
}

Test(param, printed_values_read_back_the_same)
{
    sample  a = {0}, b = {0};
    pq_text text = {0}, again = {0};

    cr_assert_eq(pq_params_default(table, &a, NULL), PQ_OK);
    cr_assert_eq(pq_params_set(table, &a, "rank", "12", NULL), PQ_OK);
    cr_assert_eq(pq_params_set(table, &a, "energy", "1e-5", NULL), PQ_OK);
    cr_assert_eq(pq_params_set(table, &a, "mode", "spatial", NULL), PQ_OK);
    cr_assert_eq(pq_params_set(table, &a, "layers", "fc*", NULL), PQ_OK);
    cr_assert_eq(pq_params_set(table, &a, "ranks", "[3, 2, 1]", NULL), PQ_OK);
    pq_params_print(table, &a, &text);
    cr_expect_str_eq(text.text,
                     "rank=12, energy=1e-05, timeout=1800, keep=true, mode=spatial, "
                     "layers=fc*, ranks=[3, 2, 1]");
    cr_assert_eq(pq_params_copy(table, &a, &b, NULL), PQ_OK);
    pq_params_print(table, &b, &again);
    cr_expect_str_eq(again.text, text.text);
    cr_expect_neq(a.layers, b.layers);
    pq_params_free(table, &a);
    pq_params_free(table, &b);
    pq_text_free(&text);
    pq_text_free(&again);
}

Test(param, none_unsets_what_may_be_unset)
{
    sample s = {0};

    cr_assert_eq(pq_params_default(table, &s, NULL), PQ_OK);
    cr_assert_eq(pq_params_set(table, &s, "rank", "3", NULL), PQ_OK);
    cr_assert_eq(pq_params_set(table, &s, "rank", "none", NULL), PQ_OK);
    cr_expect_eq(s.rank, PQ_UNSET);
}

Test(param, bad_input_names_value_and_range)
{
    expect_failure("rank", "0", PQ_ERR_RANGE, "rank = 0 is not in 1..65536");
    expect_failure("rank", "1.5", PQ_ERR_CONFIG, "rank = '1.5' is not a whole number");
    expect_failure("energy", "2", PQ_ERR_RANGE, "energy = 2 is not in 0..1");
    expect_failure("energy", "nan", PQ_ERR_CONFIG, "energy = 'nan' is not a number");
    expect_failure("timeout", "10kB", PQ_ERR_CONFIG,
                   "timeout = '10kB' is not a number with a unit of time, such as 10ms");
    expect_failure("keep", "maybe", PQ_ERR_CONFIG, "keep = 'maybe' is not true or false");
    expect_failure(
        "mode", "spacial", PQ_ERR_CONFIG,
        "mode = 'spacial' is not one of channel, spatial; did you mean 'spatial'?");
    expect_failure("rnak", "3", PQ_ERR_CONFIG,
                   "unknown parameter 'rnak'; did you mean 'rank'?");
    expect_failure("ranks", "8,0", PQ_ERR_RANGE, "ranks = 0 is not in 1..64");
    expect_failure("ranks", "8,x", PQ_ERR_CONFIG,
                   "ranks has an entry 'x' that is not a number");
}

Test(param, every_failed_allocation_leaves_nothing_behind)
{
    const size_t before = pq_memory_live();

    for (size_t n = 0;; n++) {
        sample    a = {0}, b = {0};
        pq_status st;
        pq_memory_fail_after(n);
        st = pq_params_default(table, &a, NULL);
        st = st == PQ_OK ? pq_params_set(table, &a, "layers", "fc*", NULL) : st;
        st = st == PQ_OK ? pq_params_copy(table, &a, &b, NULL) : st;
        pq_memory_fail_after(SIZE_MAX);
        pq_params_free(table, &a);
        pq_params_free(table, &b);
        cr_assert_eq(pq_memory_live(), before);
        if (st == PQ_OK) {
            cr_expect_gt(n, 0);
            break;
        }
        cr_assert_eq(st, PQ_ERR_NOMEM);
    }
}
