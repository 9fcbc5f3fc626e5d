#include "kernels/cpu.h"

#include <cblas.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
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

pq_isa pq_cpu_isa_whole(void)
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

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char           cap_text[24]; /* PQUANT_ISA, cut; "": there is none */
static pq_isa         cap = PQ_ISA_COUNT;

static void read_cap(void)
{
    const char *text = getenv("PQUANT_ISA");

    (void)snprintf(cap_text, sizeof cap_text, "%s", text != NULL ? text : "");
    for (pq_isa isa = PQ_ISA_PORTABLE; isa < PQ_ISA_COUNT; isa++) {
        if (strcmp(cap_text, pq_isa_name(isa)) == 0) {
            cap = isa;
        }
    }
}

bool pq_cpu_is_capped(void)
{
    (void)pthread_once(&once, read_cap);
    return cap <= pq_cpu_isa_whole();
}

pq_isa pq_cpu_isa(void)
{
    return pq_cpu_is_capped() ? cap : pq_cpu_isa_whole();
}

pq_status pq_cpu_check_cap(pq_err *err)
{
    const pq_isa whole = pq_cpu_isa_whole();
    pq_status    st    = PQ_OK;

    PQ_CHECK(pq_cpu_is_capped() || cap_text[0] == '\0', PQ_ERR_CONFIG,
             "PQUANT_ISA is '%s'; this processor has %s%s%s", cap_text,
             pq_isa_name(PQ_ISA_PORTABLE), whole >= PQ_ISA_AVX2 ? ", avx2" : "",
             whole >= PQ_ISA_AVX512 ? ", avx512" : "");
cleanup:
    return st;
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

#if defined(__x86_64__)
/* For an instruction set that is asked for: no more than that, so that a product rounds
 * as on a processor that has no more. */
static const char *capped_coretype(const char *core)
{
    static const char *const portable[] = {"Prescott", NULL};
    static const char *const avx2[]     = {"Haswell", "Zen", NULL};

    if (pq_cpu_isa() == PQ_ISA_PORTABLE) {
        return is_one_of(core, portable) ? NULL : "PRESCOTT";
    }
    return is_one_of(core, avx2) ? NULL : is_amd() ? "ZEN" : "HASWELL";
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

    if (pq_cpu_is_capped() && pq_cpu_isa() < PQ_ISA_AVX512) {
        return capped_coretype(core);
    }
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
