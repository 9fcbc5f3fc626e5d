/*
 * Every kind of compressed network is saved, loaded and run: the same bits. Prints a line
 * for each family of grids: how many were saved, loaded, and gave equal bits.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "compress/wiring.h"
#include "formats/model.h"
#include "nets.h"

static const char *const masks[] = {"none", "pruned", "pruned and rounded to 0"};

enum { MASKS = 3, RUNS = 3, EVENTS = 5 };

typedef struct {
    const char *family;
    size_t      saved, loaded, equal;
} line;

static void report(const line *l)
{
    printf("# %-44s %5zu saved %5zu loaded %5zu equal bits\n", l->family, l->saved,
           l->loaded, l->equal);
    (void)fflush(stdout);
    cr_expect_eq(l->saved, l->loaded);
    cr_expect_eq(l->saved, l->equal);
    cr_expect_gt(l->saved, 0);
}

/* 5 x 4 x 3: a convolution, a depthwise one, cores, dense layers; one row all 0. */
static pq_graph *make(int mask)
{
    pq_rng    rng = pq_rng_stream(17, "round trip");
    pq_graph *g   = NULL;
    pq_layer *l;

    OK(pq_graph_create(&g, &err));
    net_input(g, "5, 4, 3");
    net_add(g, "conv", net_kernel(&rng, PQ_SHAPE(6, 2, 2, 3), true), "in");
    net_plain(g, "relu", "relu", "conv");
    l = net_kernel(&rng, PQ_SHAPE(6, 2, 1, 1), true);
    OK(pq_layer_set(l, "groups", "6", &err));
    net_add(g, "depth", l, "relu");
    net_plain(g, "flatten", "flat", "depth");
    l = net_layer("tt_dense");
    OK(pq_layer_add_weight(l, "core1", net_tensor(&rng, PQ_SHAPE(1, 3, 6, 2), 0.5),
                           &err));
    OK(pq_layer_add_weight(l, "core2", net_tensor(&rng, PQ_SHAPE(2, 3, 9, 1), 0.5),
                           &err));
    net_add(g, "cores", l, "flat");
    net_add(g, "dense", net_kernel(&rng, PQ_SHAPE(7, 9), false), "cores");
    net_add(g, "out", net_kernel(&rng, PQ_SHAPE(3, 7), true), "dense");
    for (size_t i = 0; i < 9; i++) {
        pq_f32(pq_layer_weight(net_node(g, "dense")->layer, "kernel")->value)[i] = 0.0f;
    }
    for (size_t n = 0; mask > 0 && n < g->n_nodes; n++) {
        pq_weight *w = pq_node_kernel(&g->nodes[n]);
        for (size_t i = 0; w != NULL && i < w->value->count; i++) {
            pq_f32(w->value)[i] *= i % 3 == 0 ? 0.0f : 1.0f;
        }
        if (w != NULL) {
            OK(pq_weight_prune_zeros(w, &err));
            w->pruned[0] &= mask == 2 ? 0xF8 : 0xFF;
        }
    }
    OK(pq_graph_check(g, &err));
    return g;
}

static bool same_weight(const pq_weight *a, const pq_weight *b)
{
    bool same = a->value->count == b->value->count &&
                (a->pruned == NULL) == (b->pruned == NULL) &&
                pq_weight_stored_bytes(a) == pq_weight_stored_bytes(b);

    for (size_t i = 0; same && i < a->value->count; i++) { /* -0 is saved as 0 */
        same =
            pq_f32(a->value)[i] == pq_f32(b->value)[i] &&
            (a->pruned == NULL || pq_weight_is_pruned(a, i) == pq_weight_is_pruned(b, i));
    }
    return same;
}

static float *run(const pq_graph *g, const char *engine, size_t *bytes)
{
    const pq_plan_options options = {.engine = engine, .batch = EVENTS};
    pq_rng                rng     = pq_rng_stream(5, "events");
    float                *x       = pq_calloc(EVENTS * 60, sizeof *x), *y;
    pq_plan              *plan    = NULL;

    *bytes = EVENTS * 3 * sizeof *y;
    y      = pq_calloc(EVENTS * 3, sizeof *y);
    for (size_t i = 0; i < EVENTS * 60; i++) {
        x[i] = (float)pq_rng_normal(&rng);
    }
    OK(pq_plan_create(g, &options, &plan, &err));
    OK(pq_plan_run(plan, EVENTS, (const float *[]){x}, y, &err));
    pq_plan_free(&plan);
    pq_free(x);
    return y;
}

