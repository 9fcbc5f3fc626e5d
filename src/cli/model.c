/* pquant model info|eval: what a model is, and how well it does on a dataset. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "cli/verb.h"
#include "core/file.h"
#include "core/memory.h"
#include "core/threads.h"
#include "exec/engine.h"
#include "exec/integer.h"
#include "exec/rescale.h"
#include "formats/model.h"
#include "io/hdf5.h"
#include "lab/evaluate.h"
#include "store/json.h"
#include "train/train.h"

static const pq_count_rule all_values = {true, true, true};

static const pq_option info_options[] = {
    {"arch", 0, "FILE", false, NULL, "architecture beside weights-only files"},
    PQ_OUTPUT_LAYER_OPTION,
    PQ_HEAD_OPTION,
    {"format", 0, "table|json", false, "table", "how to print"},
    {0},
};

/* One row of the layer table as JSON. */
static json_t *layer_json(const pq_graph *graph, size_t i)
{
    const pq_node *node  = &graph->nodes[i];
    json_t        *shape = json_array();
    pq_shape       in[PQ_NODE_INPUTS];
    size_t         values = 0, bytes = 0;
    uint64_t       macs     = 0;
    char           way[160] = "";

    for (size_t d = 0; d < node->shape.ndim; d++) {
        (void)json_array_append_new(shape, json_integer((json_int_t)node->shape.dim[d]));
    }
    for (size_t k = 0; k < node->n_inputs; k++) {
        in[k] = graph->nodes[node->inputs[k]].shape;
    }
    for (size_t w = 0; w < node->layer->n_weights; w++) {
        values += node->layer->weights[w].value->count;
        bytes += pq_weight_stored_bytes(&node->layer->weights[w]);
    }
    if (node->layer->kind->macs != NULL) {
        macs = node->layer->kind->macs(node->layer, node->n_inputs, in, &node->shape);
    }
    (void)pq_integer_describe(graph, i, way, sizeof way, NULL);
    return json_pack("{s:s, s:s, s:o, s:I, s:I, s:I, s:s, s:s, s:s}", "name", node->name,
                     "kind", node->layer->kind->name, "output", shape, "parameters",
                     (json_int_t)values, "stored_bytes", (json_int_t)bytes, "macs",
                     (json_int_t)macs, "integer", way, "float32",
                     pq_float_kernel(node->layer), "training",
                     pq_train_kernel(node->layer));
}

static json_t *info_json(const pq_graph *graph, const char *path)
{
    json_t *layers  = json_array();
    json_t *classes = json_array();
    size_t  nonzero = 0;
    size_t  values  = pq_graph_parameters(graph, all_values, &nonzero);
    size_t trained = pq_graph_parameters(graph, (pq_count_rule){true, true, false}, NULL);

    for (size_t i = 0; i < graph->n_nodes; i++) {
        (void)json_array_append_new(layers, layer_json(graph, i));
    }
    for (size_t c = 0; c < graph->n_classes; c++) {
        (void)json_array_append_new(classes, json_string(graph->class_names[c]));
    }
    return json_pack("{s:o, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:O}", "model",
                     pq_json_shown(path), "head", pq_head_name(pq_graph_head(graph)),
                     "parameters", (json_int_t)values, "trainable", (json_int_t)trained,
                     "nonzero", (json_int_t)nonzero, "stored_bytes",
                     (json_int_t)pq_graph_stored_bytes(graph), "file_bytes",
                     (json_int_t)pq_file_bytes(path), "macs",
                     (json_int_t)pq_graph_macs(graph), "classes", classes, "layers",
                     layers, "provenance", graph->provenance);
}

static json_t *features_json(const pq_graph *graph)
{
    json_t *names = json_array();

    for (size_t i = 0; i < graph->n_features; i++) {
        (void)json_array_append_new(names, json_string(graph->feature_names[i]));
    }
    return names;
}

static bool is_quantized(const pq_graph *graph)
{
    for (size_t i = 0; i < graph->n_nodes; i++) {
        if (graph->nodes[i].quant != NULL) {
            return true;
        }
    }
    return false;
}

