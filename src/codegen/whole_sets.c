/*
 * What each instruction set calls the operations of whole.h, as C source. A sum is that
 * of 16 outputs; four inputs are multiplied at once with 64 weights, [16][4] bytes or, in
 * the portable variant, [4][16] floats, whose sums are exact below 2^24.
 */
#include "codegen/whole_sets.h"

#include <string.h>

#include "codegen/frame.h"

static const char *const common[] = {
    "#include <math.h>\n#include <stdint.h>\n#include <string.h>\n"
    "#if defined __x86_64__\n#include <immintrin.h>\n#include <cpuid.h>\n#endif\n\n"
    "#define INLINE static inline __attribute__((always_inline, unused))\n\n"
    "/* The compiler keeps what was stored no longer in registers: reading a byte of it "
    "back\n   and spreading it is cheaper than taking a vector apart. */\n"
    "#define SETTLE(memory) __asm__ volatile(\"\" : : \"r\"(memory) : \"memory\")\n\n"
    "/* e to the x for x at most 0, within 2e-7 of the largest */\n"
    "INLINE float power(float x)\n{\n"
    "    const float n = x < -87.0f ? -87.0f : x;\n"
    "    const float k = (n * 1.44269504f + 12582912.0f) - 12582912.0f;\n"
    "    const float r = (n - k * 0.693359375f) + k * 2.12194440e-4f;\n"
    "    const int   e = ((int)(k == k ? k : 0.0f) + 127) * (1 << 23);\n"
    "    float       s, p = 1.9875691500e-4f;\n\n"
    "    p = p * r + 1.3981999507e-3f;\n    p = p * r + 8.3334519073e-3f;\n"
    "    p = p * r + 4.1665795894e-2f;\n    p = p * r + 1.6666665459e-1f;\n"
    "    p = p * r + 5.0000001201e-1f;\n"
    "    memcpy(&s, &e, sizeof s);\n"
    "    return (p * r * r + r + 1.0f) * s;\n}\n\n",
    NULL,
};

