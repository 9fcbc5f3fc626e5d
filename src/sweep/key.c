#include "sweep/key.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "exec/plan.h"
#include "kernels/cpu.h"
#include "lab/bench.h"
#include "sweep/engines.h"

pq_status pq_key_of(const pq_text *text, char out[PQ_HASH_TEXT], pq_err *err)
{
    pq_hash   h;
    pq_status st;

    PQ_CHECK(!text->failed, PQ_ERR_NOMEM, "cannot allocate the text of a key");
    pq_hash_start(&h);
    pq_hash_bytes(&h, text->text, text->length);
    pq_hash_end(&h, out);
cleanup:
    return st;
}

unsigned pq_stage_needs(const pq_stage *stage)
{
    return stage->method->needs != NULL ? stage->method->needs(stage->params) : 0;
}

uint64_t pq_stage_seed(const pq_cells *cells, const pq_cell *cell, const pq_stage *stage)
{
    return pq_stage_draws(stage) ? cell->seed : (uint64_t)cells->config->seeds.base;
}

const char *pq_cell_artifact(const pq_cell *cell)
{
    return cell->artifact[cell->variant->n_stages];
}

/* What rounding depends on: the same on every machine with the same instruction set. */
static void add_numerics(pq_text *out)
{
    pq_text_add(out, "instructions %s, OpenBLAS %s\n", pq_isa_name(pq_cpu_isa()),
                pq_blas_coretype());
}

/* What the numbers of an engine depend on; nothing for those that give the same anywhere.
 */
static void add_engine(const char *engine, pq_text *out)
{
    pq_text_add(out, "kernels ");
    pq_engine_describe(engine, out);
    pq_text_add(out, "\n");
}

void pq_key_artifact(const pq_cells *cells, const pq_cell *cell, size_t stages,
                     pq_text *out)
{
    const pq_stage *stage;

    pq_text_add(out, "pquant artifact 2\n");
    if (stages == 0) {
        pq_text_add(out, "model %s\n", cells->model_hash);
        return;
    }
    stage = cell->variant->stages[stages - 1];
    pq_text_add(out, "from %s\nstage ", cell->artifact[stages - 1]);
    pq_stage_print(stage, out);
    pq_text_add(out, "\nversion %s\n", stage->method->version);
    if ((pq_stage_needs(stage) & PQ_NEEDS_TRAINING) != 0) {
        pq_text_add(out, "training %s, validation %s, teacher %s\n", cells->train_hash,
                    cells->validation_hash, cells->model_hash);
    }
    if ((pq_stage_needs(stage) & PQ_NEEDS_CALIB) != 0) {
        pq_text_add(out, "calibration %s, %lld events\n", cells->calib_hash,
                    (long long)cells->config->dataset.calib_events);
    }
    if ((pq_stage_needs(stage) & PQ_NEEDS_TIMES) != 0) {
        const pq_config_latency *l = &cells->config->latency;
        pq_bench_describe(pq_stage_engine(cells->config), (size_t)l->batch.value[0], out);
    }
    if ((pq_stage_needs(stage) & PQ_NEEDS_CALLS) != 0) {
        pq_bench_describe("generated, its function", 1, out);
        add_engine("generated", out);
    }
    if (pq_stage_needs(stage) != 0 || pq_stage_draws(stage)) {
        pq_text_add(out, "seed %llu\n",
                    (unsigned long long)pq_stage_seed(cells, cell, stage));
    }
    add_numerics(out);
}

pq_evaluation pq_cells_view(const pq_cells *cells)
{
    return (pq_evaluation){
        .head        = cells->head,
        .width       = cells->width,
        .classes     = cells->n_classes,
        .class_names = (const char *const *)cells->classes,
    };
}

/* Metrics in the program's order, whatever the configuration's; those that nobody named
   only where they may have a value: labels are not looked at. */