/* How the integer engine computes each layer of a model with quantized activations. */
static void integer_table(const pq_graph *graph)
{
    char way[160];

    pq_say(stdout, "\nin whole numbers:\n");
    for (size_t i = 0; i < graph->n_nodes; i++) {
        if (pq_integer_describe(graph, i, way, sizeof way, NULL) == PQ_OK &&
            way[0] != '\0') {
            pq_say(stdout, "%-24s %s\n", graph->nodes[i].name, way);
        }
    }
}

/* What computes each layer where nothing is in whole numbers. */
static void kernels_table(const pq_graph *graph)
{
    pq_say(stdout, "\nin float32: predicted by, trained by\n");
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const pq_layer *layer = graph->nodes[i].layer;
        if (pq_train_kernel(layer)[0] != '\0') {
            pq_say(stdout, "%-24s %-24s %s\n", graph->nodes[i].name,
                   pq_float_kernel(layer), pq_train_kernel(layer));
        }
    }
}

static void info_table(const pq_graph *graph, const char *path)
{
    char    a[32], b[32], shape[128];
    pq_text inputs  = {0};
    size_t  nonzero = 0;
    json_t *layer;

    pq_say(stdout, "%s\n\n%-24s %-16s %-18s %12s %10s %14s\n", path, "layer", "kind",
           "output", "parameters", "bytes", "MACs");
    for (size_t i = 0; i < graph->n_nodes; i++) {
        layer = layer_json(graph, i);
        pq_say(stdout, "%-24s %-16s %-18s %12lld %10lld %14lld\n", graph->nodes[i].name,
               graph->nodes[i].layer->kind->name,
               pq_shape_text(&graph->nodes[i].shape, shape, sizeof shape),
               (long long)json_integer_value(json_object_get(layer, "parameters")),
               (long long)json_integer_value(json_object_get(layer, "stored_bytes")),
               (long long)json_integer_value(json_object_get(layer, "macs")));
        json_decref(layer);
    }
    pq_say(stdout, "\nparameters %zu", pq_graph_parameters(graph, all_values, &nonzero));
    pq_say(stdout, " (%zu not zero), stored %s, file %s, %llu MACs a sample\n", nonzero,
           pq_bytes_text((double)pq_graph_stored_bytes(graph), a, sizeof a),
           pq_bytes_text((double)pq_file_bytes(path), b, sizeof b),
           (unsigned long long)pq_graph_macs(graph));
    pq_scaler_describe(graph, &inputs);
    pq_say(stdout, "inputs: %s\n", inputs.text != NULL ? inputs.text : "");
    pq_text_free(&inputs);
    pq_say(stdout, "head %s: %s\n", pq_head_name(pq_graph_head(graph)),
           pq_head_meaning(pq_graph_head(graph), pq_graph_width(graph)));
    for (size_t c = 0; c < graph->n_classes; c++) {
        pq_say(stdout, c + 1 == graph->n_classes ? "%s%s\n" : "%s%s",
               c == 0 ? "classes " : ",", graph->class_names[c]);
    }
    for (size_t i = 0; i < graph->n_features; i++) {
        pq_say(stdout, i + 1 == graph->n_features ? "%s%s\n" : "%s%s",
               i == 0 ? "features " : ",", graph->feature_names[i]);
    }
    for (size_t s = 0; s < json_array_size(graph->provenance); s++) {
        char *text = json_dumps(json_array_get(graph->provenance, s), JSON_COMPACT);
        pq_say(stdout, "step %zu: %s\n", s + 1, text != NULL ? text : "");
        free(text);
    }
    kernels_table(graph);
    if (is_quantized(graph)) {
        integer_table(graph);
    }
}

static pq_status info(const pq_args *args, int *exit_code, pq_err *err)
{
    pq_graph   *graph = NULL;
    const char *path  = pq_args_get(args, 0), *format;
    json_t     *json  = NULL;
    pq_status   st;

    (void)exit_code;
    PQ_TRY(pq_args_format(args, "table json", &format, err));
    PQ_TRY(pq_args_model(args, 0, &graph, err));
    PQ_TRY(pq_args_head(args, graph, err));
    if (strcmp(format, "json") == 0) {
        json = info_json(graph, path);
        PQ_CHECK(json_object_set_new(json, "features", features_json(graph)) == 0,
                 PQ_ERR_NOMEM, "cannot print the model as JSON");
        PQ_CHECK(pq_say_json(json), PQ_ERR_NOMEM, "cannot print the model as JSON");
    } else {
        info_table(graph, path);
    }
cleanup:
    json_decref(json);
    pq_graph_free(&graph);
    return st;
}

