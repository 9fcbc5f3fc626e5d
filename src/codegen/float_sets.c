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
    "and\n   spreading it is cheaper than taking a vector apart. */\n"
    "#define SETTLE(memory) __asm__ volatile(\"\" : : \"r\"(memory) : \"memory\")\n\n"
    "/* Operations on 16 floats, part by part. */\n"
    "#define ZERO_(q, v)       (v).p[q] = (part){0};\n"
    "#define LOAD_(q, v, from) (v).p[q] = *(const part *)((from) + WIDTH * (q));\n"
    "#define COPY_(q, v, a)    (v).p[q] = a;\n"
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
    "#define SCALE(v, a)     PARTS(SCALE_, v, a)\n\n";

/* v, but no less than a, and no more: v where it is no number. The instructions give
 * their second operand then. */
#define BOUNDS(prefix)                                                                   \
    "#define ABOVE(a, v) (part)" prefix "_max_ps(a, v)\n"                                \
    "#define BELOW(a, v) (part)" prefix "_min_ps(a, v)\n"

/* GCC's names of what each set needs, from the portable one up. */
static const struct {
    pq_codegen_isa isa;
    size_t         bytes; /* of a part */
    const char    *name, *target, *supported, *bounds;
} sets[] = {
    {PQ_CODEGEN_PORTABLE, 16, "portable", NULL, NULL,
     "#define ABOVE(a, v) SELECT_((v) < (a), a, v)\n"
     "#define BELOW(a, v) SELECT_((v) > (a), a, v)\n"},
    {PQ_CODEGEN_AVX2, 32, "avx2", "avx2,fma",
     "__builtin_cpu_supports(\"avx2\") && __builtin_cpu_supports(\"fma\")",
     BOUNDS("_mm256")},
    {PQ_CODEGEN_AVX512, 64, "avx512", "avx512f,avx512vl,avx512bw,avx512dq,fma",
     "__builtin_cpu_supports(\"avx512f\") && __builtin_cpu_supports(\"avx512vl\") &&\n"
     "           __builtin_cpu_supports(\"avx512bw\") && "
     "__builtin_cpu_supports(\"avx512dq\")",
     BOUNDS("_mm512")},
};
enum { SETS = sizeof sets / sizeof *sets };

static void define_vectors(size_t set, pq_text *out)
{
    const char  *n     = sets[set].name;
    const size_t parts = PQ_LANES * sizeof(float) / sets[set].bytes;

    pq_text_add(out,
                "typedef float %s_part __attribute__((vector_size(%zu), aligned(4), "
                "may_alias));\n"
                "typedef int   %s_bits __attribute__((vector_size(%zu), aligned(4), "
                "may_alias));\n"
                "typedef struct {\n    %s_part p[%zu];\n} %s_vu;\n"
                "#define vu    %s_vu\n#define part  %s_part\n#define bits  %s_bits\n"
                "#define WIDTH %zu\n#define SET_%s\n#define PARTS(f, ...)",
                n, sets[set].bytes, n, sets[set].bytes, n, parts, n, n, n, n,
                PQ_LANES / parts, n);
    for (size_t q = 0; q < parts; q++) {
        pq_text_add(out, " f(%zu, __VA_ARGS__)", q);
    }
    pq_text_add(out, "\n%s%s%s\n", sets[set].bounds,
                sets[set].isa == PQ_CODEGEN_AVX512 ? pq_dense_pairs_set : "",
                sets[set].isa == PQ_CODEGEN_AVX512
                    ? "#define SOME(to, v, n) \\\n    _mm512_mask_storeu_ps(to, "
                      "(__mmask16)((1 << (n)) - 1), (__m512)(v).p[0]);\n"
                    : "#define SOME(to, v, n) memcpy(to, &(v), (n) * sizeof(float));\n");
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
                "#undef ABOVE\n#undef BELOW\n#undef SOME\n#undef SET_%s\n%s\n",
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