/* Sums as floats, four to a vector; codes as floats, too. */
static const char *const portable[] = {
    "typedef float  vf __attribute__((vector_size(16), aligned(4), may_alias));\n"
    "typedef int    vi __attribute__((vector_size(16), aligned(4), may_alias));\n"
    "typedef double vd __attribute__((vector_size(32), aligned(8), may_alias));\n\n"
    "typedef float portable_act;\n"
    "typedef struct {\n    vf a[4];\n} portable_acc;\n"
    "typedef portable_acc portable_sum;\n"
    "typedef portable_acc portable_x;\n\n"
    "INLINE vf spread(float a)\n{\n    return (vf){a, a, a, a};\n}\n\n"
    "#if defined __SSE2__\n"
    "INLINE vf limit(vf v, vf lo, vf hi)\n{\n"
    "    return (vf)_mm_min_ps(_mm_max_ps((__m128)v, (__m128)lo), (__m128)hi);\n}\n"
    "INLINE int any(vi v)\n{\n    return _mm_movemask_epi8((__m128i)v) != 0;\n}\n"
    "#else\n"
    "INLINE vf limit(vf v, vf lo, vf hi)\n{\n    vi m = v > lo;\n\n"
    "    v = (vf)(((vi)v & m) | ((vi)lo & ~m));\n    m = v < hi;\n"
    "    return (vf)(((vi)v & m) | ((vi)hi & ~m));\n}\n"
    "INLINE int any(vi v)\n{\n    return (v[0] | v[1] | v[2] | v[3]) != 0;\n}\n"
    "#endif\n\n",
    "INLINE portable_acc portable_zero(void)\n{\n"
    "    return (portable_acc){{spread(0.0f), spread(0.0f), spread(0.0f), "
    "spread(0.0f)}};\n}\n"
    "INLINE portable_x portable_x4(const float *p)\n{\n"
    "    return (portable_x){{spread(p[0]), spread(p[1]), spread(p[2]), "
    "spread(p[3])}};\n}\n"
    "#define PANEL(q) \\\n"
    "    if (n > 4 * (q)) \\\n"
    "    a.a[q] += (x.a[0] * *(const vf *)(w + 4 * (q)) + x.a[1] * *(const vf *)(w + 16 "
    "+ 4 * (q))) + \\\n"
    "              (x.a[2] * *(const vf *)(w + 32 + 4 * (q)) + x.a[3] * *(const vf *)(w "
    "+ 48 + 4 * (q)))\n"
    "INLINE portable_acc portable_dot(portable_acc a, portable_x x, const float *w, int "
    "n)\n{\n"
    "    PANEL(0);\n    PANEL(1);\n    PANEL(2);\n    PANEL(3);\n    return a;\n}\n"
    "#undef PANEL\n"
    "INLINE portable_acc portable_join(portable_acc a, portable_acc b)\n{\n"
    "    for (int q = 0; q < 4; q++) {\n        a.a[q] += b.a[q];\n    }\n"
    "    return a;\n}\n"
    "INLINE portable_acc portable_start(const float *bias)\n{\n"
    "    return (portable_acc){{*(const vf *)bias, *(const vf *)(bias + 4), *(const vf "
    "*)(bias + 8), *(const vf *)(bias + 12)}};\n}\n"
    "INLINE portable_sum portable_sums(portable_acc a, const float *bias)\n{\n"
    "    (void)bias;\n    return a;\n}\n",
    "INLINE void portable_put(portable_sum s, int32_t *to, int n)\n{\n"
    "    for (int i = 0; i < n; i++) {\n"
    "        to[i] = (int32_t)s.a[i / 4][i % 4];\n    }\n}\n"
    "INLINE void portable_some(vf v, float *to, int n)\n{\n"
    "    if (n >= 4) {\n        *(vf *)to = v;\n        return;\n    }\n"
    "    for (int i = 0; i < 4 && i < n; i++) {\n        to[i] = v[i];\n    }\n}\n"
    "INLINE void portable_shift(portable_sum s, const float *t, int least, int most, "
    "float *to, "
    "int n, int room)\n{\n"
    "    for (int q = 0; 4 * q < n; q++) {\n"
    "        const vf v = limit(s.a[q] * *(const vf *)(t + 4 * q), spread((float)least), "
    "spread((float)most));\n"
    "        portable_some(__builtin_convertvector(__builtin_convertvector(v, vi), vf), "
    "to + 4 * q, room - 4 * q);\n    }\n}\n"
    "INLINE void portable_even(portable_sum s, const float *t, int zero, int least, int "
    "most, "
    "float *to, int n, int room)\n{\n"
    "    const vf z = spread((float)zero);\n\n"
    "    for (int q = 0; 4 * q < n; q++) {\n"
    "        const vf v = limit(s.a[q] * *(const vf *)(t + 4 * q), spread((float)least) "
    "- z, spread((float)most) "
    "- z);\n"
    "        portable_some((v + spread(12582912.0f)) - spread(12582912.0f) + z, "
    "to + 4 * q, room - 4 * q);\n    }\n}\n",
    "INLINE void portable_scale(portable_sum s, const float *t, const double *u, float "
    "*to, int n, int room)\n{\n"
    "    for (int q = 0; 4 * q < n; q++) {\n"
    "        const vf v = limit(s.a[q], *(const vf *)(t + 4 * q), *(const vf *)(t + 16 + "
    "4 * q));\n"
    "        const vd d = __builtin_convertvector(v, vd) * *(const vd *)(u + 4 * q) + "
    "*(const vd *)(u + 16 + 4 * q);\n"
    "        portable_some(__builtin_convertvector(__builtin_convertvector(d, vi), vf), "
    "to + 4 * q, room - 4 * q);\n    }\n}\n",
    "INLINE void portable_real(portable_sum s, const double *m, float *to, int n)\n{\n"
    "    for (int i = 0; i < n; i++) {\n"
    "        to[i] = (float)((double)s.a[i / 4][i % 4] * m[i]);\n    }\n}\n"
    "INLINE vi portable_near(vf v, vf edge, vf most, vf *code)\n{\n"
    "    const vf at = limit(v, spread(0.0f), most);\n"
    "    const vf k  = __builtin_convertvector(__builtin_convertvector(at + "
    "spread(0.5f), vi), vf);\n"
    "    const vf r  = at - k;\n\n    *code = k;\n"
    "    return (r >= edge) | (-r >= edge);\n}\n"
    "INLINE int portable_encode(const float *x, const float *t, int most, float *to)\n{\n"
    "    vi near = {0, 0, 0, 0};\n    vf code;\n\n"
    "    for (int q = 0; q < 16; q += 4) {\n"
    "        near |= portable_near(*(const vf *)(x + q) * *(const vf *)(t + q) + *(const "
    "vf *)(t + 16 + q), *(const vf *)(t + 32 + q), spread((float)most), &code);\n"
    "        *(vf *)(to + q) = code;\n    }\n"
    "    return any(near);\n}\n"
    "INLINE int portable_added(portable_sum s, const float *t, const float *codes, const "
    "int32_t *sums, int most, float *to, int n, int room)\n{\n"
    "    vi near = {0, 0, 0, 0};\n    vf code;\n\n"
    "    for (int q = 0; 4 * q < n; q++) {\n"
    "        const vf r = codes != NULL ? *(const vf *)(codes + 4 * q) : "
    "__builtin_convertvector(*(const vi *)(sums + 4 * q), vf);\n"
    "        const vf b = r * *(const vf *)(t + 16 + 4 * q);\n"
    "        const vf v = s.a[q] * *(const vf *)(t + 4 * q) + (b + *(const vf *)(t + 32 "
    "+ 4 * q));\n"
    "        near |= portable_near(v, *(const vf *)(t + 48 + 4 * q), "
    "spread((float)most), &code) | (b > *(const vf *)(t + 64 + 4 * q)) | (-b > *(const "
    "vf *)(t + 64 + 4 * q));\n"
    "        portable_some(code, to + 4 * q, room - 4 * q);\n    }\n"
    "    return any(near);\n}\n\n",
    NULL,
};

