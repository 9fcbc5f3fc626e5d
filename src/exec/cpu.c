#include "exec/cpu.h"

#include <cblas.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

const char *pq_isa_name(pq_isa isa)
{
    static const char *const names[PQ_ISA_COUNT] = {"portable", "avx2", "avx512"};

    return names[isa];
}

#if defined(__x86_64__)
#define FEATURE(name)                                                                    \
    {                                                                                    \
        name, __builtin_cpu_supports(name) != 0                                          \
    }
#endif

pq_isa pq_cpu_isa(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw")) {
        return PQ_ISA_AVX512;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        return PQ_ISA_AVX2;
    }
#endif
    return PQ_ISA_PORTABLE;
}

const char *pq_cpu_features(char *buffer, size_t size)
{
    size_t length = 0;

    buffer[0] = '\0';
#if defined(__x86_64__)
    const struct {
        const char *name;
        bool        there;
    } features[] = {
        FEATURE("sse4.2"),     FEATURE("avx"),      FEATURE("avx2"),
        FEATURE("fma"),        FEATURE("avx512f"),  FEATURE("avx512bw"),
        FEATURE("avx512dq"),   FEATURE("avx512vl"), FEATURE("avx512vnni"),
        FEATURE("avx512bf16"),
    };
    for (size_t i = 0; i < sizeof features / sizeof features[0]; i++) {
        if (features[i].there && length + strlen(features[i].name) + 2 < size) {
            length += (size_t)snprintf(buffer + length, size - length, "%s%s",
                                       length == 0 ? "" : " ", features[i].name);
        }
    }
#else
    (void)length;
    (void)size;
#endif
    return buffer;
}

const char *pq_cpu_name(char *buffer, size_t size)
{
    (void)snprintf(buffer, size, "unknown");
#if defined(__x86_64__)
    unsigned words[12]               = {0};
    char     brand[sizeof words + 1] = {0};
    bool     known                   = true;

    for (unsigned i = 0; i < 3; i++) {
        known = known && __get_cpuid(0x80000002U + i, &words[4 * i], &words[4 * i + 1],
                                     &words[4 * i + 2], &words[4 * i + 3]) != 0;
    }
    memcpy(brand, words, sizeof words);
    if (known && brand[0] != '\0') {
        (void)snprintf(buffer, size, "%s", brand + strspn(brand, " "));
    }
#endif
    return buffer;
}

const char *pq_blas_coretype(void)
{
    return openblas_get_corename();
}

#if defined(__x86_64__)
static bool is_amd(void)
{
    unsigned a = 0, b = 0, c = 0, d = 0;

    return __get_cpuid(0, &a, &b, &c, &d) != 0 && b == signature_AMD_ebx &&
           d == signature_AMD_edx && c == signature_AMD_ecx;
}

/* Whether OpenBLAS runs kernels for a core that has these instructions. */
static bool is_one_of(const char *core, const char *const *cores)
{
    for (; *cores != NULL; cores++) {
        if (strcasecmp(core, *cores) == 0) {
            return true;
        }
    }
    return false;
}
#endif

const char *pq_blas_wanted_coretype(void)
{
#if defined(__x86_64__)
    static const char *const avx512[] = {"SkylakeX", "Cooperlake", "SapphireRapids",
                                         NULL};
    static const char *const avx2[] = {"Haswell",        "Zen", "SkylakeX", "Cooperlake",
                                       "SapphireRapids", NULL};
    const char              *core   = pq_blas_coretype();

    /* Zen kernels are as good as OpenBLAS 0.3.21 has for AMD; do not second-guess them.
     */
    if (pq_cpu_isa() == PQ_ISA_AVX512 && !is_amd()) {
        return is_one_of(core, avx512) ? NULL : "SKYLAKEX";
    }
    if (pq_cpu_isa() >= PQ_ISA_AVX2) {
        return is_one_of(core, avx2) ? NULL : is_amd() ? "ZEN" : "HASWELL";
    }
#endif
    return NULL;
}