static bool same(const pq_graph *a, const pq_graph *b)
{
    static const char *const engines[RUNS] = {"reference", "float32", "integer"};
    char                     of_a[65], of_b[65];
    bool                     equal;

    OK(pq_graph_hash(a, of_a, &err));
    OK(pq_graph_hash(b, of_b, &err));
    equal = strcmp(of_a, of_b) == 0;
    for (size_t n = 0; n < a->n_nodes; n++) {
        for (size_t w = 0; w < a->nodes[n].layer->n_weights; w++) {
            equal = equal && same_weight(&a->nodes[n].layer->weights[w],
                                         &b->nodes[n].layer->weights[w]);
        }
    }
    for (size_t e = 0; equal && e < RUNS; e++) {
        size_t bytes = 0;
        float *y = run(a, engines[e], &bytes), *z = run(b, engines[e], &bytes);
        equal = memcmp(y, z, bytes) == 0;
        pq_free(y);
        pq_free(z);
    }
    return equal;
}

/* Saves, loads and compares what a stage makes of each of the networks. */
static void trip(const char *text, line *l)
{
    char path[64];

    (void)snprintf(path, sizeof path, "/tmp/pquant-trip-%d.h5", (int)getpid());
    for (int m = 0; m < MASKS; m++) {
        pq_graph        *g = make(m), *out = NULL, *back = NULL;
        pq_calib        *calib   = net_calibrate(g, 16);
        pq_apply_options options = {.calib = calib};
        pq_err           err     = {0};

        out = net_apply(text, g, &options, NULL, NULL);
        cr_expect_eq(pq_model_save(out, path, &err), PQ_OK, "%s, mask %s: %s", text,
                     masks[m], err.message);
        l->saved++;
        if (pq_model_load(path, NULL, &back, &err) == PQ_OK) {
            l->loaded++;
            const bool equal = same(out, back);
            l->equal += equal;
            cr_expect(equal, "%s, mask %s: other bits", text, masks[m]);
        }
        (void)unlink(path);
        pq_graph_free(&g);
        pq_graph_free(&out);
        pq_graph_free(&back);
        pq_calib_free(&calib);
    }
}

Test(round_trip, integers)
{
    static const char *const places[] = {"per_tensor", "per_channel", "per_group",
                                         "per_group,group=5"};
    static const char *const ranges[] = {"symmetric=true,range=restricted",
                                         "symmetric=true,range=full", "symmetric=false"};
    char                     text[160], family[160];

    for (size_t p = 0; p < 4; p++) {
        for (size_t r = 0; r < 3; r++) {
            line l = {family, 0, 0, 0};
            (void)snprintf(family, sizeof family, "int %s %s, 2..16 bits", places[p],
                           ranges[r]);
            for (int bits = 2; bits <= 16; bits++) {
                (void)snprintf(text, sizeof text,
                               "quantize:bits=%d,granularity=%s,%s,weight_range=%s,"
                               "activation_symmetric=%s",
                               bits, places[p], ranges[r],
                               bits % 2 == 0 ? "mse" : "minmax",
                               bits % 3 == 0 ? "true" : "false");
                trip(text, &l);
            }
            report(&l);
        }
    }
}

Test(round_trip, fixed_point)
{
    static const char *const places[] = {"per_tensor", "per_channel", "per_weight"};
    static const int         bits[]   = {2, 3, 5, 8, 11, 16};
    char                     text[160], family[160];

    for (size_t p = 0; p < 3; p++) {
        for (size_t o = 0; pq_overflow_names[o] != NULL; o++) {
            line l = {family, 0, 0, 0};
            (void)snprintf(family, sizeof family, "fixed %s %s, all roundings", places[p],
                           pq_overflow_names[o]);
            for (size_t r = 0; pq_rounding_names[r] != NULL; r++) {
                for (size_t b = 0; b < sizeof bits / sizeof *bits; b++) {
                    (void)snprintf(text, sizeof text,
                                   "quantize:format=fixed,granularity=%s,overflow=%s,"
                                   "rounding=%s,bits=%d%s",
                                   places[p], pq_overflow_names[o], pq_rounding_names[r],
                                   bits[b], b % 3 == 1 ? ",integer_bits=-1" : "");
                    trip(text, &l);
                }
            }
            report(&l);
        }
    }
}

Test(round_trip, floats_and_nf4)
{
    static const char *const stages[] = {
        "float16",
        "bfloat16",
        "nf4,granularity=per_tensor",
        "nf4,granularity=per_channel",
        "nf4,granularity=per_group",
        "nf4,granularity=per_group,group=3",
        "nf4,granularity=per_group,double_scales=true",
        "nf4,granularity=per_group,group=1,double_scales=true"};
    char text[160];

    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        line l = {stages[i], 0, 0, 0};
        (void)snprintf(text, sizeof text, "quantize:format=%s", stages[i]);
        trip(text, &l);
        report(&l);
    }
}