const pq_verb pq_verb_model_info = {
    .name      = "model info",
    .summary   = "layers, shapes, parameters, bytes and operations of a model",
    .arguments = "MODEL",
    .min_args  = 1,
    .max_args  = 1,
    .options   = info_options,
    .example   = "pquant model info datasets/models/jsc-mlp.weights.h5 --arch "
                 "datasets/models/jsc-mlp.json",
    .run       = info,
};

static const pq_option eval_options[] = {
    {"data", 0, "FILE[:SPLIT]", false, NULL,
     "dataset file or folder, and which split of it"},
    {"arch", 0, "FILE", false, NULL, "architecture beside weights-only files"},
    PQ_OUTPUT_LAYER_OPTION,
    {"classes", 0, "A,B,…", false, NULL,
     "the model's output order, where its file does not say; of one output the two "
     "classes, its own second"},
    PQ_HEAD_OPTION,
    PQ_COLUMN_OPTIONS,
    PQ_NEGATIVE_OPTION,
    PQ_SCALER_OPTION,
    {"engine", 0, "NAME", false, "float32",
     "reference, float32, bf16, int8, integer, generated: see pquant doctor"},
    {"batch", 0, "N", false, "0",
     "events read at a time, 0 = some megabytes of them; does not change the result"},
    {"threads", 0, "N", false, "0", "threads, 0 = all cores; does not change the result"},
    {"limit", 0, "N", false, "0", "at most so many events, 0 = all"},
    {"stride", 0, "N", false, "1", "every N-th event, from the first on"},
    {"nonfinite", 0, "fail|drop|zero", false, "fail",
     "what to do with events that hold NaN or inf"},
    {"scores", 0, "OUT.h5", false, NULL,
     "write the model's own outputs as scores [n, outputs], labels and weights there"},
    {"format", 0, "table|json", false, "table", "how to print"},
    {0},
};

static json_t *evaluated_json(const pq_evaluated *e)
{
    static const char *const better[] = {"none", "higher", "lower"};
    json_t *metrics = json_object(), *fallbacks = json_array(), *refused = json_array();

    for (size_t i = 0; i < e->n_refused; i++) {
        (void)json_array_append_new(refused, json_string(e->refused[i]));
    }

    for (size_t i = 0; i < e->n_fallbacks; i++) {
        (void)json_array_append_new(fallbacks, json_string(e->fallbacks[i]));
    }
    for (size_t i = 0; i < e->values.n; i++) {
        const pq_value *v = &e->values.items[i];
        (void)json_object_set_new(
            metrics, v->name,
            json_pack("{s:o, s:o, s:o, s:f, s:s, s:s, s:s*}", "value",
                      pq_json_real(v->value), "lo", pq_json_real(v->lo), "hi",
                      pq_json_real(v->hi), "n", v->n, "unit", v->unit, "better",
                      better[v->better], "note", v->note));
    }
    return json_pack("{s:I, s:I, s:o, s:s, s:s, s:s*, s:s, s:o, s:o, s:o}", "n",
                     (json_int_t)e->n, "negative_weights", (json_int_t)e->n_negative,
                     "correct",
                     e->decided ? json_integer((json_int_t)e->correct) : json_null(),
                     "head", pq_head_name(e->head), "inputs", e->inputs, "doubt",
                     *e->doubt != '\0' ? e->doubt : NULL, "kernels", e->kernels,
                     "fallbacks", fallbacks, "refused", refused, "metrics", metrics);
}

