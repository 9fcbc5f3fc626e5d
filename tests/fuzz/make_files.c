/* Files as the program writes them: what seeds are packed from. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../layers/cases.h"
#include "compress/method.h"
#include "core/file.h"
#include "core/memory.h"
#include "core/rng.h"
#include "formats/model.h"
#include "formats/zoo.h"
#include "io/hdf5_inside.h"
#include "io/hdf5_wire.h"
#include "lab/compress.h"
#include "store/record.h"
#include "store/shelf.h"
#include "targets.h"

/* Saves a graph as <folder>/<name>.h5, in every other format that has its layers as
 * <folder>/<name>.<format>, and frees it. */
static pq_status save(pq_graph **g, const char *folder, const char *name, pq_err *err)
{
    char     *path = pq_format("%s/%s.h5", folder, name);
    pq_status st;

    PQ_TRY(pq_graph_check(*g, err));
    PQ_TRY(pq_model_save(*g, path, err));
    for (size_t i = 1; pq_formats[i] != NULL; i++) {
        pq_err lacks = {0};
        if (pq_formats[i]->save != NULL) {
            pq_free(path);
            path = pq_format("%s/%s.%s", folder, name, pq_formats[i]->name);
            st   = pq_formats[i]->save(*g, path, &lacks);
            PQ_CHECK(st == PQ_OK || st == PQ_ERR_UNSUPPORTED, st, "%s", lacks.message);
        }
    }
    st = PQ_OK;
cleanup:
    pq_free(path);
    pq_graph_free(g);
    return st;
}

/* "a=1; b=2" */
static pq_status set_all(pq_layer *layer, const char *attributes, pq_err *err)
{
    char      copy[256], *state = NULL;
    pq_status st = PQ_OK;

    (void)snprintf(copy, sizeof copy, "%s", attributes);
    for (char *item = strtok_r(copy, "; ", &state); item != NULL;
         item       = strtok_r(NULL, "; ", &state)) {
        char *value = strchr(item, '=');
        *value      = '\0';
        PQ_TRY(pq_layer_set(layer, item, value + 1, err));
    }
cleanup:
    return st;
}

static pq_status add_input(pq_graph *g, const char *name, const pq_shape *shape,
                           pq_err *err)
{
    pq_layer *layer = NULL;
    char      text[128];
    pq_status st;

    PQ_TRY(pq_layer_create("input", &layer, err));
    PQ_TRY(pq_layer_set(layer, "shape", pq_shape_text(shape, text, sizeof text), err));
    PQ_TRY(pq_graph_add(g, name, layer, 0, NULL, err));
cleanup:
    return st;
}

static pq_status make_kind(const layer_case *c, size_t number, const char *folder,
                           pq_err *err)
{
    static const char *const names[] = {"a", "b", "c", "d"};
    pq_graph                *g       = NULL;
    pq_layer                *layer   = NULL;
    pq_rng                   rng     = pq_rng_stream(number, "kind");
    char                     name[64];
    pq_status                st;

    PQ_TRY(pq_graph_create(&g, err));
    for (size_t k = 0; k < c->n_in; k++) {
        PQ_TRY(add_input(g, names[k], &c->in[k], err));
    }
    PQ_TRY(pq_layer_create(c->kind, &layer, err));
    PQ_TRY(set_all(layer, c->attributes, err));
    for (size_t k = 0; k < RUN_MAX && c->weights[k].name != NULL; k++) {
        pq_tensor *t = NULL;
        PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, c->weights[k].shape, &t, err));
        for (size_t i = 0; i < t->count; i++) {
            pq_f32(t)[i] = 0.1F + 0.3F * (float)fabs(pq_rng_normal(&rng));
        }
        PQ_TRY(pq_layer_add_weight(layer, c->weights[k].name, t, err));
    }
    PQ_TRY(pq_graph_add(g, "layer", layer, c->n_in, names, err));
    (void)snprintf(name, sizeof name, "kind_%zu_%s", number, c->kind);
    PQ_TRY(save(&g, folder, name, err));
