/* What is written about a cell. */
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/memory.h"
#include "exec/plan.h"
#include "kernels/cpu.h"
#include "store/json.h"
#include "store/record.h"
#include "sweep/cell.h"
#include "sweep/key.h"

json_t *pq_note_json(const char *note)
{
    json_t *text = NULL;

    for (size_t n = strlen(note); text == NULL && n > 0; n--) {
        text = json_stringn(note, n); /* NULL while it ends within a character */
    }
    return text != NULL ? text : json_string("");
}

static json_t *stages_json(const pq_case *variant)
{
    json_t *stages = json_array();
    pq_text text   = {0};

    for (size_t i = 0; i < variant->n_stages; i++) {
        pq_stage_print(variant->stages[i], &text);
        (void)json_array_append_new(stages, json_string(text.text));
        pq_text_free(&text);
    }
    return stages;
}

static json_t *axes_json(const pq_case *variant)
{
    json_t *axes = json_object();

    for (size_t i = 0; i < variant->n_axes; i++) {
        (void)json_object_set_new(axes, variant->axes[i].name,
                                  json_string(variant->axes[i].value));
    }
    return axes;
}

json_t *pq_cell_record(const pq_cells *cells, const pq_cell *cell, const char *phase,
                       const char *key, const char *status)
{
    char seed[32]; /* a text: JSON numbers hold 63 bits */

    (void)snprintf(seed, sizeof seed, "%llu", (unsigned long long)cell->seed);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:o, s:I, s:s, s:o, s:{s:s, "
                     "s:s}, s:{s:I, s:s}}",
                     "schema", PQ_RECORD_SCHEMA, "key", key, "phase", phase, "experiment",
                     cells->config->name, "pipeline", cell->pipeline->name, "label",
                     cell->variant->label, "order", (json_int_t)cell->order, "axes",
                     axes_json(cell->variant), "repeat", (json_int_t)cell->repeat,
                     "status", status, "stages", stages_json(cell->variant), "keys",
                     "artifact", pq_cell_artifact(cell), "eval", cell->eval, "seeds",
                     "base", (json_int_t)cells->config->seeds.base, "cell", seed);
}

pq_status pq_cell_record_failure(const pq_cells *cells, const pq_cell *cell,
                                 const pq_cell_failure *failure, pq_err *err)
{
    const pq_err *why = failure->why;
    json_t       *record =
        pq_cell_record(cells, cell, failure->phase, failure->key, failure->status);
    json_t   *error = json_pack("{s:s, s:s, s:s}", "code", pq_status_text(why->code),
                                "message", why->message, "hint", why->hint);
    pq_status st;

    PQ_CHECK(
        record != NULL && error != NULL && json_object_set(record, "error", error) == 0 &&
            json_object_set_new(record, "metrics", json_object()) == 0 &&
            json_object_set_new(record, "seconds", json_real(failure->seconds)) == 0 &&
            json_object_set_new(record, "provenance", pq_cell_provenance(cells, "")) == 0,
        PQ_ERR_NOMEM, "cannot allocate a record");
    PQ_TRY(pq_record_write(cells->dir, record, err));
cleanup:
    json_decref(error);
    json_decref(record);
    return st;
}

pq_status pq_record_metric(json_t *record, const pq_value *value, pq_err *err)
{
    json_t    *metrics                        = json_object_get(record, "metrics"), *item;
    const char better[PQ_BETTER_LOWER + 1][8] = {"none", "higher", "lower"};
    pq_status  st;

    item = json_pack("{s:o, s:o, s:o, s:o, s:s, s:s, s:s*}", "value",
                     pq_json_real(value->value), "lo", pq_json_real(value->lo), "hi",
                     pq_json_real(value->hi), "n", pq_json_real(value->n), "unit",
                     value->unit, "better", better[value->better], "note", value->note);
    PQ_CHECK(json_object_set_new(metrics, value->name, item) == 0, PQ_ERR_NOMEM,
             "cannot allocate a metric");
cleanup:
    return st;
}

bool pq_record_unreached(json_t *record, const json_t *changes)
{
    json_t       *all = json_array();
    const json_t *one;
    size_t        i;
    bool          fine = all != NULL, bound = false;

    json_array_foreach((json_t *)changes, i, one)
    {
        const char *missed = json_string_value(json_object_get(one, "missed"));
        const char *layer  = json_string_value(json_object_get(one, "layer"));
        if (missed != NULL && layer != NULL) {
            fine = fine &&
                   json_array_append_new(all, json_sprintf("%s: %s", layer, missed)) == 0;
            bound = bound || json_is_true(json_object_get(one, "infeasible"));
        }
    }
    if (fine && json_array_size(all) > 0) {
        fine = json_object_set(record, "unreached", all) == 0;
    }
    if (bound) {
        fine = fine && json_object_set_new(record, "infeasible", json_true()) == 0;
    }
    json_decref(all);
    return fine;
}

