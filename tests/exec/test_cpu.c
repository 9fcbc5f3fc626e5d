#include <criterion/criterion.h>
#include <string.h>

#include "exec/cpu.h"

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
    if (pq_cpu_isa() >= PQ_ISA_AVX2 &&
        (strcmp(core, "Prescott") == 0 || strcmp(core, "Nehalem") == 0)) {
        cr_expect_not_null(wanted);
    }
    if (strcmp(core, "SkylakeX") == 0 || strcmp(core, "Zen") == 0 ||
        strcmp(core, "Haswell") == 0) {
        cr_expect(wanted == NULL || strcmp(wanted, "SKYLAKEX") == 0);
    }
}
