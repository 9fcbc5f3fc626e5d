/* Attributes of layers from YAML. */
#include "formats/state.h"

/* "[28, 28, 1]" of a list of YAML, or the text of a scalar. */
static pq_status value_text(const pq_yaml *node, pq_text *out, pq_err *err)
{
    pq_status st = PQ_OK;

    if (node->kind == PQ_YAML_SCALAR) {
        pq_text_add(out, "%s", node->text);
    } else {
        for (size_t i = 0; i < node->n; i++) {
            if (node->kind != PQ_YAML_LIST || node->items[i]->kind != PQ_YAML_SCALAR) {
                return pq_yaml_fail(node, err, PQ_ERR_CONFIG,
                                    "a number, a text or a list of them is due here");
            }
            pq_text_add(out, "%s%s", i == 0 ? "[" : ", ", node->items[i]->text);
        }
        pq_text_add(out, "%s", node->n > 0 ? "]" : "");
    }
    PQ_CHECK(!out->failed && out->text != NULL, PQ_ERR_CONFIG, "%s:%zu:%zu: is empty",
             node->file, node->line, node->column);
cleanup:
    return st;
}

pq_status pq_state_yaml_set(pq_layer *layer, const char *attribute, const pq_yaml *value,
                            pq_err *err)
{
    pq_text   text = {0};
    pq_err    why  = {0};
    pq_status st;

    PQ_TRY(value_text(value, &text, err));
    st = pq_layer_set(layer, attribute, text.text, &why);
    if (st != PQ_OK) {
        (void)pq_yaml_fail(value, err, st, "%s: %s", layer->kind->name, why.message);
        if (why.hint[0] != '\0') {
            pq_err_hint(err, "%s", why.hint);
        }
    }
cleanup:
    pq_text_free(&text);
    return st;
}