/* 32 bits times 32 in the even and in the odd lanes, rounded, and the upper parts of both
   side by side; sums were limited, so that no product is negative. */
static const char *const avx512[] = {
    "typedef uint8_t avx512_act;\n"
    "typedef __m512i avx512_acc, avx512_sum, avx512_x;\n"
    "#define ON __attribute__((target(\"avx512f,avx512vl,avx512bw,avx512dq,avx512vnni,"
    "fma\")))\n"
    "ON INLINE __m512i avx512_zero(void)\n{\n    return _mm512_setzero_si512();\n}\n"
    "ON INLINE __m512i avx512_x4(const uint8_t *p)\n{\n    int v;\n\n"
    "    memcpy(&v, p, sizeof v);\n    return _mm512_set1_epi32(v);\n}\n"
    "ON INLINE __m512i avx512_dot(__m512i a, __m512i x, const int8_t *w, int n)\n{\n"
    "    (void)n;\n    return _mm512_dpbusd_epi32(a, x, _mm512_loadu_si512(w));\n}\n"
    "ON INLINE __m512i avx512_join(__m512i a, __m512i b)\n{\n"
    "    return _mm512_add_epi32(a, b);\n}\n"
    "ON INLINE __m512i avx512_start(const int32_t *bias)\n{\n"
    "    return _mm512_loadu_si512(bias);\n}\n"
    "ON INLINE __m512i avx512_sums(__m512i a, const int32_t *bias)\n{\n"
    "    (void)bias;\n    return a;\n}\n"
    "ON INLINE __mmask16 avx512_lanes(int n)\n{\n"
    "    return (__mmask16)(n >= 16 ? 0xffff : (1 << n) - 1);\n}\n"
    "ON INLINE void avx512_put(__m512i s, int32_t *to, int n)\n{\n"
    "    _mm512_mask_storeu_epi32(to, avx512_lanes(n), s);\n}\n"
    "ON INLINE void avx512_bytes(__m512i v, uint8_t *to, int n, int room)\n{\n"
    "    if (n <= 4 && room >= 16) { /* faster than taking all lanes together */\n"
    "        _mm_storeu_si128((__m128i *)to, _mm_shuffle_epi8(_mm512_castsi512_si128(v), "
    "_mm_set_epi32(-1, -1, -1, 0x0c080400)));\n"
    "    } else if (room >= 16) {\n"
    "        _mm_storeu_si128((__m128i *)to, _mm512_cvtepi32_epi8(v));\n"
    "    } else {\n"
    "        _mm512_mask_cvtepi32_storeu_epi8(to, avx512_lanes(room), v);\n    }\n}\n",
    "ON INLINE void avx512_shift(__m512i s, const int32_t *t, int least, int most, "
    "uint8_t *to, int "
    "n, int room)\n{\n    (void)n;\n"
    "    s = _mm512_max_epi32(_mm512_srav_epi32(s, _mm512_loadu_si512(t)), "
    "_mm512_set1_epi32(least));\n"
    "    avx512_bytes(_mm512_min_epi32(s, _mm512_set1_epi32(most)), to, n, room);\n}\n"
    "ON INLINE void avx512_even(__m512i s, const int32_t *t, int zero, int least, int "
    "most, uint8_t *to, int n, int room)\n{\n    (void)n;\n"
    "    const __m512i by  = _mm512_loadu_si512(t);\n"
    "    const __m512i odd = _mm512_and_si512(_mm512_srav_epi32(s, by), "
    "_mm512_loadu_si512(t + 32));\n\n"
    "    s = _mm512_add_epi32(_mm512_add_epi32(s, _mm512_loadu_si512(t + 16)), odd);\n"
    "    s = _mm512_add_epi32(_mm512_srav_epi32(s, by), _mm512_set1_epi32(zero));\n"
    "    s = _mm512_max_epi32(s, _mm512_set1_epi32(least));\n"
    "    avx512_bytes(_mm512_min_epi32(s, _mm512_set1_epi32(most)), to, n, room);\n}\n"
    "ON INLINE void avx512_scale(__m512i s, const int32_t *t, const int64_t *r, int by, "
    "uint8_t *to, int n, int room)\n{\n    __m512i even, odd;\n\n    (void)n;\n"
    "    s    = _mm512_min_epi32(_mm512_max_epi32(s, _mm512_loadu_si512(t)), "
    "_mm512_loadu_si512(t + 16));\n"
    "    even = _mm512_mul_epi32(s, _mm512_loadu_si512(t + 32));\n"
    "    odd  = _mm512_mul_epi32(_mm512_srli_epi64(s, 32), _mm512_loadu_si512(t + "
    "48));\n"
    "    even = _mm512_srli_epi64(_mm512_add_epi64(even, _mm512_loadu_si512(r)), "
    "(unsigned)by);\n"
    "    odd  = _mm512_srli_epi64(_mm512_add_epi64(odd, _mm512_loadu_si512(r + 8)), "
    "(unsigned)by - 32);\n"
    "    avx512_bytes(_mm512_mask_blend_epi32(0xaaaa, even, odd), to, n, room);\n}\n"
    "ON INLINE void avx512_real(__m512i s, const double *m, float *to, int n)\n{\n"
    "    const __m512d a = _mm512_mul_pd(_mm512_cvtepi32_pd(_mm512_castsi512_si256(s)), "
    "_mm512_loadu_pd(m));\n"
    "    const __m512d b = "
    "_mm512_mul_pd(_mm512_cvtepi32_pd(_mm512_extracti64x4_epi64(s, 1)), "
    "_mm512_loadu_pd(m + 8));\n"
    "    _mm256_mask_storeu_ps(to, (__mmask8)avx512_lanes(n > 8 ? 8 : n), "
    "_mm512_cvtpd_ps(a));\n"
    "    if (n > 8) {\n"
    "        _mm256_mask_storeu_ps(to + 8, (__mmask8)avx512_lanes(n - 8), "
    "_mm512_cvtpd_ps(b));\n    }\n}\n",
    "ON INLINE int avx512_near(__m512 v, __m512 edge, int most, __m512i *code)\n{\n"
    "    v     = _mm512_min_ps(_mm512_set1_ps((float)most), v); /* a NaN stays */\n"
    "    *code = _mm512_cvtps_epi32(v);\n"
    "    v     = _mm512_abs_ps(_mm512_sub_ps(v, _mm512_cvtepi32_ps(*code)));\n"
    "    *code = _mm512_max_epi32(*code, _mm512_setzero_si512());\n"
    "    return _mm512_cmp_ps_mask(v, edge, _CMP_GE_OQ);\n}\n"
    "ON INLINE int avx512_encode(const float *x, const float *t, int most, uint8_t "
    "*to)\n{\n"
    "    const __m512 v = _mm512_fmadd_ps(_mm512_loadu_ps(x), _mm512_loadu_ps(t), "
    "_mm512_loadu_ps(t + 16));\n    __m512i      code;\n"
    "    const int near = avx512_near(v, _mm512_loadu_ps(t + 32), most, &code);\n\n"
    "    avx512_bytes(code, to, 16, 16);\n    return near;\n}\n"
    "ON INLINE int avx512_added(__m512i s, const float *t, const uint8_t *codes, const "
    "int32_t *sums, int most, uint8_t *to, int n, int room)\n{\n"
    "    const __mmask16 lanes = avx512_lanes(n);\n"
    "    const __m512i   from  = codes != NULL ? "
    "_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(lanes, codes)) : "
    "_mm512_maskz_loadu_epi32(lanes, sums);\n"
    "    const __m512 b = _mm512_mul_ps(_mm512_cvtepi32_ps(from), _mm512_loadu_ps(t + "
    "16));\n"
    "    const __m512 v = _mm512_fmadd_ps(_mm512_cvtepi32_ps(s), _mm512_loadu_ps(t), "
    "_mm512_add_ps(b, _mm512_loadu_ps(t + 32)));\n"
    "    __m512i      code;\n"
    "    int near = avx512_near(v, _mm512_loadu_ps(t + 48), most, &code);\n\n"
    "    near |= _mm512_cmp_ps_mask(_mm512_abs_ps(b), _mm512_loadu_ps(t + 64), "
    "_CMP_GT_OQ);\n"
    "    avx512_bytes(code, to, n, room);\n    return near & lanes;\n}\n"
    "#undef ON\n\n",
    NULL,
};