static void evaluated_table(const pq_evaluated *e)
{
    size_t widest = 32;

    if (e->decided) {
        pq_say(stdout, "%zu of %zu events right\n\n", e->correct, e->n);
    } else {
        pq_say(stdout, "%zu events\n\n", e->n);
    }
    if (e->n_negative > 0) {
        pq_say(stdout, "%zu events have negative weights\n\n", e->n_negative);
    }
    for (size_t i = 0; i < e->values.n; i++) {
        const size_t columns = pq_say_columns(e->values.items[i].name);
        widest               = columns > widest ? columns : widest;
    }
    pq_say(stdout, "%-*s %14s %14s %14s  %s\n", (int)widest, "metric", "value", "lo",
           "hi", "unit");
    for (size_t i = 0; i < e->values.n; i++) {
        const pq_value *v = &e->values.items[i];
        pq_say(stdout, "%-*s %14.7g ", (int)widest, v->name, v->value);
        if (isfinite(v->lo)) {
            pq_say(stdout, "%14.7g %14.7g  %s\n", v->lo, v->hi, v->unit);
        } else {
            pq_say(stdout, "%14s %14s  %s\n", "", "", v->unit);
        }
    }
    for (size_t i = 0; i < e->values.n; i++) {
        const pq_value *v = &e->values.items[i];
        if (v->note != NULL) {
            pq_say(stdout, "note: %s: %s\n", v->name, v->note);
        }
    }
    pq_say(stdout, "\ninputs: %s\n", e->inputs);
    pq_say(stdout, "head %s: %s\n", pq_head_name(e->head),
           pq_head_meaning(e->head, e->width));
    for (size_t i = 0; i < e->n_refused; i++) {
        pq_say(stdout, "not computed: %s\n", e->refused[i]);
    }
    pq_say(stdout, "kernels: %s\n", e->kernels);
    for (size_t i = 0; i < e->n_fallbacks; i++) {
        pq_say(stdout, "in double, not in whole numbers: %s\n", e->fallbacks[i]);
    }
}

static pq_status write_scores(const char *path, const pq_evaluated *e, pq_err *err)
{
    pq_tensor *scores = NULL, *labels = NULL, *weights = NULL;
    pq_h5     *file = NULL;
    pq_status  st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(e->n, e->width), &scores, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_I32, PQ_SHAPE(e->n), &labels, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(e->n), &weights, err));
    pq_evaluated_outputs(e, scores->data);
    memcpy(labels->data, e->labels, labels->count * sizeof(int32_t));
    for (size_t i = 0; i < e->n; i++) {
        ((float *)weights->data)[i] = e->weights != NULL ? e->weights[i] : 1.0F;
    }
    PQ_TRY(pq_h5_create(path, &file, err));
    PQ_TRY(pq_h5_write(file, "/scores", scores, 4, err));
    PQ_TRY(pq_h5_write(file, "/labels", labels, 4, err));
    PQ_TRY(pq_h5_write(file, "/weights", weights, 4, err));
    PQ_TRY(pq_h5_set_texts(file, "/scores", "class_names",
                           (const char *const *)e->class_names, e->classes, err));
    PQ_TRY(pq_h5_set_text(file, "/scores", "head", pq_head_name(e->head), err));
    PQ_TRY(pq_h5_commit(&file, err));
cleanup:
    pq_h5_close(&file);
    pq_tensor_free(&scores);
    pq_tensor_free(&labels);
    pq_tensor_free(&weights);
    return st;
}

/* Everything that `model eval` holds while it runs. */
typedef struct {
    pq_graph    *graph;
    pq_dataset  *dataset;
    pq_evaluated result;
    char        *path, *split_name;
} eval_state;

/* Names the model's outputs, where its file does not. */
static pq_status name_classes(pq_graph *graph, const char *classes, pq_err *err)
{
    char    **names = NULL;
    size_t    n;
    pq_status st;

    PQ_TRY(pq_text_split(classes, ',', &names, &n, err));
    PQ_TRY(pq_graph_set_classes(graph, n, (const char *const *)names, err));
cleanup:
    pq_free(names);
    return st;
}

static pq_status eval_open(const pq_args *args, eval_state *s, size_t *split, pq_err *err)
{
    const char *data       = pq_args_value(args, "data"),
               *classes    = pq_args_value(args, "classes");
    pq_dataset_options how = {0};
    pq_status          st;

    PQ_CHECK(data != NULL, PQ_ERR_CONFIG, "model eval: --data FILE[:SPLIT] is missing");
    PQ_TRY(pq_args_model(args, 0, &s->graph, err));
    PQ_TRY(pq_args_head(args, s->graph, err));
    PQ_TRY(pq_dataset_spec(data, &s->path, &s->split_name, err));
    if (classes != NULL) {
        PQ_TRY(name_classes(s->graph, classes, err));
    }
    PQ_TRY(pq_args_nonfinite(args, &how.nonfinite, err));
    pq_args_columns(args, s->graph, &how);
    PQ_TRY(pq_dataset_open(s->path, &how, &s->dataset, err));
    PQ_TRY(pq_dataset_split(s->dataset, s->split_name, split, err));
    PQ_TRY(pq_args_scaler(args, s->graph, pq_dataset_describe(s->dataset), err));
    pq_args_note_scaler(args, s->graph, pq_dataset_describe(s->dataset));
cleanup:
    return st;
}