static void add_metrics(const pq_cells *cells, pq_text *out)
{
    const pq_config    *config = cells->config;
    const pq_evaluation view   = pq_cells_view(cells);

    for (size_t m = 0; pq_metrics[m] != NULL; m++) {
        for (size_t i = 0; i < config->n_metrics; i++) {
            const pq_metric_choice *c = &config->metrics[i];
            if (c->metric == pq_metrics[m] && pq_metric_applies(c, &view)) {
                pq_text_add(out, "metric %s version %s: ", c->metric->name,
                            c->metric->version);
                pq_params_print(c->metric->params, c->params, out);
                pq_text_add(out, "\n");
            }
        }
    }
}

void pq_key_evaluation(const pq_cells *cells, pq_text *out)
{
    const pq_config_evaluate *e = &cells->config->evaluate;
    const char               *engine =
        pq_evaluates_twice(cells->config) ? "auto" : pq_evaluating_engine(cells->config);

    pq_text_add(out, "test %s\nengine %s\n", cells->test_hash, engine);
    if (e->limit != PQ_UNSET) {
        pq_text_add(out, "limit %lld events\n", (long long)e->limit);
    }
    if (e->stride > 1) {
        pq_text_add(out, "every %lld-th event\n", (long long)e->stride);
    }
    if (e->negative_weights) {
        pq_text_add(out, "weights may be negative\n");
    }
    add_engine(engine, out);
    add_metrics(cells, out);
}

/* Of what was made by some stages of a cell. */
static void add_eval(const pq_cells *cells, const char *artifact, pq_text *out)
{
    pq_text_add(out, "pquant eval 3\nartifact %s\n%s", artifact, cells->evaluation);
}

void pq_key_eval(const pq_cells *cells, const pq_cell *cell, pq_text *out)
{
    add_eval(cells, pq_cell_artifact(cell), out);
}

void pq_key_reference(const pq_cells *cells, const pq_cell *cell, pq_text *out)
{
    pq_text_add(out, "scores of the reference 1\n");
    add_eval(cells, cell->artifact[0], out);
}

void pq_key_latency(const pq_cells *cells, const pq_cell *cell, size_t i, pq_text *out)
{
    const pq_config_latency *l        = &cells->config->latency;
    char                     cpu[64]  = "";
    char                     host[64] = "";

    (void)gethostname(host, sizeof host - 1);
    pq_text_add(out, "pquant latency 4\nartifact %s\nreference %s\n",
                pq_cell_artifact(cell),
                pq_cell_artifact(&cells->cells[cells->reference]));
    pq_text_add(out, "batch %g, threads %lld, engine %s\n", l->batch.value[i],
                (long long)l->threads, pq_chosen_engine(l->engine));
    if (l->logits) {
        pq_text_add(out, "without a softmax at the end\n");
    }
    if (l->processes > 1) { /* of one, as it always was: older records stay good */
        pq_text_add(out, "%lld processes\n", (long long)l->processes);
    }
    if (l->options.cold_shots > 0) {
        pq_text_add(out, "%lld calls in each cold state\n",
                    (long long)l->options.cold_shots);
    }
    if (strcmp(pq_chosen_engine(l->engine), "auto") == 0) {
        pq_text_add(out, "predictions by %s\n",
                    pq_chosen_engine(cells->config->evaluate.engine));
    }
    pq_text_add(
        out,
        "warm-up %g s, %lld samples of %g s, %lld rounds, at most %g s, %lld single "
        "shots, pinned %d\n",
        l->options.warmup_s, (long long)l->options.samples, l->options.sample_time_s,
        (long long)l->options.rounds, l->options.max_s,
        (long long)l->options.single_shots, l->options.pin);
    pq_text_add(out, "host %s, %s\ncompiler %s\n", host, pq_cpu_name(cpu, sizeof cpu),
                __VERSION__);
    add_engine(pq_chosen_engine(l->engine), out);
}
