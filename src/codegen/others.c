/* The scaler, and layers without kernels: sums, pools, softmax, and those that move
 * values. */
#include <math.h>
#include <string.h>

#include "codegen/emit.h"
#include "codegen/softmax.h"
#include "codegen/text.h"
#include "core/memory.h"
#include "exec/fold.h"
#include "layers/kinds.h"
#include "layers/layer_norm.h"

/* Takes the larger; a NaN is the largest of all, and stays. */
static const char larger[] = "v = one > v || one != one ? one : v;";

/* The input as the layers see it: the caller's array, or that through the scaler. */
pq_status pq_emit_scaler(pq_emitter *e, size_t input, pq_err *err)
{
    const pq_graph *g    = e->graph;
    const size_t    n    = pq_emit_items(e, input);
    double         *mean = NULL, *inverse = NULL;
    size_t          width, a, b, at;
    pq_status       st;

    if (g->scaler_mean == NULL) {
        PQ_STRDUP(e->place[input], "x");
        return PQ_OK;
    }
    width = g->scaler_mean->count;
    PQ_NEW(mean, width);
    PQ_NEW(inverse, width);
    for (size_t i = 0; i < width; i++) {
        mean[i]    = (double)pq_f32(g->scaler_mean)[i];
        inverse[i] = 1.0 / (double)pq_f32(g->scaler_std)[i];
    }
    PQ_TRY(pq_emit_table(e, width, mean, &a, err));
    PQ_TRY(pq_emit_table(e, width, inverse, &b, err));
    at                     = (e->summary.stack_bytes + 63) / 64 * 64;
    e->summary.stack_bytes = at + n * sizeof(float);
    e->place[input]        = pq_format("(stack + %zu)", at / sizeof(float));
    PQ_CHECK(e->place[input] != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    e->scaled = e->place[input];
    e->scaler = a;
    pq_text_add(&e->body,
                "    for (int r = 0; r < %zu; r += %zu) {\n"
                "        for (int c = 0; c < %zu; c++) {\n"
                "            %s[r + c] = (x[r + c] - t%zu[c]) * t%zu[c];\n"
                "        }\n    }\n    SETTLE(stack);\n",
                n, width, width, e->place[input], a, b);
cleanup:
    pq_free(mean);
    pq_free(inverse);
    return st;
}

pq_status pq_emit_combine(pq_emitter *e, const pq_emit_step *s, pq_err *err)
{
    const pq_node *node = &e->graph->nodes[s->node];
    const char    *sign = strcmp(node->layer->kind->name, "add") == 0 ? "+" : "*";

    (void)err;
    pq_text_add(&e->body,
                "    for (int i = 0; i < %zu; i++) {\n        float v = (%s)[i]",
                pq_emit_items(e, s->node), pq_emit_input(e, s, 0));
    for (size_t k = 1; k < node->n_inputs; k++) {
        pq_text_add(&e->body, " %s (%s)[i]", sign, pq_emit_input(e, s, k));
    }
    pq_text_add(&e->body, ";");
    pq_emit_functions(e, s, s->node, "v", false);
    pq_text_add(&e->body, "\n        (%s)[i] = v;\n    }\n", e->place[s->last]);
    return PQ_OK;
}

/* Whether the input lies in the stack, where a vector may read beyond it. */
static bool is_made(const pq_emitter *e, const pq_emit_step *s)
{
    return strncmp(pq_emit_input(e, s, 0), "(stack", 6) == 0;
}

pq_status pq_emit_softmax(pq_emitter *e, const pq_emit_step *s, pq_err *err)
{
    const size_t width = pq_emit_width(e, s->node), n = pq_emit_items(e, s->node);

    (void)err;
    if (width <= PQ_SOFTMAX_MOST && n == width && is_made(e, s)) {
        pq_softmax_define(e, width);
        pq_text_add(&e->body, "    softmax%zu(%s, %s);\n", width, pq_emit_input(e, s, 0),
                    e->place[s->last]);
        pq_emit_functions_over(e, s, s->node, e->place[s->last], n);
        return PQ_OK;
    }
    pq_text_add(&e->body,
                "    for (int r = 0; r < %zu; r += %zu) {\n"
                "        const float *in = %s + r;\n"
                "        float *out = %s + r, most = in[0], sum = 0.0f;\n"
                "        for (int i = 1; i < %zu; i++) {\n"
                "            most = in[i] > most ? in[i] : most;\n"
                "        }\n"
                "        for (int i = 0; i < %zu; i++) {\n"
                "            out[i] = expf(in[i] - most);\n"
                "            sum += out[i];\n"
                "        }\n"
                "        for (int i = 0; i < %zu; i++) {\n"
                "            out[i] /= sum;\n"
                "        }\n"
                "    }\n",
                n, width, pq_emit_input(e, s, 0), e->place[s->last], width, width, width);
    pq_emit_functions_over(e, s, s->node, e->place[s->last], n);
    return PQ_OK;
}

/* Declares uN, a table that the compiler cannot look into: of summands whose signs change
 * from one to the next GCC makes sums and differences in turn, which it fuses with a
 * product or not as the loop around them is. */
static void hide_table(pq_emitter *e, size_t number)
{
    pq_text_add(&e->body, "    const float *const u%zu = hidden(t%zu);\n", number,
                number);
}

/* A table of a weight of floats, as ` SIGN uN[i]`; nothing where there is none. */
static pq_status factor_of(pq_emitter *e, const pq_layer *layer, const char *name,
                           const char *sign, pq_text *out, pq_err *err)
{
    const pq_weight *w      = pq_layer_weight(layer, name);
    double          *values = NULL;
    size_t           number;
    pq_status        st = PQ_OK;

    if (w != NULL) {
        PQ_NEW(values, w->value->count);
        for (size_t c = 0; c < w->value->count; c++) {
            values[c] = (double)pq_f32(w->value)[c];
        }
        PQ_TRY(pq_emit_table(e, w->value->count, values, &number, err));
        hide_table(e, number);
        pq_text_add(out, " %s u%zu[i]", sign, number);
    }
cleanup:
    pq_free(values);
    return st;
}

/* A row whose squares, `v`, are beyond float32, or below it: in double, and on to the
 * next. */
static void emit_wide_row(pq_emitter *e, size_t width, double epsilon, const char *affine)
{
    pq_text_add(
        &e->body,
        "        if (v > %af || v / %zu.0f + %af < %af) {\n"
        "            double wide = 0.0;\n"
        "            for (int i = 0; i < %zu; i++) {\n"
        "                const double d = (double)in[i] - (double)mean;\n"
        "                wide += d * d;\n"
        "            }\n"
        "            wide = 1.0 / sqrt(wide / %zu.0 + %a);\n"
        "            for (int i = 0; i < %zu; i++) {\n"
        "                out[i] = (float)(((double)in[i] - (double)mean) * wide)%s;\n"
        "            }\n"
        "            continue;\n"
        "        }\n",
        (double)PQ_LAYER_NORM_MOST, width, (double)(float)epsilon,
        (double)PQ_LAYER_NORM_LEAST, width, width, epsilon, width,
        affine != NULL ? affine : "");
}

pq_status pq_emit_layer_norm(pq_emitter *e, const pq_emit_step *s, pq_err *err)
{
    const pq_layer             *layer = e->graph->nodes[s->node].layer;
    const pq_layer_norm_params *p     = layer->params;
    const size_t width = pq_emit_width(e, s->node), n = pq_emit_items(e, s->node);
    pq_text      affine = {0};
    pq_status    st;

    PQ_TRY(factor_of(e, layer, "gamma", "*", &affine, err));
    PQ_TRY(factor_of(e, layer, "beta", "+", &affine, err));
    pq_text_add(&e->body,
                "    for (int r = 0; r < %zu; r += %zu) {\n"
                "        const float *in = %s + r;\n"
                "        float *out = %s + r, v = 0.0f;\n        double sum = 0.0;\n"
                "        for (int i = 0; i < %zu; i++) {\n"
                "            sum += (double)in[i];\n"
                "        }\n"
                "        const float mean = (float)(sum / %zu.0);\n"
                "        for (int i = 0; i < %zu; i++) {\n"
                "            v += (in[i] - mean) * (in[i] - mean);\n"
                "        }\n",
                n, width, pq_emit_input(e, s, 0), e->place[s->last], width, width, width);
    emit_wide_row(e, width, p->epsilon, affine.text);
    pq_text_add(&e->body,
                "        v = 1.0f / sqrtf(v / %zu.0f + %af);\n"
                "        for (int i = 0; i < %zu; i++) {\n"
                "            out[i] = (in[i] - mean) * v%s;\n"
                "        }\n"
                "    }\n",
                width, (double)(float)p->epsilon, width,
                affine.text != NULL ? affine.text : "");
    pq_emit_functions_over(e, s, s->node, e->place[s->last], n);
cleanup:
    pq_text_free(&affine);
    return st;
}

void pq_emit_windows(pq_emitter *e, const pq_window *w)
{
    pq_text_add(
        &e->body,
        "    for (int p = 0; p < %zu; p++) {\n"
        "        const int top = p * %zu - %zu, low = top + %zu;\n"
        "        const int r0 = top < 0 ? 0 : top, r1 = low > %zu ? %zu : low;\n"
        "        for (int q = 0; q < %zu; q++) {\n"
        "            const int left = q * %zu - %zu, right = left + %zu;\n"
        "            const int c0 = left < 0 ? 0 : left, c1 = right > %zu ? %zu : "
        "right;\n"
        "            for (int c = 0; c < %zu; c++) {\n",
        w->out_h, w->stride_h, w->pad_top, w->kernel_h, w->in_h, w->in_h, w->out_w,
        w->stride_w, w->pad_left, w->kernel_w, w->in_w, w->in_w, w->channels);
}

/* Mean and maximum under a window: padding is neither a value of a maximum nor, without
 * count_padding, of a mean. */
pq_status pq_emit_pool(pq_emitter *e, const pq_emit_step *s, pq_err *err)
{
    const pq_node        *node = &e->graph->nodes[s->node];
    const pq_pool_params *p    = node->layer->params;
    const bool            max  = strcmp(node->layer->kind->name, "max_pool") == 0;
    pq_window             w;
    pq_status             st;

    PQ_TRY(pq_pool_window(node->layer, &e->graph->nodes[node->inputs[0]].shape, &w, err));
    pq_emit_windows(e, &w);
    pq_text_add(
        &e->body,
        "                float v = %s;\n"
        "                for (int r = r0; r < r1; r++) {\n"
        "                    for (int k = c0; k < c1; k++) {\n"
        "                        const float one = (%s)[(r * %zu + k) * %zu + c];\n"
        "                        %s\n"
        "                    }\n"
        "                }\n",
        max ? "-HUGE_VALF" : "0.0f", pq_emit_input(e, s, 0), w.in_w, w.channels,
        max ? larger : "v += one;");
    if (!max && p->count_padding) {
        pq_text_add(&e->body, "                v /= %zu.0f;\n", w.kernel_h * w.kernel_w);
    } else if (!max) {
        pq_text_add(&e->body, "                v /= (float)((r1 - r0) * (c1 - c0));\n");
    }
    pq_text_add(&e->body, "               ");
    pq_emit_functions(e, s, s->node, "v", false);
    pq_text_add(&e->body,
                "\n                (%s)[(p * %zu + q) * %zu + c] = v;\n"
                "            }\n        }\n    }\n",
                e->place[s->last], w.out_w, w.channels);
cleanup:
    return st;
}

pq_status pq_emit_global_pool(pq_emitter *e, const pq_emit_step *s, pq_err *err)
{
    const pq_node *node     = &e->graph->nodes[s->node];
    const bool     max      = strcmp(node->layer->kind->name, "global_max_pool") == 0;
    const size_t   channels = pq_emit_width(e, s->node);
    const size_t   n        = pq_emit_items(e, node->inputs[0]);

    (void)err;
    pq_text_add(&e->body,
                "    for (int c = 0; c < %zu; c++) {\n"
                "        float v = (%s)[c];\n"
                "        for (int i = c + %zu; i < %zu; i += %zu) {\n"
                "            const float one = (%s)[i];\n"
                "            %s\n"
                "        }\n",
                channels, pq_emit_input(e, s, 0), channels, n, channels,
                pq_emit_input(e, s, 0), max ? larger : "v += one;");
    if (!max) {
        pq_text_add(&e->body, "        v /= %zu.0f;\n", n / channels);
    }
    pq_text_add(&e->body, "       ");
    pq_emit_functions(e, s, s->node, "v", false);
    pq_text_add(&e->body, "\n        (%s)[c] = v;\n    }\n", e->place[s->last]);
    return PQ_OK;
}

/* --- values that move --- */

/* Output of a node's own forward for given values of its inputs. */
static void run_forward(const pq_graph *graph, size_t index, const double *const *in,
                        double *out)
{
    const pq_node *node                   = &graph->nodes[index];
    pq_shape       shapes[PQ_NODE_INPUTS] = {{0}};

    for (size_t k = 0; k < node->n_inputs; k++) {
        shapes[k] = graph->nodes[node->inputs[k]].shape;
    }
    node->layer->kind->forward(&(pq_layer_call){.layer     = node->layer,
                                                .batch     = 1,
                                                .n_in      = node->n_inputs,
                                                .in_shape  = shapes,
                                                .in        = in,
                                                .out_shape = node->shape,
                                                .out       = out});
}

/* A run of output items: of an input, from its item on; or constants. */
typedef struct {
    size_t to, input, from, n;
    double value; /* where input is SIZE_MAX */
} run;

/* Where the place numbers of each input begin. */
static size_t place_of(const size_t *base, size_t n_in, double number, size_t *input)
{
    const size_t at = (size_t)number;

    *input = 0;
    while (*input + 1 < n_in && at >= base[*input + 1]) {
        ++*input;
    }
    return at - base[*input];
}

/* Lets the layer move the numbers of places, twice: what is the same both times is a
 * constant. */
static pq_status find_runs(const pq_emitter *e, size_t index, run **out, size_t *n_runs,
                           pq_err *err)
{
    const pq_node *node               = &e->graph->nodes[index];
    const size_t   n                  = pq_emit_items(e, index);
    double        *in[PQ_NODE_INPUTS] = {NULL}, *first = NULL, *second = NULL;
    size_t         base[PQ_NODE_INPUTS + 1] = {0};
    run           *runs                     = NULL;
    pq_status      st;

    for (size_t k = 0; k < node->n_inputs; k++) {
        base[k + 1] = base[k] + pq_emit_items(e, node->inputs[k]);
        PQ_NEW(in[k], base[k + 1] - base[k]);
    }
    const double shift = (double)base[node->n_inputs];
    PQ_NEW(first, n);
    PQ_NEW(second, n);
    PQ_NEW(runs, n);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t k = 0; k < node->n_inputs; k++) {
            for (size_t i = 0; i < base[k + 1] - base[k]; i++) {
                in[k][i] = (double)(base[k] + i) + (pass == 0 ? 0.0 : shift);
            }
        }
        run_forward(e->graph, index, (const double *const *)in,
                    pass == 0 ? first : second);
    }
    *n_runs = 0;
    for (size_t i = 0; i < n; i++) {
        run  now  = {.to = i, .input = SIZE_MAX, .n = 1, .value = first[i]};
        run *last = *n_runs > 0 ? &runs[*n_runs - 1] : NULL;
        if (second[i] > first[i]) {
            now.from = place_of(base, node->n_inputs, first[i], &now.input);
        }
        if (last != NULL && last->input == now.input &&
            (now.input == SIZE_MAX ? last->value == now.value
                                   : last->from + last->n == now.from)) {
            last->n++;
        } else {
            runs[(*n_runs)++] = now;
        }
    }
    *out = runs;
    runs = NULL;