/* Halves of 8 outputs, for both sets of 256 bits; P is the prefix of their names. */
static const char *const halves[] = {
    "typedef uint8_t P(act);\n"
    "typedef struct {\n    __m256i a[2];\n} P(sum);\n"
    "ON INLINE void P(put)(P(sum) s, int32_t *to, int n)\n{\n"
    "    int32_t all[16];\n\n"
    "    _mm256_storeu_si256((__m256i *)all, s.a[0]);\n"
    "    _mm256_storeu_si256((__m256i *)(all + 8), s.a[1]);\n"
    "    memcpy(to, all, (size_t)n * sizeof *to);\n}\n"
    "ON INLINE void P(bytes)(P(sum) v, uint8_t *to, int room)\n{\n"
    "    const __m128i a = _mm_packus_epi32(_mm256_castsi256_si128(v.a[0]), "
    "_mm256_extracti128_si256(v.a[0], 1));\n"
    "    const __m128i b = _mm_packus_epi32(_mm256_castsi256_si128(v.a[1]), "
    "_mm256_extracti128_si256(v.a[1], 1));\n"
    "    const __m128i c = _mm_packus_epi16(a, b);\n\n"
    "    if (room >= 16) {\n        _mm_storeu_si128((__m128i *)to, c);\n"
    "    } else {\n        memcpy(to, &c, (size_t)room);\n    }\n}\n"
    "#define AT(p) _mm256_loadu_si256((const __m256i *)(p))\n"
    "ON INLINE void P(shift)(P(sum) s, const int32_t *t, int least, int most, uint8_t "
    "*to, int n, int room)\n{\n    (void)n;\n    for (int h = 0; h < 2; h++) {\n"
    "        s.a[h] = _mm256_max_epi32(_mm256_srav_epi32(s.a[h], AT(t + 8 * h)), "
    "_mm256_set1_epi32(least));\n"
    "        s.a[h] = _mm256_min_epi32(s.a[h], _mm256_set1_epi32(most));\n    }\n"
    "    P(bytes)(s, to, room);\n}\n"
    "ON INLINE void P(even)(P(sum) s, const int32_t *t, int zero, int least, int most, "
    "uint8_t *to, int n, int room)\n{\n    (void)n;\n    for (int h = 0; h < 2; h++) {\n"
    "        const __m256i by  = AT(t + 8 * h);\n"
    "        const __m256i odd = _mm256_and_si256(_mm256_srav_epi32(s.a[h], by), AT(t + "
    "32 + 8 * h));\n\n"
    "        s.a[h] = _mm256_add_epi32(_mm256_add_epi32(s.a[h], AT(t + 16 + 8 * h)), "
    "odd);\n"
    "        s.a[h] = _mm256_add_epi32(_mm256_srav_epi32(s.a[h], by), "
    "_mm256_set1_epi32(zero));\n"
    "        s.a[h] = _mm256_max_epi32(s.a[h], _mm256_set1_epi32(least));\n"
    "        s.a[h] = _mm256_min_epi32(s.a[h], _mm256_set1_epi32(most));\n    }\n"
    "    P(bytes)(s, to, room);\n}\n",
    "ON INLINE void P(scale)(P(sum) s, const int32_t *t, const int64_t *r, int by, "
    "uint8_t *to, int n, int room)\n{\n    (void)n;\n"
    "    for (int h = 0; h < 2; h++) {\n        __m256i v, even, odd;\n\n"
    "        v    = _mm256_min_epi32(_mm256_max_epi32(s.a[h], AT(t + 8 * h)), AT(t + 16 "
    "+ 8 * h));\n"
    "        even = _mm256_mul_epi32(v, AT(t + 32 + 8 * h));\n"
    "        odd  = _mm256_mul_epi32(_mm256_srli_epi64(v, 32), AT(t + 48 + 8 * h));\n"
    "        even = _mm256_srli_epi64(_mm256_add_epi64(even, AT(r + 4 * h)), by);\n"
    "        odd  = _mm256_srli_epi64(_mm256_add_epi64(odd, AT(r + 8 + 4 * h)), by - "
    "32);\n"
    "        s.a[h] = _mm256_blend_epi32(even, odd, 0xaa);\n    }\n"
    "    P(bytes)(s, to, room);\n}\n"
    "ON INLINE void P(real)(P(sum) s, const double *m, float *to, int n)\n{\n"
    "    float all[16];\n\n    for (int q = 0; 4 * q < n; q++) {\n"
    "        const __m128i k = q % 2 == 0 ? _mm256_castsi256_si128(s.a[q / 2]) : "
    "_mm256_extracti128_si256(s.a[q / 2], 1);\n"
    "        _mm_storeu_ps(all + 4 * q, "
    "_mm256_cvtpd_ps(_mm256_mul_pd(_mm256_cvtepi32_pd(k), _mm256_loadu_pd(m + 4 * "
    "q))));\n    }\n"
    "    memcpy(to, all, (size_t)n * sizeof *to);\n}\n",
    "ON INLINE int P(near)(__m256 v, const float *edge, int most, __m256i *code)\n{\n"
    "    v     = _mm256_min_ps(_mm256_set1_ps((float)most), v); /* a NaN stays */\n"
    "    *code = _mm256_cvtps_epi32(v);\n"
    "    v     = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), _mm256_sub_ps(v, "
    "_mm256_cvtepi32_ps(*code)));\n"
    "    *code = _mm256_max_epi32(*code, _mm256_setzero_si256());\n"
    "    return _mm256_movemask_ps(_mm256_cmp_ps(v, _mm256_loadu_ps(edge), "
    "_CMP_GE_OQ));\n}\n"
    "ON INLINE int P(encode)(const float *x, const float *t, int most, uint8_t *to)\n{\n"
    "    P(sum) code;\n    int    near = 0;\n\n    for (int h = 0; h < 2; h++) {\n"
    "        near |= P(near)(_mm256_fmadd_ps(_mm256_loadu_ps(x + 8 * h), "
    "_mm256_loadu_ps(t + 8 * h), _mm256_loadu_ps(t + 16 + 8 * h)), t + 32 + 8 * h, most, "
    "&code.a[h]);\n    }\n"
    "    P(bytes)(code, to, 16);\n    return near;\n}\n"
    "ON INLINE int P(added)(P(sum) s, const float *t, const uint8_t *codes, const "
    "int32_t "
    "*sums, int most, uint8_t *to, int n, int room)\n{\n"
    "    int32_t from[16] = {0};\n    int     near = 0;\n    P(sum)  code;\n\n"
    "    if (codes != NULL) {\n        uint8_t some[16] = {0};\n\n"
    "        memcpy(some, codes, (size_t)n);\n"
    "        for (int h = 0; h < 2; h++) {\n"
    "            _mm256_storeu_si256((__m256i *)(from + 8 * h), "
    "_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(some + 8 * h))));\n"
    "        }\n    } else {\n"
    "        for (int i = 0; i < n; i++) {\n            from[i] = sums[i];\n        }\n"
    "    }\n"
    "    for (int h = 0; h < 2; h++) {\n"
    "        const __m256 b = _mm256_mul_ps(_mm256_cvtepi32_ps(AT(from + 8 * h)), "
    "_mm256_loadu_ps(t + 16 + 8 * h));\n"
    "        const __m256 v = _mm256_fmadd_ps(_mm256_cvtepi32_ps(s.a[h]), "
    "_mm256_loadu_ps(t + 8 * h), _mm256_add_ps(b, _mm256_loadu_ps(t + 32 + 8 * h)));\n"
    "        near |= P(near)(v, t + 48 + 8 * h, most, &code.a[h]) << (8 * h);\n"
    "        near |= _mm256_movemask_ps(_mm256_cmp_ps(_mm256_andnot_ps("
    "_mm256_set1_ps(-0.0f), b), _mm256_loadu_ps(t + 64 + 8 * h), _CMP_GT_OQ)) << (8 * "
    "h);\n    }\n"
    "    P(bytes)(code, to, room);\n"
    "    return near & ((1 << n) - 1);\n}\n"
    "#undef AT\n",
    NULL,
};

