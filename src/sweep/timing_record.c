/* What is recorded of timings. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "store/json.h"
#include "store/record.h"
#include "sweep/timing_inside.h"

enum { SPREAD_MOST = 2048 };

size_t pq_timing_threads(const pq_timing_session *s)
{
    return (size_t)s->task->cells->config->latency.threads;
}

bool pq_timing_is_due(const pq_timing_session *s, size_t cell)
{
    return s->task->due[cell * s->task->cells->config->latency.batch.n + s->size];
}

static pq_status add_metric(json_t *record, size_t batch, const char *name,
                            const double v[3], pq_better better, pq_err *err)
{
    const size_t n = strlen(name);
    char         path[64];
    pq_value     value = {
            .name = path, .value = v[0], .lo = v[1], .hi = v[2], .better = better};

    (void)pq_snprintf(path, sizeof path, "latency.b%zu.%s", batch, name);
    (void)pq_snprintf(value.unit, sizeof value.unit, "%s",
                      n > 2 && strcmp(name + n - 2, "_s") == 0 ? "s"
                      : strcmp(name, PQ_LATENCY_CODE) == 0     ? "byte"
                                                               : "");
    return pq_record_metric(record, &value, err);
}

/* In the order of add_metrics. */
const char *const pq_latency_values[] = {"throughput_s", "cpu_s", "chain_s", "call_s",
                                         "p50_s",        "p90_s", "p99_s",   "p999_s",
                                         "processes",    "ratio", NULL};

/* What not every model has: times in cold states, and the size of its code. */
static pq_status add_states(json_t *record, size_t batch, const pq_timing *t,
                            size_t code_bytes, pq_err *err)
{
    const double none = (double)NAN;
    char         name[32];
    pq_status    st = PQ_OK;

    for (size_t state = 0; state < PQ_COLD_STATES; state++) {
        const double cold[] = {t->cold_s[state], none, none};
        (void)pq_snprintf(name, sizeof name, "%s_s", pq_cold_names[state]);
        if (!isnan(cold[0])) {
            PQ_TRY(add_metric(record, batch, name, cold, PQ_BETTER_LOWER, err));
        }
    }
    if (code_bytes > 0) {
        const double code[] = {(double)code_bytes, none, none};
        PQ_TRY(add_metric(record, batch, PQ_LATENCY_CODE, code, PQ_BETTER_LOWER, err));
    }
cleanup:
    return st;
}

static pq_status add_metrics(json_t *record, size_t batch, const pq_timing *t,
                             pq_err *err)
{
    const double none        = (double)NAN;
    const double times[][3]  = {{t->throughput_s, t->throughput_lo, t->throughput_hi},
                                {t->cpu_s, none, none},
                                {t->chain_s, none, none},
                                {pq_timing_call_s(t), none, none},
                                {t->p50_s, none, none},
                                {t->p90_s, none, none},
                                {t->p99_s, none, none},
                                {t->p999_s, none, none}};
    const double processes[] = {(double)t->n_parts, none, none};
    const double ratio[]     = {t->ratio, t->ratio_lo, t->ratio_hi};
    pq_status    st;

    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        PQ_TRY(add_metric(record, batch, pq_latency_values[i], times[i], PQ_BETTER_LOWER,
                          err));
    }
    PQ_TRY(add_metric(record, batch, "processes", processes, PQ_BETTER_NONE, err));
    PQ_TRY(add_metric(record, batch, "ratio", ratio, PQ_BETTER_HIGHER, err));
cleanup:
    return st;
}

/* The calls themselves, all of one duration in one: [[ns, calls], …]. A clock of
 * nanoseconds gives few durations of short calls; of long ones, SPREAD_MOST at most by
 * steps of 2, 4, … ns. */
static json_t *spread_json(const double *sorted, size_t n, double *step_ns)
{
    for (*step_ns = 1.0;; *step_ns *= 2.0) {
        json_t    *pairs = json_array();
        double     last  = -1.0;
        json_int_t count = 0;
        for (size_t i = 0; i <= n && json_array_size(pairs) <= SPREAD_MOST; i++) {
            const double at =
                i < n ? *step_ns * floor(1e9 * sorted[i] / *step_ns + 0.5) : -1.0;
            if (count > 0 && (at < last || at > last)) {
                (void)json_array_append_new(pairs, json_pack("[f, I]", last, count));
                count = 0;
            }
            last = at;
            count++;
        }
        if (json_array_size(pairs) <= SPREAD_MOST) {
            return pairs;
        }
        json_decref(pairs);
    }
}