cleanup:
    for (size_t k = 0; k < PQ_NODE_INPUTS; k++) {
        pq_free(in[k]);
    }
    pq_free(first);
    pq_free(second);
    pq_free(runs);
    return st;
}

/* Runs of one input, in a table that a loop goes through. */
static void copy_runs(pq_emitter *e, const pq_emit_step *s, const run *runs,
                      size_t n_runs, size_t input)
{
    size_t n = 0;

    for (size_t i = 0; i < n_runs; i++) {
        n += runs[i].input == input ? 1 : 0;
    }
    if (n == 0) {
        return;
    }
    pq_text_add(&e->tables, "static const unsigned t%zu[][3] = {", e->n_tables);
    for (size_t i = 0; i < n_runs; i++) {
        if (runs[i].input == input) {
            pq_text_add(&e->tables, "{%zu,%zu,%zu},", runs[i].to, runs[i].from,
                        runs[i].n);
        }
    }
    pq_text_add(&e->tables, "};\n");
    pq_text_add(&e->body,
                "    for (int i = 0; i < %zu; i++) {\n"
                "        memcpy(%s + t%zu[i][0], %s + t%zu[i][1], t%zu[i][2] * "
                "sizeof(float));\n    }\n",
                n, e->place[s->last], e->n_tables, pq_emit_input(e, s, input),
                e->n_tables, e->n_tables);
    e->n_tables++;
}

