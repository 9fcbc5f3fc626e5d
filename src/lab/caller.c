#define _GNU_SOURCE
#include "lab/caller.h"

#include <link.h>
#include <string.h>

#include "core/memory.h"
#include "kernels/kernels.h"

const char pq_generated[] = "generated";

/* The plan on its threads, which flush denormals as the calling one does when timed. */
static pq_status start_crew(const pq_graph *graph, const pq_caller_options *o,
                            pq_caller *c, pq_err *err)
{
    const pq_plan_options how  = {.engine = o->engine, .batch = o->batch};
    const unsigned        mode = pq_flush_denormals();
    pq_status             st   = pq_crew_create(graph, &how, o->threads, &c->crew, err);

    pq_restore_denormals(mode);
    PQ_TRY(st);
    PQ_CHECK(pq_plan_inputs(pq_crew_plan(c->crew)) == 1, PQ_ERR_UNSUPPORTED,
             "the model has %zu inputs; latency takes one",
             pq_plan_inputs(pq_crew_plan(c->crew)));
cleanup:
    return st;
}

/* Whether the crew runs what was asked for. */
static pq_status runs_it(const pq_caller *c, bool *out, pq_err *err)
{
    pq_text   kernels = {0};
    pq_status st;

    pq_plan_kernels(pq_crew_plan(c->crew), &kernels);
    PQ_CHECK(!kernels.failed, PQ_ERR_NOMEM, "cannot allocate a text");
    *out = kernels.text == NULL || strstr(kernels.text, PQ_PLAN_INSTEAD) == NULL;
cleanup:
    pq_text_free(&kernels);
    return st;
}

/* The function that the plan calls, which takes features in the model's scale. */
static pq_status load_scaled(const pq_graph *graph, pq_caller *c, pq_err *err)
{
    pq_graph *scaled = NULL;
    pq_status st;

    PQ_TRY(pq_graph_clone(graph, &scaled, err));
    PQ_TRY(pq_graph_check(scaled, err));
    pq_tensor_free(&scaled->scaler_mean);
    pq_tensor_free(&scaled->scaler_std);
    PQ_TRY(pq_loaded_open(scaled, &c->code, err));
cleanup:
    pq_graph_free(&scaled);
    return st;
}

static pq_status make_room(pq_shape event, pq_shape result, pq_caller *c, pq_err *err)
{
    size_t    width = 0;
    pq_status st;

    PQ_CHECK(pq_shape_count(&event, &c->item) && pq_shape_count(&result, &width) &&
                 c->item <= SIZE_MAX / sizeof(float) / c->batch &&
                 width <= SIZE_MAX / sizeof(float) / c->batch,
             PQ_ERR_SHAPE, "a call of %zu events is too large", c->batch);
    PQ_NEW(c->out, c->batch * width);
cleanup:
    return st;
}

/* The function alone, with the model's scaler. */
static pq_status load_raw(const pq_graph *graph, pq_caller *c, pq_err *err)
{
    size_t    input = 0;
    pq_status st;

    while (graph->nodes[input].n_inputs > 0) {
        input++;
    }
    PQ_TRY(
        make_room(graph->nodes[input].shape, graph->nodes[graph->output].shape, c, err));
    PQ_TRY(pq_loaded_open(graph, &c->code, err));
cleanup:
    return st;
}

pq_status pq_caller_open(const pq_graph *graph, const pq_caller_options *o,
                         pq_caller *out, pq_err *err)
{
    const bool generated = o->engine != NULL && strcmp(o->engine, pq_generated) == 0;
    bool       compiled  = generated;
    pq_status  st;

    *out = (pq_caller){.batch = o->batch, .n_inputs = 1};
    if (generated && o->raw) {
        return load_raw(graph, out, err);
    }
    PQ_TRY(start_crew(graph, o, out, err));
    PQ_TRY(make_room(pq_plan_input_shape(pq_crew_plan(out->crew), 0),
                     pq_plan_output_shape(pq_crew_plan(out->crew)), out, err));
    if (generated) {
        PQ_TRY(runs_it(out, &compiled, err));
    }
    if (compiled && o->threads == 1) {
        PQ_TRY(load_scaled(graph, out, err));
    }
cleanup:
    return st;
}

void pq_caller_close(pq_caller *c)
{
    pq_crew_free(&c->crew);
    pq_loaded_close(&c->code);
    pq_free(c->out);
    *c = (pq_caller){0};
}

pq_status pq_caller_try(pq_caller *c, pq_err *err)
{
    if (c->code.run != NULL) { /* was compared with an engine, and cannot fail */
        return PQ_OK;
    }
    return pq_crew_run(c->crew, c->batch, &c->in, c->out, err);
}

/* `after` comes last: what it waits for is not held up any longer. */
static const float *input_of(const pq_caller *c, size_t input, size_t after)
{
    return c->in + input % c->n_inputs * c->batch * c->item + after;
}

static uint32_t call_one(void *context, size_t input, size_t after)
{
    const pq_caller *c = context;

    c->code.one(input_of(c, input, after), c->out);
    return pq_timed_bits(c->out);
}

static uint32_t call_many(void *context, size_t input, size_t after)
{
    const pq_caller *c = context;

    c->code.run(input_of(c, input, after), c->out, c->batch);
    return pq_timed_bits(c->out);
}

static uint32_t call_crew(void *context, size_t input, size_t after)
{
    const pq_caller *c  = context;
    const float     *in = input_of(c, input, after);

    /* what has run once does not fail: sizes were checked when it was made */
    return pq_crew_run(c->crew, c->batch, &in, c->out, NULL) == PQ_OK
               ? pq_timed_bits(c->out)
               : 0;
}

static void flush(void *context)
{
    pq_loaded_flush(&((pq_caller *)context)->code);
}

pq_variant pq_caller_variant(pq_caller *c)
{
    if (c->code.run == NULL) {
        return (pq_variant){.run = call_crew, .context = c};
    }
    return (pq_variant){
        .run = c->batch == 1 ? call_one : call_many, .context = c, .flush = flush};
}

/* An address, and what the segments of its object that nothing writes to hold. */
typedef struct {
    uintptr_t at;
    size_t    bytes;
} extent;

static int measure_object(struct dl_phdr_info *info, size_t size, void *context)
{
    extent *e     = context;
    size_t  bytes = 0;
    bool    here  = false;

    (void)size;
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        const uintptr_t from   = info->dlpi_addr + part->p_vaddr;
        if (part->p_type == PT_LOAD && (part->p_flags & PF_W) == 0) {
            bytes += part->p_memsz;
            here = here || (e->at >= from && e->at - from < part->p_memsz);
        }
    }
    e->bytes = here ? bytes : e->bytes;
    return here;
}

size_t pq_caller_code_bytes(const pq_caller *c)
{
    extent e = {.at = (uintptr_t)c->code.run};

    if (c->code.run != NULL) {
        (void)dl_iterate_phdr(measure_object, &e);
    }
    return e.bytes;
}