cleanup:
    pq_graph_free(&g);
    return st;
}

/* in [6] - fc1 [8] - relu - fc2 [3]. */
static pq_status bare_net(pq_graph **out, pq_err *err)
{
    pq_graph *g = NULL;
    pq_status st;

    PQ_TRY(pq_graph_create(&g, err));
    PQ_TRY(add_input(g, "in", &PQ_SHAPE(6), err));
    for (size_t i = 0; i < 3; i++) {
        static const char *const names[] = {"fc1", "relu", "fc2"}, *const inputs[] = {
                                                                       "in", "fc1",
                                                                       "relu"};
        pq_layer  *layer = NULL;
        pq_tensor *t     = NULL;
        PQ_TRY(pq_layer_create(i == 1 ? "relu" : "dense", &layer, err));
        if (i != 1) {
            PQ_TRY(pq_tensor_create(PQ_DTYPE_F32,
                                    i == 0 ? PQ_SHAPE(8, 6) : PQ_SHAPE(3, 8), &t, err));
            PQ_TRY(pq_layer_add_weight(layer, "kernel", t, err));
        }
        PQ_TRY(pq_graph_add(g, names[i], layer, 1, &inputs[i], err));
    }
    PQ_TRY(pq_graph_check(g, err));
    pq_graph_init_weights(g, PQ_INIT_HE, 1);
    *out = g;
    g    = NULL;
cleanup:
    pq_graph_free(&g);
    return st;
}

/* The same with names of classes and a scaler. */
static pq_status small_net(pq_graph **out, pq_err *err)
{
    static const char *const classes[] = {"b", "c", "light"};
    pq_graph                *g         = NULL;
    pq_status                st;

    PQ_TRY(bare_net(&g, err));
    PQ_NEW(g->class_names, 3);
    for (g->n_classes = 0; g->n_classes < 3; g->n_classes++) {
        PQ_STRDUP(g->class_names[g->n_classes], classes[g->n_classes]);
    }
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(6), &g->scaler_mean, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(6), &g->scaler_std, err));
    for (size_t i = 0; i < 6; i++) {
        pq_f32(g->scaler_std)[i] = 1.0F + (float)i;
    }
    *out = g;
    g    = NULL;
cleanup:
    pq_graph_free(&g);
    return st;
}

/* What methods leave behind. */
static const char *const stages[] = {
    "quantize:bits=8, activations=false",
    "quantize:bits=4, activations=false, granularity=per_tensor, symmetric=false",
    "quantize:bits=3, activations=false, granularity=per_group, group=4",
    "quantize:format=fixed, bits=6, activations=false, granularity=per_weight",
    "quantize:format=nf4, activations=false, granularity=per_group, group=4",
    ("quantize:format=nf4, activations=false, granularity=per_group, group=4, "
     "double_scales=true"),
    "prune:target_sparsity=0.6",
    "prune:target_sparsity=0.95, scope=per_layer",
    "prune:N=1, M=8",
    "prune:target_sparsity=0.5, block=[4, 4], scope=per_layer",
    "svd:rank=2",
    "tensor_train:rank=2",
    "lora:rank=2",
    "lora:rank=2, base=nf4, init=loftq, group=4",
};

static pq_status make_staged(size_t number, const char *folder, pq_err *err)
{
    pq_graph                 *g = NULL, *out = NULL;
    const pq_compress_options options = {0};
    char                      name[32];
    pq_status                 st;

    PQ_TRY(small_net(&g, err));
    PQ_TRY(pq_compress_methods(&stages[number], 1, g, &options, NULL, NULL, &out, err));
    (void)snprintf(name, sizeof name, "stage_%zu", number);
    PQ_TRY(save(&out, folder, name, err));
cleanup:
    if (st != PQ_OK) {
        pq_err_context(err, "%s", stages[number]);
    }
    pq_graph_free(&g);
    pq_graph_free(&out);
    return st;
}

/* A quantizer of a scheme on the first kernel: per tensor, per axis, in groups, per item.
 */