pq_status pq_emit_move(pq_emitter *e, const pq_emit_step *s, pq_err *err)
{
    const pq_node *node   = &e->graph->nodes[s->node];
    run           *runs   = NULL;
    size_t         n_runs = 0;
    char           value[PQ_C_NUMBER];
    pq_status      st;

    PQ_TRY(find_runs(e, s->node, &runs, &n_runs, err));
    for (size_t k = 0; k < node->n_inputs; k++) {
        copy_runs(e, s, runs, n_runs, k);
    }
    for (size_t i = 0; i < n_runs; i++) {
        if (runs[i].input == SIZE_MAX) {
            pq_text_add(&e->body,
                        "    for (int i = %zu; i < %zu; i++) {\n"
                        "        (%s)[i] = %s;\n    }\n",
                        runs[i].to, runs[i].to + runs[i].n, e->place[s->last],
                        pq_c_number(runs[i].value, value));
        }
    }
    pq_emit_functions_over(e, s, s->node, e->place[s->last], pq_emit_items(e, s->node));
cleanup:
    pq_free(runs);
    return st;
}

pq_status pq_emit_masked_pool(pq_emitter *e, const pq_emit_step *s, pq_err *err)
{
    const pq_node *node     = &e->graph->nodes[s->node];
    const int      mode     = ((const pq_masked_pool_params *)node->layer->params)->mode;
    const size_t   rows     = e->graph->nodes[node->inputs[0]].shape.dim[0];
    const size_t   channels = pq_emit_items(e, s->node);
    const char    *x = pq_emit_input(e, s, 0), *mask = pq_emit_input(e, s, 1);

    (void)err;
    pq_text_add(&e->body,
                "    for (int c = 0; c < %zu; c++) {\n"
                "        float v = 0.0f;\n"
                "        int   n = 0;\n"
                "        for (int r = 0; r < %zu; r++) {\n"
                "            const float one = (%s)[r * %zu + c];\n"
                "            if ((%s)[r] > 0.0f) {\n"
                "                %s\n"
                "                n++;\n"
                "            }\n"
                "        }\n",
                channels, rows, x, channels, mask,
                mode == PQ_MASKED_MAX ? "v = n == 0 || one > v || one != one ? one : v;"
                                      : "v += one;");
    pq_text_add(&e->body, mode == PQ_MASKED_MEAN
                              ? "        v /= n > 0 ? (float)n : 1.0f;\n       "
                              : "       ");
    pq_emit_functions(e, s, s->node, "v", false);
    pq_text_add(&e->body, "\n        (%s)[c] = v;\n    }\n", e->place[s->last]);
    return PQ_OK;
}

