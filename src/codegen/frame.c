#include "codegen/frame.h"

#include <math.h>
#include <string.h>

#include "codegen/events.h"
#include "codegen/float_sets.h"
#include "codegen/text.h"
#include "codegen/whole_sets.h"

static size_t inputs_of(const pq_emitter *e)
{
    size_t n = 0;

    for (size_t i = 0; i < e->graph->n_nodes; i++) {
        n = e->graph->nodes[i].n_inputs == 0 ? pq_emit_items(e, i) : n;
    }
    return n;
}

static size_t outputs_of(const pq_emitter *e)
{
    return pq_emit_items(e, e->graph->output);
}

void pq_frame_mark(const char *name, const char *ending, pq_text *out)
{
    if (strcmp(ending, ".txt") == 0) {
        pq_text_add(out, "# %s: made by pquant", name);
    } else {
        pq_text_add(out, "/* %s%s: made by pquant", name, ending);
    }
}

void pq_choice_only(const pq_emitter *e, const char *name, pq_text *out)
{
    pq_text_add(out, "static void (*const chosen)(const float *, float *) = %s;\n", name);
    if (pq_events_has(e)) {
        pq_text_add(out,
                    "static void (*const chosen_block)(const float *, float *) = "
                    "%s_block;\n",
                    name);
    }
    pq_text_add(out, "static const char chosen_name[] = \"%s\";\n\n", name);
}

void pq_choice_open(const pq_emitter *e, pq_text *out)
{
    pq_text_add(out,
                "static void (*chosen)(const float *, float *) = portable;\n%s"
                "static const char *chosen_name = \"portable\";\n\n"
                "__attribute__((constructor)) static void choose(void)\n{\n"
                "#if defined __x86_64__\n    __builtin_cpu_init();\n",
                pq_events_has(e)
                    ? "static void (*chosen_block)(const float *, float *) = "
                      "portable_block;\n"
                    : "");
}

void pq_choice_add(const pq_emitter *e, const char *name, pq_text *out)
{
    pq_text_add(out, "    if (has_%s()) {\n        chosen = %s;\n", name, name);
    if (pq_events_has(e)) {
        pq_text_add(out, "        chosen_block = %s_block;\n", name);
    }
    pq_text_add(out, "        chosen_name = \"%s\";\n    }\n", name);
}

void pq_choice_close(pq_text *out)
{
    pq_text_add(out, "#endif\n}\n\n");
}

void pq_frame_origin(const char *name, const char *ending, const char *hash, pq_text *out)
{
    pq_frame_mark(name, ending, out);
    pq_text_add(out, " %s from the model with the hash\n   %s. */\n", PQ_VERSION, hash);
}

void pq_frame_header(const pq_emitter *e, const char *hash, pq_text *out)
{
    const char *n         = e->name;
    char        stack[48] = "";

    if (pq_events_has(e)) {
        (void)snprintf(stack, sizeof stack, "; %zu bytes of stack",
                       PQ_EVENTS * pq_emit_stack(e));
    }
    pq_frame_origin(e->name, ".h", hash, out);
    pq_text_add(
        out,
        "#ifndef PQUANT_%s_H\n#define PQUANT_%s_H\n\n#include <stddef.h>\n\n"
        "#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n"
        "/* Floats of one event, and of its result. */\n"
        "enum { %s_INPUTS = %zu, %s_OUTPUTS = %zu };\n\n"
        "/* One event: x [%zu]%s, y [%zu]; they do not overlap. Allocates nothing and\n"
        "   may run on several threads at once; %zu bytes of stack. */\n"
        "void %s_run1(const float *x, float *y);\n\n"
        "/* n events: x [n, %zu] and y [n, %zu] do not overlap; each as by run1%s. */\n"
        "void %s_runN(const float *x, float *y, size_t n);\n\n",
        n, n, n, inputs_of(e), n, outputs_of(e), inputs_of(e),
        e->graph->scaler_mean != NULL ? ", as measured: the model's scaler is inside"
                                      : "",
        outputs_of(e), pq_emit_stack(e), n, inputs_of(e), outputs_of(e), stack, n);
    pq_text_add(out,
                "typedef struct {\n"
                "    const char *name, *model_hash;\n"
                "    const char *isa; /* what run1 uses here: amx, avx512, avxvnni, "
                "avx2 or portable */\n"
                "    size_t n_features; /* 0: the model does not name them */\n"
                "    const char *const *features; /* in the order of x's last axis */\n"
                "    size_t n_classes;\n"
                "    const char *const *classes; /* in the order of y */\n"
                "} %s_information;\n\n"
                "%s_information %s_info(void);\n\n"
                "#ifdef __cplusplus\n}\n#endif\n\n#endif\n",
                n, n, n);
}

const char *const pq_codegen_isas[] = {"portable", "avx2", "avxvnni",
                                       "avx512",   "amx",  NULL};

/* Blocks first; of what is left more than half of one is done in a block that begins
 * earlier, and gives what it gave before for those events. */
