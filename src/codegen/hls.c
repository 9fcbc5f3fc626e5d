/* HLS C++: the walk over the graph, and the files. */
#include "codegen/hls.h"

#include <stdio.h>
#include <string.h>

#include "codegen/files.h"
#include "codegen/frame.h"
#include "codegen/text.h"
#include "codegen/verify.h"
#include "core/memory.h"
#include "exec/plan.h"

enum { TESTED = 16, FILES = 3 };

static const char *const endings[FILES] = {".h", ".cpp", "_test.cpp"};

static const struct {
    const char *kind;
    pq_status (*emit)(pq_hls *h, size_t node, pq_err *err);
} kinds[] = {
    {"input", pq_hls_input},          {"dense", pq_hls_linear},
    {"conv2d", pq_hls_linear},        {"max_pool", pq_hls_pool},
    {"avg_pool", pq_hls_pool},        {"global_max_pool", pq_hls_pool},
    {"global_avg_pool", pq_hls_pool},
};

/* Words of C++ and of the types' headers; generated C has a prefix alone. */
static const char words[] =
    " alignas alignof and and_eq asm auto bitand bitor bool break case catch "
    "char char16_t char32_t char8_t class co_await co_return co_yield compl "
    "concept const const_cast consteval constexpr constinit continue decltype "
    "default delete do double dynamic_cast else enum explicit export extern "
    "false float for friend goto if inline int long mutable namespace new "
    "noexcept not not_eq nullptr operator or or_eq private protected public "
    "register reinterpret_cast requires return short signed sizeof static "
    "static_assert static_cast struct switch template this thread_local throw "
    "true try typedef typeid typename union unsigned using virtual void "
    "volatile wchar_t while xor xor_eq main std EOF NULL ap_fixed ap_ufixed "
    "ap_int ap_uint ac_fixed ac_int ";

/* v1_t, v1_sum, t1k and t1k_t, as the types and tables of layers are called. */
static bool is_of_layer(const char *name)
{
    const char  *end  = name + 1 + strspn(name + 1, "0123456789");
    const size_t tail = name[0] == 't' && *end != '\0' && *end != '_' ? 1 : 0;

    return end > name + 1 &&
           ((name[0] == 'v' && (strcmp(end, "_t") == 0 || strcmp(end, "_sum") == 0)) ||
            (tail == 1 && (end[1] == '\0' || strcmp(end + 1, "_t") == 0)));
}

static pq_status check_name(const char *name, pq_err *err)
{
    char      word[PQ_CODEGEN_NAME + 3];
    pq_status st;

    PQ_TRY(pq_codegen_check_name(name, err));
    (void)snprintf(word, sizeof word, " %s ", name);
    PQ_CHECK(strstr(words, word) == NULL && strncmp(name, "AP_", 3) != 0 &&
                 strncmp(name, "AC_", 3) != 0,
             PQ_ERR_CONFIG,
             "'%s' cannot be the name: C++ has a meaning of its own for it", name);
    PQ_CHECK(!is_of_layer(name), PQ_ERR_CONFIG,
             "'%s' cannot be the name: a table of the code has it", name);
cleanup:
    return st;
}

static pq_status emit_node(pq_hls *h, size_t node, pq_err *err)
{
    const pq_layer *layer = h->graph->nodes[node].layer;

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kinds[i].kind, layer->kind->name) == 0) {
            return kinds[i].emit(h, node, err);
        }
    }
    return pq_layer_is(layer, PQ_TRAIT_MOVES) ? pq_hls_moves(h, node, err)
                                              : pq_hls_items_of(h, node, err);
}

/* What the output depends on, in order. */
static pq_status walk(pq_hls *h, size_t *input, pq_err *err)
{
    const pq_graph *g      = h->graph;
    bool           *used   = NULL;
    size_t          inputs = 0;
    pq_status       st;

    PQ_NEW(used, g->n_nodes);
    used[g->output] = true;
    for (size_t i = g->n_nodes; i-- > 0;) {
        for (size_t k = 0; used[i] && k < g->nodes[i].n_inputs; k++) {
            used[g->nodes[i].inputs[k]] = true;
        }
    }
    for (size_t i = 0; i < g->n_nodes; i++) {
        if (g->nodes[i].n_inputs == 0) {
            *input = i;
            inputs++;
        }
        if (!used[i]) {
            continue;
        }
        pq_text_add(&h->body, "    /* ");
        pq_c_comment(&h->body, g->nodes[i].name);
        pq_text_add(&h->body, ": %s */\n", g->nodes[i].layer->kind->name);
        st = emit_node(h, i, err);
        if (st != PQ_OK) {
            pq_err_context(err, "layer '%s'", g->nodes[i].name);
            goto cleanup;
        }
    }
    PQ_CHECK(inputs == 1, PQ_ERR_UNSUPPORTED,
             "the model has %zu inputs; HLS C++ takes one", inputs);
cleanup:
    pq_free(used);
    return st;
}

