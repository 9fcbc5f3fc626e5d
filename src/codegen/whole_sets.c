/* The function of a model once with the operations of each instruction set, and the
   choice among them. */
#include "codegen/whole_sets.h"

#include <string.h>

#include "codegen/events.h"
#include "codegen/frame.h"
#include "codegen/set_operations.h"

static const struct {
    pq_codegen_isa     isa;
    int                events;  /* of a tile: whole_events.c */
    char               weights; /* letter of the tables that it multiplies by */
    const char        *name, *target, *has;
    const char *const *own; /* the first part comes before what is shared */
} sets[] = {
    {PQ_CODEGEN_PORTABLE, 1, 'f', "portable", NULL, NULL, pq_set_portable},
    {PQ_CODEGEN_AVX2, 4, 'j', "avx2", "avx2,fma",
     "__builtin_cpu_supports(\"avx2\") && __builtin_cpu_supports(\"fma\")", pq_set_avx2},
    {PQ_CODEGEN_AVXVNNI, 4, 'b', "avxvnni", "avx2,fma,avxvnni",
     "has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 16)", pq_set_avxvnni},
    {PQ_CODEGEN_AVX512, 8, 'b', "avx512",
     "avx512f,avx512vl,avx512bw,avx512dq,avx512vnni,fma",
     "__builtin_cpu_supports(\"avx512vl\") && __builtin_cpu_supports(\"avx512bw\") &&\n"
     "           __builtin_cpu_supports(\"avx512dq\") && "
     "__builtin_cpu_supports(\"avx512vnni\")",
     pq_set_avx512},
    {PQ_CODEGEN_AMX, 8, 'b', "amx",
     "avx512f,avx512vl,avx512bw,avx512dq,avx512vnni,fma,amx-tile,amx-int8",
     "has_avx512() && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 24 & 1) &&\n"
     "           (d >> 25 & 1) && may_tiles()",
     pq_set_avx512},
};
enum { SETS = sizeof sets / sizeof *sets };

static void add_all(pq_text *out, const char *const *parts)
{
    for (size_t i = 0; parts[i] != NULL; i++) {
        pq_text_add_bytes(out, parts[i], strlen(parts[i]));
    }
}

/* Operations of a set; what both of 256 bits share stands between. Tiles come beside
   those of 512 bits. */
static void add_operations(const pq_emitter *e, pq_text *out, size_t set)
{
    if (sets[set].isa == PQ_CODEGEN_AMX && !e->alone) {
        add_all(out, pq_set_permission);
    } else if (sets[set].own == pq_set_avx512) {
        add_all(out, pq_set_avx512);
    } else {
        pq_text_add_bytes(out, sets[set].own[0], strlen(sets[set].own[0]));
        add_all(out, pq_set_halves);
        add_all(out, sets[set].own + 1);
    }
}

static const char whole_names[] =
    "#define FLOATS 0\n#define B(t) t##i\n"
    "#define SHIFTS(t, p) t##k + 48 * (p)\n"
    "#define SCALE(s, t, p, n) V(scale)(s, t##i + 64 * (p), t##l + 32 * (p), n)\n"
    "#define EITHER(floats, whole) whole\n";

static const char float_names[] =
    "#define FLOATS 1\n#define B(t) t##f\n"
    "#define SHIFTS(t, p) t##g + 16 * (p)\n"
    "#define SCALE(s, t, p, n) V(scale)(s, t##f + 32 * (p), t##d + 32 * (p), n)\n"
    "#define EITHER(floats, whole) floats\n";

/* Where codes of panel p of node n go, of `of` panels, and where the next layer finds
   four of them: in registers as well, where a set has enough, or in memory alone. What is
   stored and not read the compiler leaves out. */
static const char in_registers[] =
    "#define KEEP(n, p, of, value, lanes, room) \\\n"
    "    { \\\n        const V(codes) now = value; \\\n\\\n"
    "        l##n##_##p = V(spread)(now); \\\n"
    "        V(bytes)(now, v##n + 16 * p, lanes, room); \\\n    }\n"
    "#define KEEP_FROM(n, p, value, by) \\\n"
    "    { \\\n        const V(codes) now = value; \\\n\\\n"
    "        l##n##_##p = SPREAD_FROM(now, by); \\\n"
    "        V(bytes)(DOWN(now, by), v##n + 16 * p, 16, 16); \\\n    }\n"
    "#define FOUR(n, p, of, k) \\\n"
    "    (of <= V(KEPT) ? V(lane)(l##n##_##p, k) : V(x4)(v##n + 16 * p + 4 * k))\n"
    "#define SETTLE_OF(of) \\\n    if (of > V(KEPT)) { \\\n        SETTLE(stack); "
    "\\\n    }\n";

static const char in_memory[] =
    "#define KEEP(n, p, of, value, lanes, room) V(bytes)(value, v##n + 16 * p, lanes, "
    "room);\n"
    "#define KEEP_FROM(n, p, value, by) V(bytes)(DOWN(value, by), v##n + 16 * p, 16, "
    "16);\n"
    "#define FOUR(n, p, of, k) V(x4)(v##n + 16 * p + 4 * k)\n"
    "#define SETTLE_OF(of) SETTLE(stack);\n";

/* Of at most eight outputs: whole_quads.c. */
static const char with_quads[] =
    "#define QUADS 1\n#define FOUR_OF_8(n, k) V(wide)(l##n##_q.a[k])\n";
static const char without_quads[] =
    "#define QUADS 0\n#define FOUR_OF_8(n, k) FOUR(n, 0, 1, k)\n";