/* Single calls, hot and in each cold state. */
static json_t *shots_json(const pq_timing *t)
{
    json_t *all = json_object();

    for (size_t i = 0; i <= PQ_COLD_STATES; i++) {
        const bool   hot = i == PQ_COLD_STATES;
        const size_t n   = hot ? t->n_shots : t->n_cold[i];
        double       step;
        json_t      *pairs;
        if (n > 0) {
            pairs = spread_json(hot ? t->shots : t->cold[i], n, &step);
            (void)json_object_set_new(
                all, hot ? "hot" : pq_cold_names[i],
                json_pack("{s:f, s:o}", "step_ns", step, "ns_calls", pairs));
        }
    }
    return all;
}

/* Medians of each process, whose samples stand one after the other. */
static json_t *parts_json(const pq_timing *t)
{
    json_t *all = json_array();

    for (size_t i = 0; i < t->n_parts; i++) {
        const pq_timing_part *part = &t->parts[i];
        (void)json_array_append_new(
            all, json_pack("{s:I, s:I, s:o, s:o}", "process", (json_int_t)part->process,
                           "samples", (json_int_t)part->samples, "throughput_s",
                           pq_json_real(part->throughput_s), "ratio",
                           pq_json_real(part->ratio)));
    }
    return all;
}

static json_t *timing_json(const pq_timing_session *s, const pq_runner *r,
                           const pq_timing *t)
{
    json_t       *samples = json_array(), *race = json_array(), *ratios = json_array();
    const double *reference = s->results[0].samples;

    for (size_t i = 0; i < PQ_FAST_ENGINES && r->race_s[i] > 0.0; i++) {
        (void)json_array_append_new(race, json_real(r->race_s[i]));
    }

    for (size_t i = 0; i < t->n; i++) {
        (void)json_array_append_new(samples, json_real(t->samples[i]));
        if (i < s->results[0].n && reference[i] > 0.0) { /* of the same sweep */
            (void)json_array_append_new(ratios, json_real(t->samples[i] / reference[i]));
        }
    }
    return json_pack("{s:I, s:I, s:I, s:o, s:o, s:b, s:s, s:f, s:I, s:s, s:o, s:o, s:o}",
                     "batch", (json_int_t)s->batch, "threads",
                     (json_int_t)s->task->cells->config->latency.threads, "calls",
                     (json_int_t)t->calls, "samples", samples, "ratios", ratios, "noisy",
                     t->noisy, "why", t->why, "timer_s", s->takes[0].timer_s, "variants",
                     (json_int_t)s->n, "engine", r->engine, "race_s", race, "shots",
                     shots_json(t), "processes", parts_json(t));
}

pq_status pq_timing_write(const pq_timing_session *s, size_t i, pq_err *err)
{
    const pq_cells  *c       = s->task->cells;
    const pq_runner *r       = &s->runners[i];
    const char      *kernels = r->kernels.text;
    json_t          *record =
        pq_cell_record(c, r->cell, "latency", r->cell->latency[s->size], "ok");
    pq_status st;

    PQ_CHECK(record != NULL &&
                 json_object_set_new(record, "metrics", json_object()) == 0 &&
                 json_object_set_new(record, "timing",
                                     timing_json(s, r, &s->results[i])) == 0 &&
                 json_object_set_new(record, "provenance",
                                     pq_cell_provenance(c, r->engine)) == 0 &&
                 json_object_set_new(json_object_get(record, "provenance"), "kernels",
                                     json_string(kernels)) == 0,
             PQ_ERR_NOMEM, "cannot allocate a record");
    if (kernels != NULL && strstr(kernels, PQ_PLAN_INSTEAD) != NULL) {
        (void)json_object_set_new(json_object_get(record, "provenance"), "interpreted",
                                  json_true());
    }
    PQ_TRY(add_metrics(record, s->batch, &s->results[i], err));
    PQ_TRY(add_states(record, s->batch, &s->results[i], r->code_bytes, err));
    PQ_TRY(pq_record_write(c->dir, record, err));
cleanup:
    json_decref(record);
    return st;
}

pq_status pq_timing_write_loss(const pq_timing_session *s, pq_worker_state state,
                               const pq_err *why, double seconds, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; i < s->n; i++) {
        const pq_cell        *cell    = s->runners[i].cell;
        const pq_cell_failure failure = {.phase   = "latency",
                                         .key     = cell->latency[s->size],
                                         .status  = pq_worker_state_name(state),
                                         .why     = why,
                                         .seconds = seconds};
        if (pq_timing_is_due(s, cell->order)) {
            PQ_TRY(pq_cell_record_failure(s->task->cells, cell, &failure, err));
        }
    }
cleanup:
    return st;
}
