/* The best instruction set of this processor. */
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "codegen/emit.h"
#include "kernels/amx.h"

#if defined(__x86_64__)
static pq_codegen_isa best_of_bytes(void)
{
    unsigned   a = 0, b = 0, c = 0, d = 0;
    const bool in_avx = __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 16) != 0;

    return in_avx ? PQ_CODEGEN_AVXVNNI : PQ_CODEGEN_AVX2;
}
#endif

pq_codegen_isa pq_emit_best(bool whole, pq_codegen_isa most)
{
    pq_codegen_isa best = PQ_CODEGEN_PORTABLE;

#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        best = whole && most >= PQ_CODEGEN_AVXVNNI ? best_of_bytes() : PQ_CODEGEN_AVX2;
        if (most >= PQ_CODEGEN_AVX512 && __builtin_cpu_supports("avx512f") &&
            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512dq") &&
            (!whole || __builtin_cpu_supports("avx512vnni"))) {
            best = whole && most >= PQ_CODEGEN_AMX && pq_amx_may(PQ_AMX_INT8)
                       ? PQ_CODEGEN_AMX
                       : PQ_CODEGEN_AVX512;
        }
    }
#endif
    (void)whole;
    return best < most ? best : most;
}
