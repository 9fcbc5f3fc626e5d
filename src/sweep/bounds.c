#include "sweep/bounds.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "core/text.h"
#include "sweep/timing.h"

static const char *const constraint_keys[] = {"min", "max", NULL};

static const char *const test_names[]  = {"none", "paired", "mann-whitney", NULL};
static const char *const noisy_names[] = {"warn", "fail", NULL};

const pq_param pq_gate_params[] = {
    {.name   = "max_loss",
     .type   = PQ_PARAM_REAL,
     .offset = offsetof(pq_gate, max_loss),
     .min    = 0,
     .max    = 1e15,
     .help   = "most that the metric may get worse, in its unit"},
    {.name   = "max_increase",
     .type   = PQ_PARAM_REAL,
     .offset = offsetof(pq_gate, max_increase),
     .min    = 0,
     .max    = 1e6,
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

typedef enum { UNKNOWN, LEFT_OUT, MEASURED } standing;

static const char loss[] = "_loss";

/* Length of a name without "_loss" at its end. */
static size_t length_without_loss(const char *name)
{
    const size_t n = strlen(name), end = sizeof loss - 1;

    return n > end && strcmp(name + n - end, loss) == 0 ? n - end : n;
}

/* Whether the first n characters of a name are a value of a metric, "auc.*" standing for
 * that of any class. */
static bool is_value(const char *value, const char *name, size_t n)
{
    const size_t fixed = strcspn(value, "*");

    return strncmp(value, name, fixed) == 0 &&
           (value[fixed] == '*' ? n > fixed : n == fixed);
}

/* The metric that gives a value of this name, or NULL; whether the name is that of a
 * class at *class_at. */
static const pq_metric *metric_of(const char *name, size_t n, size_t *class_at)
{
    *class_at = 0;
    for (size_t m = 0; pq_metrics[m] != NULL; m++) {
        for (const char *const *v = pq_metrics[m]->values; *v != NULL; v++) {
            if (is_value(*v, name, n)) {
                *class_at = strchr(*v, '*') != NULL ? strcspn(*v, "*") : 0;
                return pq_metrics[m];
            }
        }
    }
    return NULL;
}

/* Whether a name is "latency.b<batch>.<value><end>". */
static bool is_timing(const char *name, size_t n, double batch, const char *value,
                      const char *end)
{
    char      due[64];
    const int length =
        pq_snprintf(due, sizeof due, "latency.b%.0f.%s%s", batch, value, end);

    return (size_t)length == n && strncmp(due, name, n) == 0;
}

/* A time at one of the batch sizes, such as "latency.b8.p50_s". */
static standing look_up_latency(const pq_config *config, const char *name, size_t n)
{
    const pq_config_latency *l = &config->latency;

    if (strncmp(name, "latency.", 8) != 0) {
        return UNKNOWN;
    }
    for (size_t i = 0; l->wanted && i < l->batch.n; i++) {
        const double batch = l->batch.value[i];
        for (const char *const *v = pq_latency_values; *v != NULL; v++) {
            if (is_timing(name, n, batch, *v, "")) {
                return MEASURED;
            }
        }
        for (size_t c = 0; l->options.cold_shots > 0 && c < PQ_COLD_STATES; c++) {
            if (is_timing(name, n, batch, pq_cold_names[c], "_s")) {
                return MEASURED;
            }
        }
        if (is_timing(name, n, batch, PQ_LATENCY_CODE, "")) {
            return MEASURED;
        }
    }
    return LEFT_OUT;
}

static standing look_up(const pq_config *config, const char *name, size_t n)
{
    size_t           class_at;
    const pq_metric *metric = metric_of(name, n, &class_at);

    if (metric == NULL) {
        return look_up_latency(config, name, n);
    }
    return pq_config_metric(config, metric->name) ? MEASURED : LEFT_OUT;
}

/* The value that a name was meant for: one that it begins, or the nearest. */
static const char *meant(const char *name, size_t n)
{
    const char *names[64];
    char        base[64];
    size_t      count = 0;

    (void)snprintf(base, sizeof base, "%.*s", (int)(n < sizeof base ? n : 0), name);
    for (size_t m = 0; pq_metrics[m] != NULL; m++) {
        for (const char *const *v = pq_metrics[m]->values; *v != NULL && count < 64;
             v++) {
            if (strncmp(*v, name, n) == 0 && (*v)[n] == '.') {
                return *v;
            }
            if (strchr(*v, '*') == NULL) {
                names[count++] = *v;
            }
        }
    }
    return pq_nearest(base, names, count);
}

void pq_check_value(pq_problems *p, const pq_yaml *node, const pq_config *config,
                    const char *what, bool left_out)
{
    const size_t whole = strlen(node->key), n = length_without_loss(node->key);
    standing     is = look_up(config, node->key, whole);
    const char  *near;

    is = is == UNKNOWN ? look_up(config, node->key, n) : is;
    if (is == LEFT_OUT && !left_out) {
        pq_problem_key(p, node, "%s: '%s' is not measured: %s leaves it out", what,
                       node->key,
                       strncmp(node->key, "latency.", 8) == 0 ? "latency" : "metrics");
    } else if (is == UNKNOWN) {
        near = meant(node->key, n);
        pq_problem_key(p, node, "%s: no metric gives a value '%s'%s%s%s%s", what,
                       node->key, near != NULL ? "; did you mean '" : "",
                       near != NULL ? near : "", near != NULL ? node->key + n : "",
                       near != NULL ? "'?" : "");
    }
}

bool pq_bound_is_loss(const char *metric)
{
    const size_t n = length_without_loss(metric);
    size_t       class_at;

    return metric[n] != '\0' &&
           (metric_of(metric, strlen(metric), &class_at) == NULL || class_at > 0);
}

bool pq_bound_lacks_class(const char *metric, size_t n, const char *const *classes)
{
    const size_t length = length_without_loss(metric);
    size_t       at;
    bool         there = false;

    if (metric_of(metric, length, &at) == NULL || at == 0) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        const size_t m = strlen(classes[i]);
        there          = there || strcmp(classes[i], metric + at) == 0 ||
                (m == length - at && strncmp(classes[i], metric + at, m) == 0);
    }
    return !there;
}

static bool bound_value(const pq_yaml *node, double *value)
{
    return node->kind == PQ_YAML_SCALAR &&
           (pq_parse_real(node->text, PQ_UNIT_NONE, value) ||
            pq_parse_real(node->text, PQ_UNIT_BYTES, value) ||
            pq_parse_real(node->text, PQ_UNIT_TIME, value)) &&
           !isnan(*value);
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
    if (out->min > out->max) {
        pq_problem(p, node, "constraints: min = %g is above max = %g: nothing is within",
                   out->min, out->max);
    }
cleanup:
    return st;
}

/* `target_latency: 100ns`: what one call at the first batch size may take. */
static pq_status read_target(pq_problems *p, const pq_yaml *node, const pq_config *config,
                             pq_constraint *out, pq_err *err)
{
    double    plain; /* in seconds, of which nobody means 100 */
    pq_status st = PQ_OK;

    *out        = (pq_constraint){.min = (double)NAN, .max = (double)NAN};
    out->metric = pq_format("latency.b%.0f.call_s", config->latency.batch.value[0]);
    PQ_CHECK(out->metric != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    if (!config->latency.wanted) {
        pq_problem_key(p, node,
                       "constraints: target_latency is not measured: latency "
                       "leaves it out");
    } else if (node->kind != PQ_YAML_SCALAR ||
               !pq_parse_real(node->text, PQ_UNIT_TIME, &out->max) ||
               pq_parse_real(node->text, PQ_UNIT_NONE, &plain) || !isfinite(out->max) ||
               !(out->max > 0.0)) {
        pq_problem(p, node,
                   "constraints: target_latency: a time above 0 with a unit is due here, "
                   "such as 100ns");
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
        if (strcmp(node->items[i]->key, "target_latency") == 0) {
            PQ_TRY(read_target(p, node->items[i], config, &config->constraints[i], err));
            continue;
        }
        pq_check_value(p, node->items[i], config, "constraints", false);
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
        if (!pq_config_metric(config, node->items[i]->key)) {
            pq_check_value(p, node->items[i], config, "gates", false);
        }
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