static pq_status make_quantizer(pq_quant_scheme scheme, const pq_weight *w, int how,
                                pq_quant **out, pq_err *err)
{
    const int    axis = how == 0 ? PQ_QUANT_PER_TENSOR : how == 1 ? 0 : PQ_QUANT_PER_ITEM;
    const size_t n    = how == 0 ? 1 : how == 1 ? 8 : w->value->count;
    pq_status    st;

    if (scheme == PQ_QUANT_FIXED) {
        PQ_TRY(pq_quant_create_fixed(true, PQ_OVERFLOW_SAT, PQ_ROUND_RND_CONV, axis, n,
                                     out, err));
        for (size_t i = 0; i < n; i++) {
            PQ_TRY(pq_quant_set_fixed(*out, i, 1, (int)(i % 5), err));
        }
        return PQ_OK;
    }
    if (scheme == PQ_QUANT_FLOAT16 || scheme == PQ_QUANT_BFLOAT16) {
        return pq_quant_create(scheme, 16, true, false, PQ_QUANT_PER_TENSOR, 0, out, err);
    }
    if (how == 2 || scheme == PQ_QUANT_NF4) {
        PQ_TRY(pq_quant_create_grouped(scheme, 4, &w->value->shape, 4, out, err));
    } else {
        PQ_TRY(pq_quant_create(scheme, 5, true, how == 1, axis, n, out, err));
    }
    for (size_t i = 0; i < (*out)->n; i++) {
        (*out)->scale[i] = 0.25F;
    }
cleanup:
    return st;
}

static pq_status make_scheme(pq_quant_scheme scheme, int how, bool pruned,
                             const char *folder, pq_err *err)
{
    pq_graph  *g = NULL;
    pq_weight *w;
    char       name[64];
    pq_status  st;

    PQ_TRY(small_net(&g, err));
    w = pq_layer_weight(g->nodes[1].layer, "kernel");
    PQ_TRY(make_quantizer(scheme, w, how, &w->quant, err));
    if (pruned) {
        for (size_t i = 0; i < w->value->count; i++) {
            pq_f32(w->value)[i] *= i % 3 == 0 ? 1.0F : 0.0F;
        }
        PQ_TRY(pq_weight_prune_zeros(w, err));
        w->pruned[1] &= 0x5A; /* what else is zero was rounded to it */
    }
    PQ_TRY(pq_quant_apply(w->quant, w->value, err));
    if (scheme != PQ_QUANT_NF4 && how == 0) { /* on values between layers too */
        PQ_TRY(make_quantizer(scheme, w, 0, &g->nodes[2].quant, err));
    }
    (void)snprintf(name, sizeof name, "scheme_%s_%d%s", pq_quant_scheme_names[scheme],
                   how, pruned ? "_pruned" : "");
    PQ_TRY(save(&g, folder, name, err));
cleanup:
    pq_graph_free(&g);
    return st;
}

static pq_status make_schemes(const char *folder, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t s = 0; pq_quant_scheme_names[s] != NULL; s++) {
        for (int how = 0; how < 3; how++) {
            PQ_TRY(make_scheme((pq_quant_scheme)s, how, false, folder, err));
            PQ_TRY(make_scheme((pq_quant_scheme)s, how, true, folder, err));
        }
    }
cleanup:
    return st;
}

/* With a network aside, and notes of what was done. */
static pq_status make_with_aside(const char *folder, pq_err *err)
{
    pq_graph *g = NULL;
    pq_status st;

    PQ_TRY(small_net(&g, err));
    PQ_TRY(bare_net(&g->aside, err));
    PQ_TRY(
        pq_graph_note(g, json_pack("{s:s, s:[i, i]}", "method", "test", "x", 1, 2), err));
    PQ_TRY(save(&g, folder, "aside", err));
cleanup:
    pq_graph_free(&g);
    return st;
}