static void add_runs(const pq_emitter *e, pq_text *out)
{
    const char *n = e->name;

    pq_text_add(
        out,
        "void %s_run1(const float *x, float *y)\n{\n    chosen(x, y);\n}\n\n"
        "void %s_runN(const float *x, float *y, size_t n)\n{\n    size_t i = 0;\n\n",
        n, n);
    if (pq_events_has(e)) {
        pq_text_add(
            out,
            "    for (; n - i >= %d; i += %d) {\n"
            "        chosen_block(x + i * %s_INPUTS, y + i * %s_OUTPUTS);\n    }\n"
            "    if (n > %d && n - i > %d) {\n        i = n - %d;\n"
            "        chosen_block(x + i * %s_INPUTS, y + i * %s_OUTPUTS);\n"
            "        i = n;\n    }\n",
            PQ_EVENTS, PQ_EVENTS, n, n, PQ_EVENTS, PQ_EVENTS / 2, PQ_EVENTS, n, n);
    }
    pq_text_add(out,
                "    for (; i < n; i++) {\n"
                "        chosen(x + i * %s_INPUTS, y + i * %s_OUTPUTS);\n    }\n}\n\n",
                n, n);
}

void pq_frame_source(const pq_emitter *e, const char *hash, pq_text *out)
{
    const char     *n          = e->name;
    const pq_graph *g          = e->graph;
    const size_t    n_features = g->feature_names != NULL ? g->n_features : 0;
    const size_t    n_classes  = g->class_names != NULL ? g->n_classes : 0;

    pq_frame_origin(e->name, ".c", hash, out);
    pq_text_add(out, "#include \"%s.h\"\n\n", n);
    if (e->whole) {
        pq_whole_prelude(out);
        pq_text_add_bytes(out, e->tables.text, e->tables.length);
        pq_whole_sets(e, out);
        pq_whole_choice(e, out);
    } else {
        pq_float_sets(e, out);
    }
    add_runs(e, out);
    pq_c_strings(out, "features", (const char *const *)g->feature_names, n_features);
    pq_c_strings(out, "classes", (const char *const *)g->class_names, n_classes);
    pq_text_add(out,
                "\n%s_information %s_info(void)\n{\n"
                "    const %s_information i = {\"%s\", \"%s\", chosen_name, %zu, %s, "
                "%zu, %s};\n\n"
                "    return i;\n}\n",
                n, n, n, n, hash, n_features, n_features > 0 ? "features" : "NULL",
                n_classes, n_classes > 0 ? "classes" : "NULL");
}

void pq_frame_test(const pq_emitter *e, const char *hash, size_t n, const float *in,
                   const float *due, pq_text *out)
{
    const char *name = e->name;

    pq_frame_origin(e->name, "_test.c", hash, out);
    pq_text_add(
        out,
        "/* Runs stored events through %s and compares with what pquant's reference "
        "engine gave:\n   cc -O2 %s.c %s_test.c -o %s_test -lm && ./%s_test */\n"
        "#include <math.h>\n#include <stdio.h>\n\n#include \"%s.h\"\n\n",
        name, name, name, name, name, name);
    pq_c_floats(out, "in", in, n * inputs_of(e));
    pq_c_floats(out, "due", due, n * outputs_of(e));
    pq_text_add(
        out,
        "int main(void)\n{\n"
        "    static float out[2 * %zu * %s_OUTPUTS]; /* at once, and one by one */\n"
        "    double largest = 1.0, apart = 0.0;\n\n"
        "    %s_runN(in, out, %zu);\n"
        "    for (size_t i = 0; i < %zu; i++) {\n"
        "        %s_run1(in + i * %s_INPUTS, out + (%zu + i) * %s_OUTPUTS);\n    }\n"
        "    for (size_t i = 0; i < 2 * %zu * %s_OUTPUTS; i++) {\n"
        "        const float is = out[i], to_be = due[i %% (%zu * "
        "%s_OUTPUTS)];\n\n"
        "        if (is == to_be || (isnan(is) && isnan(to_be))) {\n"
        "            continue; /* infinities, too */\n        }\n"
        "        const double difference = fabs((double)is - (double)to_be);\n"
        "        largest = fmax(largest, fabs((double)to_be));\n"
        "        apart   = difference <= apart ? apart : difference; /* NaN stays */\n"
        "    }\n"
        "    printf(\"%s (%%s): %zu events, largest difference %%.1e\\n\", "
        "%s_info().isa, apart / largest);\n"
        "    return apart <= %s * largest ? 0 : 1;\n}\n",
        n, name, name, n, n, name, name, n, name, n, name, n, name, name, n, name,
        e->exact ? "0.0" : "1e-5");
}

void pq_frame_cmake(const pq_emitter *e, pq_text *out)
{
    const char *n = e->name;

    pq_frame_mark(n, ".txt", out);
    pq_text_add(
        out,
        " %s\n"
        "# add_subdirectory() of this folder, then target_link_libraries(yours %s);\n"
        "# as a project of its own it builds and runs the test.\n"
        "cmake_minimum_required(VERSION 3.10)\nproject(%s C)\n"
        "add_library(%s STATIC %s.c)\n"
        "target_include_directories(%s PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})\n"
        "target_compile_options(%s PRIVATE -O2)\n"
        "target_link_libraries(%s PUBLIC m)\n"
        "if(CMAKE_SOURCE_DIR STREQUAL CMAKE_CURRENT_SOURCE_DIR)\n"
        "  enable_testing()\n"
        "  add_executable(%s_test %s_test.c)\n"
        "  target_link_libraries(%s_test %s)\n"
        "  add_test(NAME %s COMMAND %s_test)\nendif()\n",
        PQ_VERSION, n, n, n, n, n, n, n, n, n, n, n, n, n);
}