static const char *const avxvnni[] = {
    "#define P(f) avxvnni_##f\n"
    "#define ON __attribute__((target(\"avx2,fma,avxvnni\")))\n",
    "ON INLINE avxvnni_sum avxvnni_zero(void)\n{\n"
    "    return (avxvnni_sum){{_mm256_setzero_si256(), _mm256_setzero_si256()}};\n}\n"
    "typedef avxvnni_sum avxvnni_acc;\ntypedef __m256i avxvnni_x;\n"
    "ON INLINE __m256i avxvnni_x4(const uint8_t *p)\n{\n    int v;\n\n"
    "    memcpy(&v, p, sizeof v);\n    return _mm256_set1_epi32(v);\n}\n"
    "ON INLINE avxvnni_acc avxvnni_dot(avxvnni_acc a, __m256i x, const int8_t *w, int "
    "n)\n{\n"
    "    a.a[0] = _mm256_dpbusd_avx_epi32(a.a[0], x, _mm256_loadu_si256((const __m256i "
    "*)w));\n"
    "    if (n > 8) {\n"
    "        a.a[1] = _mm256_dpbusd_avx_epi32(a.a[1], x, _mm256_loadu_si256((const "
    "__m256i *)(w + 32)));\n    }\n    return a;\n}\n"
    "ON INLINE avxvnni_acc avxvnni_join(avxvnni_acc a, avxvnni_acc b)\n{\n"
    "    a.a[0] = _mm256_add_epi32(a.a[0], b.a[0]);\n"
    "    a.a[1] = _mm256_add_epi32(a.a[1], b.a[1]);\n    return a;\n}\n"
    "ON INLINE avxvnni_acc avxvnni_start(const int32_t *bias)\n{\n"
    "    return (avxvnni_sum){{_mm256_loadu_si256((const __m256i *)bias), "
    "_mm256_loadu_si256((const __m256i *)(bias + 8))}};\n}\n"
    "ON INLINE avxvnni_sum avxvnni_sums(avxvnni_acc a, const int32_t *bias)\n{\n"
    "    (void)bias;\n    return a;\n}\n"
    "#undef P\n#undef ON\n\n",
    NULL,
};