static pq_status make_kept(const char *folder, pq_err *err)
{
    static const char adam[] = "", sgd[] = "\n@@ O\toptimizer\tsgd\n";
    const char       *inputs[] = {adam, sgd};
    pq_status         st;

    for (size_t i = 0; i < 2; i++) {
        const fuzz_input in   = {folder, folder, (const uint8_t *)inputs[i],
                                 strlen(inputs[i])};
        char            *path = pq_format("%s/checkpoint_%zu", folder, i);
        st                    = fuzz_make_checkpoint(&in, path, err);
        pq_free(path);
        PQ_TRY(st);
    }
    PQ_TRY(fuzz_make_entry(folder, err));
cleanup:
    return st;
}

/* What a child tells of a file, as it comes out of its socket. */
static pq_status make_told(const char *folder, const char *file, pq_err *err)
{
    char      *path  = pq_format("%s/models/%s.h5", folder, file);
    char      *out   = pq_format("%s/told_%s", folder, file);
    uint8_t   *bytes = NULL;
    pq_h5_head head;
    int        ends[2];
    pid_t      child;
    pq_status  st;

    PQ_CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 && (child = fork()) >= 0,
             PQ_ERR_IO, "no child");
    if (child == 0) {
        static char      values[PQ_H5_ROOM_BYTES];
        const pq_h5_room room = {values, sizeof values};
        pq_h5_serve(path, pq_file_bytes(path), ends[1], room);
    }
    (void)close(ends[1]);
    PQ_CHECK(pq_h5_read_bytes(ends[0], &head, sizeof head, 10) && head.n < 1 << 20,
             PQ_ERR_IO, "nothing is told of %s", path);
    PQ_NEW(bytes, sizeof head + head.n);
    memcpy(bytes, &head, sizeof head);
    PQ_CHECK(pq_h5_read_bytes(ends[0], bytes + sizeof head, head.n, 10), PQ_ERR_IO,
             "nothing is told of %s", path);
    PQ_TRY(pq_file_write(out, bytes, sizeof head + head.n, err));
cleanup:
    (void)close(ends[0]);
    pq_free(bytes);
    pq_free(path);
    pq_free(out);
    return st;
}

/* The index of a folder with one record, which has to lie still for a while before. */
static pq_status make_index(const char *folder, pq_err *err)
{
    char      key[65];
    char     *results = pq_path_join(folder, "r");
    json_t   *record = NULL, *read = NULL;
    pq_shelf *shelf = NULL;
    pq_status st;

    memset(key, 'a', sizeof key - 1);
    key[64] = '\0';
    record =
        json_pack("{s:s, s:s, s:s, s:s, s:{}, s:[i, f, b, n, s], s:{s:{s:f}}}", "schema",
                  PQ_RECORD_SCHEMA, "key", key, "phase", "eval", "status", "ok", "axes",
                  "list", 1, 0.5, 1, "text", "metrics", "accuracy", "value", 0.5);
    PQ_TRY(pq_record_write(results, record, err));
    (void)sleep(3);
    PQ_TRY(pq_shelf_open(results, &shelf, err));
    PQ_TRY(pq_shelf_read(shelf, key, &read, err));
    PQ_TRY(pq_shelf_save(shelf, err));
cleanup:
    pq_shelf_close(&shelf);
    json_decref(record);
    pq_free(results);
    return st;
}

pq_status fuzz_make_files(const char *folder, pq_err *err)
{
    char     *models = pq_path_join(folder, "models");
    pq_status st;

    PQ_TRY(pq_folder_make(models, err));
    for (size_t i = 0; i < N_LAYER_CASES; i++) {
        PQ_TRY(make_kind(&layer_cases[i], i, models, err));
    }
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        PQ_TRY(make_staged(i, models, err));
    }
    PQ_TRY(make_schemes(models, err));
    PQ_TRY(make_with_aside(models, err));
    PQ_TRY(make_kept(folder, err));
    PQ_TRY(make_index(folder, err));
    PQ_TRY(make_told(folder, "aside", err));
    PQ_TRY(make_told(folder, "scheme_fixed_2", err));
cleanup:
    pq_free(models);
    return st;
}
