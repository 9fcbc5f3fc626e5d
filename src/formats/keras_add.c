/* One layer of Keras: its keys checked, its weights read, its nodes added. */
#include <string.h>

#include "core/memory.h"
#include "formats/keras_reader.h"

/* Keeps what a layer computes in, where that is not float32. */
static pq_status note_dtype(pq_keras_reader *r, const pq_keras_layer *k, pq_err *err)
{
    const char *name;
    json_t     *note;
    pq_status   st;

    PQ_TRY(pq_keras_dtype(k->config, &name, err));
    if (name == NULL || json_object_get(r->dtypes, name) != NULL) {
        return PQ_OK;
    }
    PQ_CHECK(json_object_set_new(r->dtypes, name, json_true()) == 0, PQ_ERR_NOMEM,
             "cannot allocate a name");
    note = json_pack("{s:s, s:s, s:s}", "read", "keras", "dtype", name, "computed_in",
                     "float32");
    PQ_CHECK(note != NULL, PQ_ERR_NOMEM, "cannot allocate a note");
    PQ_TRY(pq_graph_note(r->target.graph, note, err));
cleanup:
    return st;
}

/* Unpacks wrappers that only matter in training: PruneLowMagnitude of tfmot. */
static pq_status unwrap(pq_keras_layer *k, pq_err *err)
{
    static const pq_keras_keys wrapper = {
        "layer", "pruning_schedule block_size block_pooling_type", NULL};
    const pq_keras_keys keys[] = {pq_keras_common, wrapper};
    const json_t       *inner  = json_object_get(k->config, "layer");
    pq_status           st     = PQ_OK;

    if (strcmp(k->class_name, "PruneLowMagnitude") == 0 && json_is_object(inner)) {
        PQ_TRY(pq_keras_check_keys(k->config, k->class_name, keys, 2, err));
        PQ_TRY(pq_keras_check_origin(inner, err));
        k->class_name = pq_keras_text(inner, "class_name", "");
        k->config     = json_object_get(inner, "config");
        k->wrapped    = true;
    }
cleanup:
    return st;
}

/* From what it says of itself to nodes; the class is known before a weight is read. */
static pq_status convert(pq_keras_reader *r, const pq_keras_scope *scope,
                         const json_t *json, pq_keras_layer *k, pq_err *err)
{
    static const pq_keras_keys keys = {"class_name config name inbound_nodes",
                                       PQ_KERAS_ORIGIN " build_config", NULL};
    const pq_keras_class      *found;
    pq_status                  st;

    PQ_TRY(pq_keras_check_keys(json, "the layer", &keys, 1, err));
    PQ_TRY(pq_keras_check_origin(json, err));
    PQ_TRY(unwrap(k, err));
    if (strncmp(pq_keras_text(json, "module", ""), "hgq.", 4) == 0) {
        k->class_name = pq_keras_text(json, "registered_name", k->class_name);
    }
    PQ_TRY(pq_keras_find_class(k, &found, err));
    PQ_TRY(note_dtype(r, k, err));
    /* These take it as we hold it; QKeras and HGQ round it in the file's order before. */
    k->turned = found->convert == pq_keras_dense || found->convert == pq_keras_conv2d;
    PQ_TRY(pq_keras_read_weights(r, scope, pq_keras_layer_name(json), k, err));
    PQ_TRY(found->convert(k, &r->target, err));
cleanup:
    return st;
}

pq_status pq_keras_add_layer(pq_keras_reader *r, const pq_keras_scope *scope,
                             const json_t *json, const char *name, size_t n_inputs,
                             const char *const *inputs, pq_err *err)
{
    pq_keras_layer k = {.class_name = pq_keras_text(json, "class_name", ""),
                        .name       = name,
                        .config     = json_object_get(json, "config"),
                        .n_inputs   = n_inputs};
    pq_status      st;

    PQ_CHECK(pq_keras_layer_name(json)[0] != '\0' && k.class_name[0] != '\0',
             PQ_ERR_FORMAT, "%s: a layer of the architecture has no name or no class",
             r->path);
    for (size_t i = 0; i < n_inputs; i++) {
        k.inputs[i] = inputs[i];
    }
    st = convert(r, scope, json, &k, err);
    if (st != PQ_OK) {
        pq_err_context(err, "%s%s%s: layer '%s'", r->path,
                       r->arch != NULL ? " with " : "", r->arch != NULL ? r->arch : "",
                       name);
        goto cleanup;
    }
cleanup:
    for (size_t i = 0; i < PQ_KERAS_WEIGHTS; i++) {
        pq_tensor_free(&k.weights[i]);
    }
    pq_free(k.group);
    return st;
}