/* Words of 16 bits, whose pairs never overflow; the two sums of an output are joined at
   the end. */
static const char *const avx2[] = {
    "#define P(f) avx2_##f\n#define ON __attribute__((target(\"avx2,fma\")))\n",
    "typedef struct {\n    __m256i a[4];\n} avx2_acc;\ntypedef __m256i avx2_x;\n"
    "ON INLINE avx2_acc avx2_zero(void)\n{\n"
    "    return (avx2_acc){{_mm256_setzero_si256(), _mm256_setzero_si256(), "
    "_mm256_setzero_si256(), _mm256_setzero_si256()}};\n}\n"
    "ON INLINE avx2_acc avx2_start(const int32_t *bias)\n{\n"
    "    (void)bias;\n    return avx2_zero();\n}\n"
    "ON INLINE __m256i avx2_x4(const uint8_t *p)\n{\n    int v;\n\n"
    "    memcpy(&v, p, sizeof v);\n"
    "    return _mm256_cvtepu8_epi16(_mm_set1_epi32(v));\n}\n"
    "ON INLINE avx2_acc avx2_dot(avx2_acc a, __m256i x, const int8_t *w, int n)\n{\n"
    "    for (int q = 0; q < 4; q++) {\n        if (n > 4 * q) {\n"
    "            a.a[q] = _mm256_add_epi32(a.a[q], _mm256_madd_epi16(x, "
    "_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(w + 16 * q)))));\n"
    "        }\n    }\n    return a;\n}\n"
    "ON INLINE avx2_acc avx2_join(avx2_acc a, avx2_acc b)\n{\n"
    "    for (int q = 0; q < 4; q++) {\n"
    "        a.a[q] = _mm256_add_epi32(a.a[q], b.a[q]);\n    }\n    return a;\n}\n"
    "ON INLINE avx2_sum avx2_sums(avx2_acc a, const int32_t *bias)\n{\n"
    "    avx2_sum s;\n\n    for (int h = 0; h < 2; h++) {\n"
    "        s.a[h] = _mm256_permute4x64_epi64(_mm256_hadd_epi32(a.a[2 * h], a.a[2 * h + "
    "1]), 0xd8);\n"
    "        s.a[h] = _mm256_add_epi32(s.a[h], _mm256_loadu_si256((const __m256i *)(bias "
    "+ 8 * h)));\n    }\n    return s;\n}\n"
    "#undef P\n#undef ON\n\n",
    NULL,
};

