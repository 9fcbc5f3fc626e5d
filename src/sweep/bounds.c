#include "sweep/bounds.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"

static const char *const constraint_keys[] = {"min", "max", NULL};

static const char *const test_names[]  = {"none", "paired", "mann-whitney", NULL};
static const char *const noisy_names[] = {"warn", "fail", NULL};

const pq_param pq_gate_params[] = {
    {.name   = "max_loss",
     .type   = PQ_PARAM_REAL,
     .offset = offsetof(pq_gate, max_loss),
     .help   = "most that the metric may get worse, in its unit"},
    {.name   = "max_increase",
     .type   = PQ_PARAM_REAL,
     .offset = offsetof(pq_gate, max_increase),
     .help   = "most that it may grow, relative to the baseline"},
    {.name     = "test",
     .type     = PQ_PARAM_CHOICE,
     .offset   = offsetof(pq_gate, test),
     .fallback = "none",
     .choices  = test_names,
     .help     = "test that must find the change significant"},
    {.name     = "alpha",
     .type     = PQ_PARAM_REAL,
     .offset   = offsetof(pq_gate, alpha),
     .fallback = "0.01",
     .min      = 1e-9,
     .max      = 0.5,
     .help     = "significance of the test"},
    {.name     = "confirm",
     .type     = PQ_PARAM_INT,
     .offset   = offsetof(pq_gate, confirm),
     .fallback = "0",
     .min      = 0,
     .max      = 10,
     .help     = "re-runs that must agree before the gate fails"},
    {.name     = "noisy",
     .type     = PQ_PARAM_CHOICE,
     .offset   = offsetof(pq_gate, noisy),
     .fallback = "warn",
     .choices  = noisy_names,
     .help     = "what a noisy measurement does"},
    {0},
};

static bool bound_value(const pq_yaml *node, double *value)
{
    return node->kind == PQ_YAML_SCALAR &&
           (pq_parse_real(node->text, PQ_UNIT_NONE, value) ||
            pq_parse_real(node->text, PQ_UNIT_BYTES, value));
}

/* `auc_loss: {max: 0.005}` */
static pq_status read_constraint(pq_problems *p, const pq_yaml *node, pq_constraint *out,
                                 pq_err *err)
{
    pq_status st;

    *out = (pq_constraint){.min = (double)NAN, .max = (double)NAN};
    PQ_STRDUP(out->metric, node->key);
    if (!pq_expect_map(p, node, "constraints")) {
        goto cleanup;
    }
    if (node->n == 0) {
        pq_problem(p, node, "constraints: min or max is due here");
    }
    for (size_t i = 0; i < node->n; i++) {
        const pq_yaml *bound = node->items[i];
        double        *value = strcmp(bound->key, "min") == 0 ? &out->min : &out->max;
        if (pq_expect_key(p, bound, NULL, constraint_keys, "constraints") &&
            !bound_value(bound, value)) {
            pq_problem(p, bound, "constraints: %s = '%s' is not a number", bound->key,
                       bound->kind == PQ_YAML_SCALAR ? bound->text
                                                     : pq_yaml_kind_text(bound->kind));
        }
    }
cleanup:
    return st;
}

static pq_status read_constraints(pq_problems *p, const pq_yaml *node, pq_config *config,
                                  pq_err *err)
{
    pq_status st = PQ_OK;

    if (node == NULL || !pq_expect_map(p, node, "constraints")) {
        return PQ_OK;
    }
    PQ_NEW(config->constraints, node->n);
    for (size_t i = 0; i < node->n; i++) {
        config->n_constraints = i + 1;
        PQ_TRY(read_constraint(p, node->items[i], &config->constraints[i], err));
    }
cleanup:
    return st;
}

static pq_status read_gates(pq_problems *p, const pq_yaml *node, pq_config *config,
                            pq_err *err)
{
    pq_status st = PQ_OK;

    if (node == NULL || !pq_expect_map(p, node, "gates")) {
        return PQ_OK;
    }
    PQ_NEW(config->gates, node->n);
    for (size_t i = 0; i < node->n; i++) {
        pq_gate *gate   = &config->gates[i];
        config->n_gates = i + 1;
        PQ_STRDUP(gate->metric, node->items[i]->key);
        PQ_TRY(pq_params_default(pq_gate_params, gate, err));
        pq_read_block(p, node->items[i], pq_gate_params, gate, NULL, "gates");
    }
cleanup:
    return st;
}

pq_status pq_read_bounds(pq_problems *p, const pq_yaml *tree, pq_config *config,
                         pq_err *err)
{
    const pq_yaml *baseline = pq_yaml_find(tree, "baseline");
    pq_status      st;

    if (baseline != NULL && baseline->kind != PQ_YAML_SCALAR) {
        pq_problem(p, baseline, "baseline: one text is due here");
    } else if (baseline != NULL && strcmp(baseline->text, "none") != 0) {
        PQ_STRDUP(config->baseline, baseline->text);
    }
    PQ_TRY(read_constraints(p, pq_yaml_find(tree, "constraints"), config, err));
    PQ_TRY(read_gates(p, pq_yaml_find(tree, "gates"), config, err));
cleanup:
    return st;
}

void pq_bounds_free(pq_config *config)
{
    for (size_t i = 0; i < config->n_constraints; i++) {
        pq_free(config->constraints[i].metric);
    }
    for (size_t i = 0; i < config->n_gates; i++) {
        pq_free(config->gates[i].metric);
    }
    pq_free(config->constraints);
    pq_free(config->gates);
    pq_free(config->baseline);
}
