#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu.h"

Test(cpu, the_instruction_set_is_among_the_features)
{
    char features[256];

    (void)pq_cpu_features(features, sizeof features);
    if (pq_cpu_isa() >= PQ_ISA_AVX2) {
        cr_expect_not_null(strstr(features, "avx2"));
        cr_expect_not_null(strstr(features, "fma"));
    }
    if (pq_cpu_isa() == PQ_ISA_AVX512) {
        cr_expect_not_null(strstr(features, "avx512f"));
    }
}

Test(cpu, texts_are_cut_to_the_buffer)
{
    char features[16], name[49];

    cr_expect_lt(strlen(pq_cpu_features(features, sizeof features)), sizeof features);
    cr_expect_gt(strlen(pq_cpu_name(name, sizeof name)), 0);
}

Test(cpu, what_is_used_is_no_more_than_the_processor_has)
{
    cr_expect_leq(pq_cpu_isa(), pq_cpu_isa_whole());
    cr_expect(pq_cpu_is_capped() || pq_cpu_isa() == pq_cpu_isa_whole());
    cr_expect_eq(pq_cpu_check_cap(NULL), PQ_OK);
}

static void expect_cap(const char *text, bool fine)
{
    pq_err err = {0};

    cr_assert_eq(setenv("PQUANT_ISA", text, 1), 0);
    cr_expect_eq(pq_cpu_check_cap(&err), fine ? PQ_OK : PQ_ERR_CONFIG, "'%s'", text);
    cr_expect_eq(strstr(err.message, text) == NULL, fine, "%s", err.message);
}

/* Each test is a process of its own, and the variable is read once in it. */
Test(cpu, portable_is_a_cap_on_every_processor)
{
    expect_cap("portable", true);
    cr_expect(pq_cpu_is_capped());
    cr_expect_eq(pq_cpu_isa(), PQ_ISA_PORTABLE);
}

Test(cpu, caps_that_are_no_instruction_set_are_refused)
{
    expect_cap("AVX2", false);
    cr_expect_eq(pq_cpu_isa(), pq_cpu_isa_whole());
}

Test(cpu, a_cap_above_the_processor_is_refused)
{
    expect_cap("avx512", pq_cpu_isa_whole() == PQ_ISA_AVX512);
}

Test(cpu, names_of_instruction_sets_differ)
{
    cr_expect_str_eq(pq_isa_name(PQ_ISA_PORTABLE), "portable");
    cr_expect_str_eq(pq_isa_name(PQ_ISA_AVX2), "avx2");
    cr_expect_str_eq(pq_isa_name(PQ_ISA_AVX512), "avx512");
}

Test(cpu, openblas_kernels_without_avx2_are_not_accepted_on_a_processor_with_it)
{
    const char *core = pq_blas_coretype(), *wanted = pq_blas_wanted_coretype();

    cr_assert_not_null(core);
    if (pq_cpu_isa() == PQ_ISA_PORTABLE) {
        cr_skip_test("skipped: kernels are capped, or the processor has no AVX2");
    }
    if (strcmp(core, "Prescott") == 0 || strcmp(core, "Nehalem") == 0) {
        cr_expect_not_null(wanted);
    }
    if (pq_cpu_is_capped()) { /* even good ones may be too much */
        return;
    }
    if (strcmp(core, "SkylakeX") == 0 || strcmp(core, "Zen") == 0 ||
        strcmp(core, "Haswell") == 0) {
        cr_expect(wanted == NULL || strcmp(wanted, "SKYLAKEX") == 0);
    }
}
