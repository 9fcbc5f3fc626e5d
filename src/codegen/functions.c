/* Functions of one value: what a kind is as a C expression. */
#include <math.h>
#include <string.h>

#include "codegen/emit.h"
#include "codegen/text.h"
#include "layers/kinds.h"

/* Appends `v = …;` for the variable v. */
typedef void (*write_function)(const pq_layer *layer, const char *v, pq_text *out);

static void relu(const pq_layer *layer, const char *v, pq_text *out)
{
    (void)layer;
    pq_text_add(out, "%s = %s < 0.0f ? 0.0f : %s;", v, v, v); /* a NaN stays one */
}

static void relu_vector(const pq_layer *layer, const char *v, pq_text *out)
{
    (void)layer;
    pq_text_add(out, "RELU(%s)", v);
}

static const char *slope_of(const pq_layer *layer, char text[PQ_C_NUMBER])
{
    return pq_c_number(((const pq_leaky_relu_params *)layer->params)->slope, text);
}

static void leaky_relu(const pq_layer *layer, const char *v, pq_text *out)
{
    char slope[PQ_C_NUMBER];

    pq_text_add(out, "%s = %s > 0.0f ? %s : %s * %s;", v, v, v, slope_of(layer, slope),
                v);
}

static void leaky_relu_vector(const pq_layer *layer, const char *v, pq_text *out)
{
    char slope[PQ_C_NUMBER];

    pq_text_add(out, "LEAKY(%s, %s)", v, slope_of(layer, slope));
}

static void clip(const pq_layer *layer, const char *v, pq_text *out)
{
    const pq_clip_params *p = layer->params;
    char                  lo[PQ_C_NUMBER], hi[PQ_C_NUMBER];

    (void)pq_c_number(p->lo, lo);
    (void)pq_c_number(p->hi, hi);
    pq_text_add(out, "%s = %s < %s ? %s : %s > %s ? %s : %s;", v, v, lo, lo, v, hi, hi,
                v);
}

static void clip_vector(const pq_layer *layer, const char *v, pq_text *out)
{
    const pq_clip_params *p = layer->params;
    char                  lo[PQ_C_NUMBER], hi[PQ_C_NUMBER];

    (void)pq_c_number(p->lo, lo);
    (void)pq_c_number(p->hi, hi);
    pq_text_add(out, "CLIP(%s, %s, %s)", v, lo, hi);
}

static void scale(const pq_layer *layer, const char *v, pq_text *out)
{
    const pq_scale_params *p = layer->params;
    char                   factor[PQ_C_NUMBER];

    pq_text_add(out, "%s = %s * %s;", v, v, pq_c_number(p->factor, factor));
}

static void scale_vector(const pq_layer *layer, const char *v, pq_text *out)
{
    const pq_scale_params *p = layer->params;
    char                   factor[PQ_C_NUMBER];

    pq_text_add(out, "SCALE(%s, %s)", v, pq_c_number(p->factor, factor));
}

/* A NaN stays one. */
static void sign(const pq_layer *layer, const char *v, pq_text *out)
{
    const pq_sign_params *p = layer->params;
    char                  zero[PQ_C_NUMBER], threshold[PQ_C_NUMBER];

    (void)pq_c_number(p->zero, zero);
    (void)pq_c_number(p->threshold, threshold);
    pq_text_add(
        out,
        "%s = %s > -%s && %s < %s ? 0.0f : %s > 0.0f ? 1.0f : %s < 0.0f ? -1.0f : "
        "%s == 0.0f ? %s : %s;",
        v, v, threshold, v, threshold, v, v, v, zero, v);
}

static void elu(const pq_layer *layer, const char *v, pq_text *out)
{
    const pq_elu_params *p = layer->params;
    char                 alpha[PQ_C_NUMBER];

    pq_text_add(out, "%s = %s > 0.0f ? %s : %s * expm1f(%s);", v, v, v,
                pq_c_number(p->alpha, alpha), v);
}

