#include "codegen/float_sets.h"

#include <string.h>

#include "codegen/dense_pairs.h"
#include "codegen/events.h"
#include "codegen/frame.h"

/* A part is a vector as the compiler has registers for: wider ones it would take apart
 * item by item. */
static const char prelude[] =
    "#include <math.h>\n#include <string.h>\n"
    "#if defined __x86_64__\n#include <immintrin.h>\n#endif\n\n"
    "/* The compiler keeps what was stored no longer in registers: reading a float back "
    "and\n   spreading it is cheaper than taking a vector apart, and no product is fused "
    "with the sum of\n   another layer. */\n"
    "#define SETTLE(memory) __asm__ volatile(\"\" : : \"r\"(memory) : \"memory\")\n\n"
    "static inline __attribute__((always_inline, unused)) const float *hidden(const "
    "float *table)\n{\n"
    "    __asm__(\"\" : \"+r\"(table));\n    return table;\n}\n\n"
    "/* Clang unrolls short loops until their sums leave 16 registers. */\n"
    "#if defined __clang__\n#define ROLLED _Pragma(\"clang loop unroll(disable)\")\n"
    "#else\n#define ROLLED\n#endif\n\n"
    "/* Operations on 16 floats, part by part. */\n"
    "#define ZERO_(q, v)       (v).p[q] = (part){0};\n"
    "#define LOAD_(q, v, from) (v).p[q] = *(const part *)((from) + WIDTH * (q));\n"
    "#define COPY_(q, v, a)    (v).p[q] = a;\n"
    "#define MOVE_(q, v, a)    (v).p[q] = (a).p[q];\n"
    "#define PUT_(q, to, v)    *(part *)((to) + WIDTH * (q)) = (v).p[q];\n"
    "#define MAC_(q, s, x, w)  (s).p[q] += (x).p[q] * *(const part *)((w) + WIDTH * "
    "(q));\n"
    "#define MULTIPLY_(q, s, x, w) (s).p[q] += (x).p[q] * (w).p[q];\n"
    "#define JOIN_(q, s, t)    (s).p[q] += (t).p[q];\n"
    "#define SELECT_(mask, a, b) (part)(((bits)(a) & (mask)) | ((bits)(b) & ~(mask)))\n"
    "#define RELU_(q, v)       (v).p[q] = ABOVE((part){0}, (v).p[q]);\n"
    "#define LEAKY_(q, v, a)   (v).p[q] = SELECT_((v).p[q] > (part){0}, (v).p[q], "
    "(v).p[q] "
    "* (a));\n"
    "#define LEAST_(q, v, a)   (v).p[q] = ABOVE((part){0} + (a), (v).p[q]);\n"
    "#define MOST_(q, v, a)    (v).p[q] = BELOW((part){0} + (a), (v).p[q]);\n"
    "#define SCALE_(q, v, a)   (v).p[q] = (v).p[q] * (a);\n\n"
    "#define ZERO(v)         PARTS(ZERO_, v)\n"
    "#define LOAD(v, from)   PARTS(LOAD_, v, from)\n"
    "#define SPREAD(v, a) \\\n    { \\\n        const part one = (a) - (part){0}; \\\n"
    "        PARTS(COPY_, v, one) \\\n    }\n"
    "#define PUT(to, v)      PARTS(PUT_, to, v)\n"
    "#define MAC(s, x, w)    PARTS(MAC_, s, x, w)\n"
    "#define MULTIPLY(s, x, w) PARTS(MULTIPLY_, s, x, w)\n"
    "#define JOIN(s, t)      PARTS(JOIN_, s, t)\n"
    "#define RELU(v)         PARTS(RELU_, v)\n"
    "#define LEAKY(v, slope) PARTS(LEAKY_, v, slope)\n"
    "#define CLIP(v, lo, hi) PARTS(LEAST_, v, lo) PARTS(MOST_, v, hi)\n"
    "#define SCALE(v, a)     PARTS(SCALE_, v, a)\n\n"
    "/* Operations on eight, and these as the first of 16. */\n"
    "#define ZERO8_(q, v)       (v).p[q] = (part8){0};\n"
    "#define LOAD8_(q, v, from) (v).p[q] = *(const part8 *)((from) + WIDTH8 * (q));\n"
    "#define ZERO8(v)           PARTS8(ZERO8_, v)\n"
    "#define LOAD8(v, from)     PARTS8(LOAD8_, v, from)\n"
    "#define SPREAD8(v, a) \\\n    { \\\n        const part8 one = (a) - (part8){0}; "
    "\\\n        PARTS8(COPY_, v, one) \\\n    }\n"
    "#define MULTIPLY8(s, x, w) PARTS8(MULTIPLY_, s, x, w)\n"
    "#define JOIN8(s, t)        PARTS8(JOIN_, s, t)\n\n";