static const struct {
    pq_codegen_isa     isa;
    const char        *name, *target, *has;
    const char *const *own; /* the first part comes before what is shared */
} sets[] = {
    {PQ_CODEGEN_AVX2, "avx2", "avx2,fma",
     "__builtin_cpu_supports(\"avx2\") && __builtin_cpu_supports(\"fma\")", avx2},
    {PQ_CODEGEN_AVXVNNI, "avxvnni", "avx2,fma,avxvnni",
     "has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 16)", avxvnni},
    {PQ_CODEGEN_AVX512, "avx512", "avx512f,avx512vl,avx512bw,avx512dq,avx512vnni,fma",
     "__builtin_cpu_supports(\"avx512vl\") && __builtin_cpu_supports(\"avx512bw\") &&\n"
     "           __builtin_cpu_supports(\"avx512dq\") && "
     "__builtin_cpu_supports(\"avx512vnni\")",
     avx512},
};
enum { SETS = sizeof sets / sizeof *sets };

static void add_all(pq_text *out, const char *const *parts)
{
    for (size_t i = 0; parts[i] != NULL; i++) {
        pq_text_add_bytes(out, parts[i], strlen(parts[i]));
    }
}

/* Operations of a set; what both of 256 bits share stands between. */
static void add_operations(pq_text *out, size_t set)
{
    if (sets[set].own == avx512) {
        add_all(out, avx512);
        return;
    }
    pq_text_add_bytes(out, sets[set].own[0], strlen(sets[set].own[0]));
    add_all(out, halves);
    add_all(out, sets[set].own + 1);
}