static void note_nonfinite(const pq_args *args, const eval_state *s)
{
    const size_t n = pq_dataset_describe(s->dataset)->nonfinite;

    if (n > 0 && !pq_args_flag(args, "quiet")) {
        pq_say(stderr, "note: %zu events hold NaN or infinity (--nonfinite %s)\n", n,
               pq_args_value(args, "nonfinite"));
    }
}

/* Outputs without names are taken in the dataset's order, which may be wrong. */
static void note_order(const pq_args *args, const eval_state *s)
{
    if (s->graph->class_names == NULL && !pq_args_flag(args, "quiet")) {
        pq_say(stderr, "note: the model does not name its outputs; they are taken in the "
                       "dataset's order (--classes says otherwise):");
        for (size_t c = 0; c < s->result.classes; c++) {
            pq_say(stderr, " %s", s->result.class_names[c]);
        }
        pq_say(stderr, "\n");
    }
}

static void note_head(const pq_args *args, const pq_evaluated *e)
{
    const char *assumed = pq_head_assumed(e->head, e->width);

    if (assumed != NULL && strcmp(pq_args_value(args, "head"), "auto") == 0 &&
        !pq_args_flag(args, "quiet")) {
        pq_say(stderr, "note: %s (--head says otherwise)\n", assumed);
    }
}

static pq_status eval(const pq_args *args, int *exit_code, pq_err *err)
{
    const pq_progress   progress = pq_args_progress(args);
    pq_evaluate_options options  = {
         .predict = {.engine = pq_args_value(args, "engine"), .progress = &progress}};
    eval_state  s = {0};
    const char *format, *scores = pq_args_value(args, "scores");
    json_t     *json = NULL;
    size_t      split;
    pq_status   st;

    (void)exit_code;
    PQ_TRY(pq_args_format(args, "table json", &format, err));
    PQ_TRY(pq_args_size(args, "batch", 0, 1 << 20, &options.predict.batch, err));
    PQ_TRY(pq_args_size(args, "threads", 0, 1024, &options.predict.threads, err));
    PQ_TRY(pq_args_size(args, "limit", 0, SIZE_MAX / 2, &options.predict.limit, err));
    PQ_TRY(pq_args_size(args, "stride", 1, SIZE_MAX / 2, &options.predict.stride, err));
    PQ_TRY(eval_open(args, &s, &split, err));
    options.file_bytes       = pq_file_bytes(pq_args_get(args, 0));
    options.negative_weights = pq_args_flag(args, "negative-weights");
    PQ_TRY(pq_evaluate(s.graph, s.dataset, split, &options, &s.result, err));
    pq_progress_done();
    note_order(args, &s);
    note_head(args, &s.result);
    if (*s.result.doubt != '\0' && !pq_args_flag(args, "quiet")) {
        pq_say(stderr, "warning: %s\n", s.result.doubt);
    }
    note_nonfinite(args, &s);
    if (scores != NULL) {
        PQ_TRY(write_scores(scores, &s.result, err));
    }
    if (strcmp(format, "json") == 0) {
        json = evaluated_json(&s.result);
        PQ_CHECK(pq_say_json(json), PQ_ERR_NOMEM, "cannot print the result as JSON");
    } else {
        evaluated_table(&s.result);
    }
cleanup:
    json_decref(json);
    pq_evaluated_free(&s.result);
    pq_dataset_close(&s.dataset);
    pq_graph_free(&s.graph);
    pq_free(s.path);
    pq_free(s.split_name);
    return st;
}

const pq_verb pq_verb_model_eval = {
    .name      = "model eval",
    .summary   = "accuracy, AUC and sizes of a model on a dataset, with uncertainties",
    .arguments = "MODEL --data FILE[:SPLIT]",
    .min_args  = 1,
    .max_args  = 1,
    .options   = eval_options,
    .example   = "pquant model eval net.h5 --data datasets/jets-hlf.h5:test",
    .run       = eval,
};