/* v, but no less than a, and no more: v where it is no number. The instructions give
 * their second operand then. */
#define BOUNDS(prefix)                                                                   \
    "#define ABOVE(a, v) (part)" prefix "_max_ps(a, v)\n"                                \
    "#define BELOW(a, v) (part)" prefix "_min_ps(a, v)\n"

/* Stores the first n of 16 floats, n a constant. Copied by memcpy they would go through
 * memory. */
#define SOME_AVX2                                                                        \
    "#define QUARTER(to, v, n, q) \\\n    if ((n) > 4 * (q)) { \\\n"                     \
    "        const __m256 h = (__m256)(v).p[(q) / 2]; \\\n"                              \
    "        const __m128 f = (q) % 2 == 0 ? _mm256_castps256_ps128(h) : "               \
    "_mm256_extractf128_ps(h, 1); \\\n"                                                  \
    "        if ((n) - 4 * (q) >= 4) { \\\n"                                             \
    "            _mm_storeu_ps((to) + 4 * (q), f); \\\n"                                 \
    "        } else { \\\n            (to)[4 * (q)] = f[0]; \\\n"                        \
    "            if ((n) - 4 * (q) > 1) { (to)[4 * (q) + 1] = f[1]; } \\\n"              \
    "            if ((n) - 4 * (q) > 2) { (to)[4 * (q) + 2] = f[2]; } \\\n"              \
    "        } \\\n    }\n"                                                              \
    "#define SOME(to, v, n) \\\n    QUARTER(to, v, n, 0) QUARTER(to, v, n, 1) "          \
    "QUARTER(to, v, n, 2) QUARTER(to, v, n, 3)\n"
#define SOME_AVX512                                                                      \
    "#define SOME(to, v, n) _mm512_mask_storeu_ps(to, (__mmask16)((1 << (n)) - 1), "     \
    "(__m512)(v).p[0]);\n"

/* Eight floats as the first of 16. */
#define WIDE "#define WIDE(v, a) vu v = {{{0}}}; PARTS8(MOVE_, v, a)\n"
#define WIDE_AVX512                                                                      \
    "#define WIDE(v, a) vu v = {{(part)_mm512_castps256_ps512((__m256)(a).p[0])}};\n"

/* GCC's names of what each set needs, from the portable one up. */
static const struct {
    pq_codegen_isa isa;
    size_t         bytes; /* of a part */
    const char    *name, *target, *supported, *more;
} sets[] = {
    {PQ_CODEGEN_PORTABLE, 16, "portable", NULL, NULL,
     "#define ABOVE(a, v) SELECT_((v) < (a), a, v)\n"
     "#define BELOW(a, v) SELECT_((v) > (a), a, v)\n" WIDE
     "#define SOME(to, v, n) memcpy(to, &(v), (n) * sizeof(float));\n"},
    {PQ_CODEGEN_AVX2, 32, "avx2", "avx2,fma",
     "__builtin_cpu_supports(\"avx2\") && __builtin_cpu_supports(\"fma\")",
     BOUNDS("_mm256") WIDE SOME_AVX2},
    {PQ_CODEGEN_AVX512, 64, "avx512", "avx512f,avx512vl,avx512bw,avx512dq,fma",
     "__builtin_cpu_supports(\"avx512f\") && __builtin_cpu_supports(\"avx512vl\") &&\n"
     "           __builtin_cpu_supports(\"avx512bw\") && "
     "__builtin_cpu_supports(\"avx512dq\")",
     BOUNDS("_mm512") WIDE_AVX512 SOME_AVX512},
};
enum { SETS = sizeof sets / sizeof *sets };