static const char no_places[] =
    "#undef KEEP\n#undef KEEP_FROM\n#undef FOUR\n#undef SETTLE_OF\n#undef QUADS\n"
    "#undef FOUR_OF_8\n";

/* One of two sums: of all chains of a dense layer, or of half as many. */
static const char all_chains[]  = "#define SUM(all, half) all\n";
static const char half_chains[] = "#define SUM(all, half) half\n";

/* Codes of an input may lie from a bit on: set_avx512.c. */
static const char from_a_bit[] =
    "#define UP(v, by) V(up)(v, by)\n#define DOWN(v, by) V(down)(v, by)\n"
    "#define SPREAD_FROM(v, by) V(spread_from)(v, by)\n";
static const char from_the_lowest[] = "#define UP(v, by) v\n#define DOWN(v, by) v\n"
                                      "#define SPREAD_FROM(v, by) V(spread)(v)\n";

/* A function of a set: its head, the stack of `events` events, and statements. */
static void add_function(pq_text *out, size_t set, size_t events, const char *end,
                         const pq_text *body)
{
    const char *many  = events > 1 ? "s" : "";
    const bool  tiles = sets[set].isa == PQ_CODEGEN_AMX;

    if (sets[set].target != NULL) {
        pq_text_add(out, "__attribute__((target(\"%s\"))) ", sets[set].target);
    }
    pq_text_add(out,
                "static void %s%s(const float *x%s, float *y%s)\n{\n"
                "    _Alignas(64) char stack%s[%zu * FRAME * sizeof(V(act))];\n%s%s",
                sets[set].name, end, many, many, many, events,
                tiles ? "    _Alignas(64) int32_t sums[1024];\n" : "",
                events > 1 ? "" : "    PLACES\n");
    pq_text_add_bytes(out, body->text, body->length);
    pq_text_add(out, "%s    (void)stack%s, (void)x%s;\n}\n\n",
                tiles ? "    _tile_release();\n" : "", many, many);
}

/* The functions of a model with the operations of a set. */
static void add_functions(pq_text *out, const pq_emitter *e, size_t set)
{
    const bool tiles = sets[set].isa == PQ_CODEGEN_AMX;
    const bool wide  = sets[set].own == pq_set_avx512;

    pq_text_add(out,
                "#define V(f) %s_##f\n#define W(t) t##%c\n#define TILES %d\n#define "
                "EVENTS %d\n%s",
                tiles ? "avx512" : sets[set].name, sets[set].weights, tiles,
                sets[set].events, sets[set].target == NULL ? float_names : whole_names);
    pq_text_add(out, "%s%s%s%s", sets[set].target == NULL ? in_memory : in_registers,
                wide ? all_chains : half_chains, wide ? with_quads : without_quads,
                wide ? from_a_bit : from_the_lowest);
    add_function(out, set, 1, "", &e->body);
    if (pq_events_has(e)) {
        pq_text_add(out, "%s%s%s", no_places, in_memory, without_quads);
        add_function(out, set, PQ_EVENTS, "_block", &e->block);
    }
    pq_text_add(out,
                "#undef V\n#undef TILES\n#undef EVENTS\n#undef FLOATS\n#undef W\n"
                "#undef B\n#undef SCALE\n#undef SHIFTS\n#undef EITHER\n#undef UP\n"
                "#undef DOWN\n#undef SPREAD_FROM\n#undef SUM\n%s\n",
                no_places);
}

static void add_set(const pq_emitter *e, pq_text *out, size_t set)
{
    pq_text_add(out, "#if defined __x86_64__\n");
    add_operations(e, out, set);
    add_functions(out, e, set);
    if (!e->alone) {
        pq_text_add(out,
                    "static int has_%s(void)\n{\n"
                    "    unsigned a = 0, b = 0, c = 0, d = 0;\n\n"
                    "    (void)a, (void)b, (void)c, (void)d;\n"
                    "    return %s;\n}\n",
                    sets[set].name, sets[set].has);
    }
    pq_text_add(out, "#endif\n\n");
}

void pq_whole_sets(const pq_emitter *e, pq_text *out)
{
    pq_text_add(out, "enum { FRAME = %zu };\n\n#define PLACES",
                e->summary.stack_bytes + 64);
    pq_text_add_bytes(out, e->places.text, e->places.length);
    pq_text_add(out, "\n\n");
    if (pq_events_has(e)) {
        pq_events_define(e, "char", " * (int)sizeof(V(act))", " PLACES", out);
        pq_text_add(out, "\n");
    }
    for (size_t i = 0; i < SETS; i++) {
        if (pq_emit_has(e, sets[i].isa) && sets[i].target != NULL) {
            add_set(e, out, i);
        } else if (pq_emit_has(e, sets[i].isa)) {
            add_all(out, pq_set_portable);
            add_functions(out, e, i);
        }
    }
}

void pq_whole_prelude(pq_text *out)
{
    add_all(out, pq_set_common);
}

void pq_whole_choice(const pq_emitter *e, pq_text *out)
{
    for (size_t i = 0; i < SETS && e->alone; i++) {
        if (sets[i].isa == e->isa) {
            pq_choice_only(e, sets[i].name, out);
            return;
        }
    }
    pq_choice_open(e, out);
    for (size_t i = 1; i < SETS && !e->alone; i++) {
        if (sets[i].isa <= e->isa) {
            pq_choice_add(e, sets[i].name, out);
        }
    }
    pq_choice_close(out);
}