static void add_scaler(const pq_hls *h, const char *what, const pq_tensor *values,
                       pq_text *out)
{
    char number[PQ_C_NUMBER];

    pq_text_add(out, "static const float %s_%s[] = {", h->name, what);
    for (size_t i = 0; i < values->count; i++) {
        pq_text_add(out, "%s%s", i > 0 ? ", " : "",
                    pq_c_number((double)pq_f32(values)[i], number));
    }
    pq_text_add(out, "};\n");
}

/* The names of types: those of AMD's ap_fixed, or of Siemens's ac_fixed. */
static void make_header(const pq_hls *h, const char *hash, size_t input, pq_text *out)
{
    const char *n = h->name;

    pq_frame_origin(h->name, endings[0], hash, out);
    pq_text_add(out,
                "#ifndef PQUANT_%s_H\n#define PQUANT_%s_H\n\n"
                "#if defined PQUANT_AC_TYPES\n#include <ac_fixed.h>\n"
                "#define %s_SIGNED(w, i, q, o) ac_fixed<w, i, true, AC_##q, AC_##o>\n"
                "#define %s_UNSIGNED(w, i, q, o) ac_fixed<w, i, false, AC_##q, AC_##o>\n"
                "#else\n#include <ap_fixed.h>\n"
                "#define %s_SIGNED(w, i, q, o) ap_fixed<w, i, AP_##q, AP_##o>\n"
                "#define %s_UNSIGNED(w, i, q, o) ap_ufixed<w, i, AP_##q, AP_##o>\n"
                "#endif\n\nenum { %s_INPUTS = %zu, %s_OUTPUTS = %zu };\n\ntypedef ",
                n, n, n, n, n, n, n, pq_hls_items(h, input), n,
                pq_hls_items(h, h->graph->output));
    pq_hls_type_add(h, &h->type[input], out);
    pq_text_add(out, " %s_input_t;\ntypedef ", n);
    pq_hls_type_add(h, &h->type[h->graph->output], out);
    pq_text_add(out, " %s_result_t;\n\n", n);
    if (h->graph->scaler_mean != NULL) {
        pq_text_add(out, "/* Features come scaled: (as measured - mean) / std, which is "
                         "no part of the function. */\n");
        add_scaler(h, "mean", h->graph->scaler_mean, out);
        add_scaler(h, "std", h->graph->scaler_std, out);
    }
    pq_text_add(out,
                "\nvoid %s(const %s_input_t x[%s_INPUTS], %s_result_t y[%s_OUTPUTS]);\n\n"
                "#endif\n",
                n, n, n, n, n);
}

/* A value from its code, all bits of it. */
static void add_code(const pq_hls *h, pq_text *out)
{
    pq_text_add(out,
                "template <class T> static inline T %s_code(long long code)\n{\n"
                "    T t;\n\n#if defined PQUANT_AC_TYPES\n"
                "    t.set_slc(0, ac_int<T::width, true>(code));\n#else\n"
                "    t.range() = code;\n#endif\n    return t;\n}\n\n",
                h->name);
}

static void make_source(const pq_hls *h, const char *hash, pq_text *out)
{
    const char *n = h->name;

    pq_frame_origin(h->name, endings[1], hash, out);
    pq_text_add(out, "#include \"%s.h\"\n\n", n);
    add_code(h, out);
    pq_text_add_bytes(out, h->types.text, h->types.length);
    pq_text_add(out, "\n");
    pq_text_add_bytes(out, h->tables.text, h->tables.length);
    pq_text_add(out,
                "\nvoid %s(const %s_input_t x[%s_INPUTS], %s_result_t "
                "y[%s_OUTPUTS])\n{\n"
                "#pragma HLS ARRAY_PARTITION variable=x complete\n"
                "#pragma HLS ARRAY_PARTITION variable=y complete\n",
                n, n, n, n, n);
    pq_text_add_bytes(out, h->body.text, h->body.length);
    pq_text_add(out,
                "    for (int i = 0; i < %s_OUTPUTS; i++) {\n#pragma HLS UNROLL\n"
                "        y[i] = v%zu[i];\n    }\n}\n",
                n, h->graph->output);
}