/* A BatchNorm that nothing takes in: a factor and a summand a channel. */
pq_status pq_emit_norm(pq_emitter *e, const pq_emit_step *s, pq_err *err)
{
    const size_t width = pq_emit_width(e, s->node), n = pq_emit_items(e, s->node);
    pq_affine    norm = {0};
    size_t       factor, summand;
    pq_status    st;

    PQ_TRY(pq_affine_create(width, &norm, err));
    pq_affine_normalise(&norm, e->graph->nodes[s->node].layer);
    PQ_TRY(pq_emit_table(e, width, norm.scale, &factor, err));
    PQ_TRY(pq_emit_table(e, width, norm.shift, &summand, err));
    hide_table(e, factor);
    hide_table(e, summand);
    pq_text_add(&e->body,
                "    for (int r = 0; r < %zu; r += %zu) {\n"
                "        for (int c = 0; c < %zu; c++) {\n"
                "            float v = (%s)[r + c] * u%zu[c] + u%zu[c];",
                n, width, width, pq_emit_input(e, s, 0), factor, summand);
    pq_emit_functions(e, s, s->node, "v", false);
    pq_text_add(&e->body, "\n            (%s)[r + c] = v;\n        }\n    }\n",
                e->place[s->last]);
cleanup:
    pq_affine_free(&norm);
    return st;
}