/* Vectors of `lanes` floats, in parts of `bytes`; `of` ends their names. */
static void define_parts(const char *set, const char *of, size_t lanes, size_t bytes,
                         pq_text *out)
{
    const size_t width = bytes / sizeof(float), parts = lanes / width;

    pq_text_add(out,
                "typedef float %s_part%s __attribute__((vector_size(%zu), aligned(4), "
                "may_alias));\n"
                "typedef struct {\n    %s_part%s p[%zu];\n} %s_vu%s;\n"
                "#define vu%s    %s_vu%s\n#define part%s  %s_part%s\n"
                "#define WIDTH%s %zu\n#define PARTS%s(f, ...)",
                set, of, bytes, set, of, parts, set, of, of, set, of, of, set, of, of,
                width, of);
    for (size_t q = 0; q < parts; q++) {
        pq_text_add(out, " f(%zu, __VA_ARGS__)", q);
    }
    pq_text_add(out, "\n");
}

static void define_vectors(size_t set, pq_text *out)
{
    const char  *n     = sets[set].name;
    const size_t eight = 8 * sizeof(float);

    define_parts(n, "", PQ_LANES, sets[set].bytes, out);
    define_parts(n, "8", 8, sets[set].bytes < eight ? sets[set].bytes : eight, out);
    pq_text_add(out,
                "typedef int %s_bits __attribute__((vector_size(%zu), aligned(4), "
                "may_alias));\n#define bits %s_bits\n#define SET_%s\n%s%s\n",
                n, sets[set].bytes, n, n, sets[set].more,
                sets[set].isa == PQ_CODEGEN_AVX512 ? pq_dense_pairs_set : "");
}

/* A function of a set: its head, the values of `events` events, and statements. */
static void add_function(size_t set, const char *end, size_t events, const pq_text *body,
                         pq_text *out)
{
    const char *many = events > 1 ? "s" : "";

    if (sets[set].target != NULL) {
        pq_text_add(out, "__attribute__((target(\"%s\"))) ", sets[set].target);
    }
    pq_text_add(out,
                "static void %s%s(const float *x%s, float *y%s)\n{\n"
                "    float stack%s[%zu * FRAME] __attribute__((aligned(64)));\n\n",
                sets[set].name, end, many, many, many, events);
    pq_text_add_bytes(out, body->text, body->length);
    pq_text_add(out, "    (void)stack%s, (void)x%s;\n}\n\n", many, many);
}

static void add_set(const pq_emitter *e, size_t set, pq_text *out)
{
    const char *n = sets[set].name;

    if (sets[set].target != NULL) {
        pq_text_add(out, "#if defined __x86_64__\n");
    }
    if (sets[set].target != NULL && !e->alone) {
        pq_text_add(out, "static int has_%s(void)\n{\n    return %s;\n}\n\n", n,
                    sets[set].supported);
    }
    define_vectors(set, out);
    add_function(set, "", 1, &e->body, out);
    if (pq_events_has(e)) {
        add_function(set, "_block", PQ_EVENTS, &e->block, out);
    }
    pq_text_add(out,
                "#undef vu\n#undef part\n#undef bits\n#undef WIDTH\n#undef PARTS\n"
                "#undef vu8\n#undef part8\n#undef WIDTH8\n#undef PARTS8\n"
                "#undef ABOVE\n#undef BELOW\n#undef WIDE\n#undef SOME\n"
                "#undef QUARTER\n#undef SET_%s\n%s\n",
                n, sets[set].target != NULL ? "#endif\n" : "");
}

static void add_choice(const pq_emitter *e, pq_text *out)
{
    for (size_t i = 0; i < SETS && e->alone; i++) {
        if (sets[i].isa == e->isa) {
            pq_choice_only(e, sets[i].name, out);
            return;
        }
    }
    pq_choice_open(e, out);
    for (size_t i = 1; i < SETS && sets[i].isa <= e->isa; i++) {
        pq_choice_add(e, sets[i].name, out);
    }
    pq_choice_close(out);
}

void pq_float_sets(const pq_emitter *e, pq_text *out)
{
    pq_text_add(out, "%s", prelude);
    pq_text_add_bytes(out, e->tables.text, e->tables.length);
    pq_text_add(out, "\nenum { FRAME = %zu };\n\n",
                (e->summary.stack_bytes / sizeof(float) + PQ_SOFTMAX_MOST + 15) / 16 *
                    16);
    if (pq_events_has(e)) {
        pq_events_define(e, "float", "", "", out);
        pq_text_add(out, "\n");
    }
    for (size_t i = 0; i < SETS; i++) {
        if (pq_emit_has(e, sets[i].isa)) {
            add_set(e, i, out);
        }
    }
    add_choice(e, out);
}