/* Drawn events, and what the engine `integer` makes of them. */
static pq_status make_test(const pq_hls *h, const char *hash, size_t input, pq_text *out,
                           pq_err *err)
{
    const pq_plan_options options = {"integer", TESTED};
    const size_t          items   = pq_hls_items(h, input);
    const size_t          given   = pq_hls_items(h, h->graph->output);
    pq_plan              *plan    = NULL;
    float                *raw = NULL, *in = NULL, *due = NULL;
    const char           *n = h->name;
    pq_status             st;

    PQ_TRY(pq_verify_events(h->graph, TESTED, 1.0, &raw, &in, err));
    PQ_NEW(due, TESTED * given);
    PQ_TRY(pq_plan_create(h->graph, &options, &plan, err));
    PQ_TRY(pq_plan_run(plan, TESTED, (const float *const[]){in}, due, err));
    pq_frame_origin(h->name, endings[2], hash, out);
    pq_text_add(out,
                "/* Runs stored events through %s and compares with what pquant's engine "
                "integer gave:\n   c++ -I FOLDER_OF_AP_TYPES %s.cpp %s_test.cpp -o "
                "%s_test && ./%s_test */\n"
                "#include <cstdio>\n\n#include \"%s.h\"\n\n",
                n, n, n, n, n, n);
    /* inside, and called by ::, since the function may have the name of any of these */
    pq_text_add(out, "int main()\n{\n");
    pq_c_floats(out, "in", in, TESTED * items);
    pq_c_floats(out, "due", due, TESTED * given);
    pq_text_add(
        out,
        "    static %s_input_t x[%s_INPUTS];\n"
        "    static %s_result_t y[%s_OUTPUTS];\n    int wrong = 0;\n\n"
        "    for (int e = 0; e < %d; e++) {\n"
        "        for (int i = 0; i < %s_INPUTS; i++) {\n"
        "            x[i] = (double)in[e * %s_INPUTS + i];\n        }\n"
        "        ::%s(x, y);\n"
        "        for (int i = 0; i < %s_OUTPUTS; i++) {\n"
        "            wrong += (float)y[i].to_double() != due[e * %s_OUTPUTS + i];\n"
        "        }\n    }\n"
        "    std::printf(\"%s: %d events, %%d numbers differ\\n\", wrong);\n"
        "    return wrong == 0 ? 0 : 1;\n}\n",
        n, n, n, n, TESTED, n, n, n, n, n, n, TESTED);
cleanup:
    pq_plan_free(&plan);
    pq_free(raw);
    pq_free(in);
    pq_free(due);
    return st;
}

pq_status pq_codegen_hls(const pq_graph *graph, const char *name, const char *folder,
                         pq_codegen_summary *out, pq_err *err)
{
    pq_hls    h           = {.graph = graph, .name = name};
    pq_text   text[FILES] = {{0}};
    size_t    input       = 0;
    char      hash[65];
    pq_status st;

    PQ_TRY(check_name(name, err));
    PQ_NEW(h.type, graph->n_nodes);
    PQ_TRY(walk(&h, &input, err));
    PQ_TRY(pq_graph_hash(graph, hash, err));
    PQ_CHECK(!h.types.failed && !h.tables.failed && !h.body.failed, PQ_ERR_NOMEM,
             "cannot allocate the source");
    make_header(&h, hash, input, &text[0]);
    make_source(&h, hash, &text[1]);
    PQ_TRY(make_test(&h, hash, input, &text[2], err));
    PQ_TRY(pq_files_write(name, folder, FILES, endings, text, err));
    *out = (pq_codegen_summary){.weights      = h.weights,
                                .source_bytes = text[1].length,
                                .whole        = true,
                                .exact        = true};
cleanup:
    pq_free(h.type);
    pq_text_free(&h.types);
    pq_text_free(&h.tables);
    pq_text_free(&h.body);
    for (size_t i = 0; i < FILES; i++) {
        pq_text_free(&text[i]);
    }
    return st;
}