/* The function of a model with the operations of a set. */
static void add_body(pq_text *out, const pq_emitter *e, const char *name,
                     const char *target)
{
    const bool floats = target == NULL;

    pq_text_add(out, "#define V(f) %s_##f\n", name);
    pq_text_add(
        out, "%s",
        floats ? "#define FLOATS 1\n#define W(t) t##f\n#define B(t) t##f\n"
                 "#define SHIFTS(t, p) t##g + 16 * (p)\n"
                 "#define SCALE(s, t, p, by, to, n, room) V(scale)(s, t##f + 32 * (p), "
                 "t##d + 32 * (p), to, n, room)\n"
               : "#define FLOATS 0\n#define W(t) t##b\n#define B(t) t##i\n"
                 "#define SHIFTS(t, p) t##k + 48 * (p)\n"
                 "#define SCALE(s, t, p, by, to, n, room) V(scale)(s, t##i + 64 * (p), "
                 "t##l + 16 * (p), by, to, n, room)\n");
    if (!floats) {
        pq_text_add(out, "__attribute__((target(\"%s\"))) ", target);
    }
    pq_text_add(out,
                "static void %s(const float *x, float *y)\n{\n"
                "    _Alignas(64) char stack[%zu * sizeof(V(act)) + 64];\n",
                name, e->summary.stack_bytes);
    pq_text_add_bytes(out, e->body.text, e->body.length);
    pq_text_add(
        out,
        "    (void)stack, (void)x;\n}\n"
        "#undef V\n#undef FLOATS\n#undef W\n#undef B\n#undef SCALE\n#undef SHIFTS\n\n");
}

void pq_whole_sets(const pq_emitter *e, pq_text *out)
{
    if (pq_emit_has(e, PQ_CODEGEN_PORTABLE)) {
        add_all(out, portable);
        add_body(out, e, "portable", NULL);
    }
    for (size_t i = 0; i < SETS; i++) {
        if (pq_emit_has(e, sets[i].isa)) {
            pq_text_add(out, "#if defined __x86_64__\n");
            add_operations(out, i);
            add_body(out, e, sets[i].name, sets[i].target);
            if (e->alone) {
                pq_text_add(out, "#endif\n\n");
                continue;
            }
            pq_text_add(out,
                        "static int has_%s(void)\n{\n"
                        "    unsigned a = 0, b = 0, c = 0, d = 0;\n\n"
                        "    (void)a, (void)b, (void)c, (void)d;\n"
                        "    return %s;\n}\n#endif\n\n",
                        sets[i].name, sets[i].has);
        }
    }
}

void pq_whole_prelude(pq_text *out)
{
    add_all(out, common);
}

void pq_whole_choice(const pq_emitter *e, pq_text *out)
{
    for (size_t i = 0; i < SETS && e->alone; i++) {
        if (sets[i].isa == e->isa) {
            pq_choice_only(sets[i].name, out);
            return;
        }
    }
    pq_choice_open(out);
    for (size_t i = 0; i < SETS && !e->alone; i++) {
        if (sets[i].isa <= e->isa) {
            pq_choice_add(sets[i].name, out);
        }
    }
    pq_choice_close(out);
}