pq_status pq_record_kernels(json_t *record, const pq_evaluated *e, pq_err *err)
{
    json_t   *provenance = json_object_get(record, "provenance");
    json_t   *fallbacks  = json_array();
    pq_status st         = PQ_OK;

    for (size_t i = 0; i < e->n_fallbacks; i++) {
        (void)json_array_append_new(fallbacks, json_string(e->fallbacks[i]));
    }
    if (strstr(e->kernels, PQ_PLAN_INSTEAD) != NULL) {
        (void)json_object_set_new(provenance, "interpreted", json_true());
    }
    PQ_CHECK(json_object_set_new(provenance, "kernels", json_string(e->kernels)) == 0 &&
                 json_array_size(fallbacks) == e->n_fallbacks &&
                 (e->n_fallbacks == 0 ||
                  json_object_set(provenance, "fallbacks", fallbacks) == 0),
             PQ_ERR_NOMEM, "cannot allocate a record");
cleanup:
    json_decref(fallbacks);
    return st;
}

pq_status pq_record_outputs(json_t *record, const pq_evaluated *e, pq_err *err)
{
    json_t   *refused = json_array();
    pq_status st      = PQ_OK;

    for (size_t i = 0; i < e->n_refused; i++) {
        (void)json_array_append_new(refused, json_string(e->refused[i]));
    }
    PQ_CHECK(
        json_array_size(refused) == e->n_refused &&
            json_object_set_new(
                record, "outputs",
                json_pack("{s:s, s:s, s:O}", "head", pq_head_name(e->head), "meaning",
                          pq_head_meaning(e->head, e->width), "refused", refused)) == 0 &&
            json_object_set_new(record, "inputs",
                                json_pack("{s:s, s:s*}", "scaling", e->inputs, "doubt",
                                          *e->doubt != '\0' ? e->doubt : NULL)) == 0,
        PQ_ERR_NOMEM, "cannot allocate a record");
cleanup:
    json_decref(refused);
    return st;
}

pq_status pq_record_diff(json_t *record, const pq_diff *diff, pq_err *err)
{
    json_t   *layers = json_array();
    pq_status st     = PQ_OK;

    for (size_t i = 0; i < diff->n; i++) {
        const pq_layer_diff *d = &diff->layers[i];
        (void)json_array_append_new(
            layers, json_pack("{s:s, s:o, s:o, s:o}", "layer", d->name, "error",
                              pq_json_real(d->error), "largest", pq_json_real(d->largest),
                              "signal", pq_json_real(d->signal)));
    }
    PQ_CHECK(
        json_array_size(layers) == diff->n &&
            (diff->n == 0 ||
             json_object_set_new(
                 record, "quantization",
                 json_pack("{s:I, s:I, s:O}", "events", (json_int_t)diff->events, "agree",
                           (json_int_t)diff->agree, "layers", layers)) == 0),
        PQ_ERR_NOMEM, "cannot allocate a record");
cleanup:
    json_decref(layers);
    return st;
}

json_t *pq_cell_provenance(const pq_cells *cells, const char *engine)
{
    char date[32], cpu[64] = "";

    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "pquant", PQ_VERSION,
        "compiler", __VERSION__, "cpu", pq_cpu_name(cpu, sizeof cpu), "instructions",
        pq_isa_name(pq_cpu_isa()), "openblas", pq_blas_coretype(), "engine", engine,
        "model", cells->model_hash, "test", cells->test_hash, "calibration",
        cells->calib_hash, "date", pq_clock_date(date, sizeof date));
}

pq_status pq_record_correct(json_t *out, const pq_evaluated *e, const pq_graph *graph,
                            pq_err *err)
{
    const pq_evaluation view   = pq_evaluated_view(e, graph, 0);
    char               *digits = NULL;
    pq_status           st     = PQ_OK;

    if (!e->decided || e->weights != NULL) {
        return PQ_OK;
    }
    PQ_NEW(digits, (view.n + 3) / 4 + 1);
    for (size_t i = 0; i < view.n; i += 4) {
        unsigned bits = 0;
        for (size_t k = i; k < i + 4 && k < view.n; k++) {
            const bool right = pq_evaluation_decision(&view, k) == (size_t)view.labels[k];
            bits |= right ? 8U >> (k - i) : 0U;
        }
        digits[i / 4] = "0123456789abcdef"[bits];
    }
    PQ_CHECK(json_object_set_new(out, "correct", json_string(digits)) == 0, PQ_ERR_NOMEM,
             "cannot allocate a record");
cleanup:
    pq_free(digits);
    return st;
}