static void gelu(const pq_layer *layer, const char *v, pq_text *out)
{
    const pq_gelu_params *p = layer->params;

    if (p->form == PQ_GELU_EXACT) {
        pq_text_add(out, "%s = 0.5f * %s * erfcf(%s * %af);", v, v, v,
                    (double)(float)-M_SQRT1_2);
    } else {
        pq_text_add(
            out, "%s = 0.5f * %s * (1.0f + tanhf(%af * (%s + %af * %s * %s * %s)));", v,
            v, (double)(float)(M_2_SQRTPI * M_SQRT1_2), v, (double)0.044715f, v, v, v);
    }
}

static void sigmoid(const pq_layer *layer, const char *v, pq_text *out)
{
    (void)layer;
    pq_text_add(out, "%s = 1.0f / (1.0f + expf(-%s));", v, v);
}

static void tangent(const pq_layer *layer, const char *v, pq_text *out)
{
    (void)layer;
    pq_text_add(out, "%s = tanhf(%s);", v, v);
}

static void softplus(const pq_layer *layer, const char *v, pq_text *out)
{
    (void)layer;
    pq_text_add(out, "%s = (%s < 0.0f ? 0.0f : %s) + log1pf(expf(-fabsf(%s)));", v, v, v,
                v);
}

static const struct {
    const char    *kind;
    write_function one, vector; /* vector NULL: one by one only */
} functions[] = {
    {"relu", relu, relu_vector}, {"leaky_relu", leaky_relu, leaky_relu_vector},
    {"clip", clip, clip_vector}, {"scale", scale, scale_vector},
    {"elu", elu, NULL},          {"gelu", gelu, NULL},
    {"sigmoid", sigmoid, NULL},  {"tanh", tangent, NULL},
    {"sign", sign, NULL},        {"softplus", softplus, NULL},
};

static size_t find(const pq_layer *layer)
{
    size_t i = 0;

    while (i < sizeof functions / sizeof *functions &&
           strcmp(functions[i].kind, layer->kind->name) != 0) {
        i++;
    }
    return i;
}

bool pq_emit_is_function(const pq_layer *layer)
{
    return find(layer) < sizeof functions / sizeof *functions;
}

bool pq_emit_vectors(const pq_emitter *e, const pq_emit_step *s, size_t from)
{
    bool all = true;

    while (from != s->last) {
        from = pq_emit_next(e, from);
        all  = all && functions[find(e->graph->nodes[from].layer)].vector != NULL;
    }
    return all;
}

void pq_emit_functions(pq_emitter *e, const pq_emit_step *s, size_t from, const char *v,
                       bool vector)
{
    while (from != s->last) {
        from                  = pq_emit_next(e, from);
        const pq_layer *layer = e->graph->nodes[from].layer;
        pq_text_add(&e->body, " ");
        (vector ? functions[find(layer)].vector : functions[find(layer)].one)(layer, v,
                                                                              &e->body);
    }
}

void pq_emit_functions_over(pq_emitter *e, const pq_emit_step *s, size_t from,
                            const char *place, size_t n)
{
    if (from != s->last) {
        pq_text_add(&e->body, "    for (int i = 0; i < %zu; i++) {\n", n);
        pq_text_add(&e->body, "        float v = (%s)[i];", place);
        pq_emit_functions(e, s, from, "v", false);
        pq_text_add(&e->body, "\n        (%s)[i] = v;\n    }\n", place);
    }
}

pq_status pq_emit_values(pq_emitter *e, const pq_emit_step *s, pq_err *err)
{
    const pq_layer *layer = e->graph->nodes[s->node].layer;

    (void)err;
    pq_text_add(&e->body,
                "    for (int i = 0; i < %zu; i++) {\n        float v = (%s)[i]; ",
                pq_emit_items(e, s->node), pq_emit_input(e, s, 0));
    functions[find(layer)].one(layer, "v", &e->body);
    pq_emit_functions(e, s, s->node, "v", false);
    pq_text_add(&e->body, "\n        (%s)[i] = v;\n    }\n", e->place[s->last]);
    return PQ_OK;
}
