#define _GNU_SOURCE
#include "sweep/timing_process.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "core/file.h"
#include "core/memory.h"
#include "core/text.h"
#include "formats/model.h"
#include "graph/head.h"
#include "lab/caller.h"

const char pq_timing_word[] = "--take-samples";

enum {
    STACK_MOST = 4096,    /* bytes of environment by which the stack is shifted */
    HEAP_MOST  = 1 << 16, /* and of the heap, in steps of a line of the cache */
    LINE       = 64,
    TEXT_MOST  = 1 << 16, /* of a path */
    LIST_MOST  = 1 << 30  /* values of one list */
};

/* What stands before models and events; both ends are the same program. */
typedef struct {
    size_t             bytes; /* of this */
    size_t             n, batch, threads, n_inputs, item, heap;
    uint64_t           seed;
    pq_latency_options how;
    bool               logits;
} head;

/* A model in the process that times it; owns. */
typedef struct {
    char     *path, *engine;
    pq_caller caller;
} timed;

static void put(FILE *to, const void *values, size_t n, size_t size)
{
    (void)fwrite(values, size, n, to); /* a failure stays: ferror */
}

static void put_text(FILE *to, const char *text)
{
    const size_t n = strlen(text);

    put(to, &n, 1, sizeof n);
    put(to, text, n, 1);
}

static bool get(FILE *from, void *values, size_t n, size_t size)
{
    return fread(values, size, n, from) == n;
}

static pq_status get_text(FILE *from, char **out, pq_err *err)
{
    size_t    n = 0;
    pq_status st;

    PQ_CHECK(get(from, &n, 1, sizeof n) && n < TEXT_MOST, PQ_ERR_FORMAT,
             "what is to be timed cannot be read");
    PQ_NEW(*out, n + 1);
    PQ_CHECK(get(from, *out, n, 1), PQ_ERR_FORMAT, "what is to be timed cannot be read");
cleanup:
    return st;
}

/* What both ends know of a list: its length, then its values. */
static void put_list(FILE *to, const double *values, size_t n)
{
    put(to, &n, 1, sizeof n);
    put(to, values, n, sizeof *values);
}

static pq_status get_list(FILE *from, double **out, size_t *n, pq_err *err)
{
    pq_status st;

    PQ_CHECK(get(from, n, 1, sizeof *n) && *n <= LIST_MOST, PQ_ERR_FORMAT,
             "samples cannot be read");
    PQ_NEW(*out, *n);
    PQ_CHECK(get(from, *out, *n, sizeof **out), PQ_ERR_FORMAT, "samples cannot be read");
cleanup:
    return st;
}

static void put_takes(FILE *to, const pq_takes *takes)
{
    put(to, takes, 1, sizeof *takes); /* its numbers; the pointer is none there */
    for (size_t v = 0; v < takes->n; v++) {
        const pq_taken *t = &takes->of[v];
        put(to, t, 1, sizeof *t);
        put_list(to, t->wall, t->n);
        put_list(to, t->cpu, t->n);
        put_list(to, t->chain, t->n);
        put_list(to, t->shots, t->n_shots);
        for (size_t k = 0; k < PQ_COLD_STATES; k++) {
            put_list(to, t->cold[k], t->n_cold[k]);
        }
    }
}

static pq_status get_taken(FILE *from, pq_taken *t, pq_err *err)
{
    pq_taken  numbers;
    size_t    cpu, chain;
    pq_status st;

    PQ_CHECK(get(from, &numbers, 1, sizeof numbers), PQ_ERR_FORMAT,
             "samples cannot be read");
    t->calls    = numbers.calls;
    t->switches = numbers.switches;
    PQ_TRY(get_list(from, &t->wall, &t->n, err));
    PQ_TRY(get_list(from, &t->cpu, &cpu, err));
    PQ_TRY(get_list(from, &t->chain, &chain, err));
    PQ_TRY(get_list(from, &t->shots, &t->n_shots, err));
    for (size_t k = 0; k < PQ_COLD_STATES; k++) {
        PQ_TRY(get_list(from, &t->cold[k], &t->n_cold[k], err));
    }
    PQ_CHECK(t->n > 0 && cpu == t->n && chain == t->n, PQ_ERR_FORMAT,
             "samples cannot be read");
cleanup:
    return st;
}

static pq_status get_takes(FILE *from, size_t n, pq_takes *out, pq_err *err)
{
    pq_takes  all = {0}, numbers;
    pq_status st;

    PQ_CHECK(get(from, &numbers, 1, sizeof numbers) && numbers.n == n, PQ_ERR_FORMAT,
             "samples cannot be read");
    all    = numbers;
    all.of = NULL;
    PQ_NEW(all.of, n);
    for (size_t v = 0; v < n; v++) {
        PQ_TRY(get_taken(from, &all.of[v], err));
    }
    *out = all;
    all  = (pq_takes){0};
cleanup:
    pq_takes_free(&all);
    return st;
}

/* The process that measures. */

static pq_status start(const head *h, const float *events, timed *m, pq_err *err)
{
    const pq_caller_options how = {
        .engine = m->engine, .batch = h->batch, .threads = h->threads};
    pq_graph *graph = NULL;
    pq_status st;

    PQ_TRY(pq_model_load(m->path, NULL, &graph, err));
    PQ_TRY(pq_graph_check(graph, err));
    if (h->logits) {
        pq_graph_leave_softmax(graph);
    }
    PQ_TRY(pq_caller_open(graph, &how, &m->caller, err));
    m->caller.in       = events;
    m->caller.n_inputs = h->n_inputs;
    PQ_TRY(pq_caller_try(&m->caller, err));
cleanup:
    pq_graph_free(&graph);
    return st;
}

static pq_status measure(FILE *from, FILE *to, pq_err *err)
{
    head        h        = {0};
    timed      *models   = NULL;
    pq_variant *variants = NULL;
    float      *events   = NULL;
    char       *shift    = NULL; /* moves what comes behind it in the heap */
    pq_takes    takes    = {0};
    pq_status   st;

    PQ_CHECK(get(from, &h, 1, sizeof h) && h.bytes == sizeof h, PQ_ERR_FORMAT,
             "what is to be timed cannot be read");
    PQ_NEW(shift, h.heap);
    PQ_NEW(models, h.n);
    PQ_NEW(variants, h.n);
    for (size_t i = 0; i < h.n; i++) {
        PQ_TRY(get_text(from, &models[i].path, err));
        PQ_TRY(get_text(from, &models[i].engine, err));
    }
    PQ_NEW(events, h.n_inputs * h.batch * h.item);
    PQ_CHECK(get(from, events, h.n_inputs * h.batch * h.item, sizeof *events),
             PQ_ERR_FORMAT, "events cannot be read");
    for (size_t i = 0; i < h.n; i++) {
        PQ_TRY(start(&h, events, &models[i], err));
        variants[i] = pq_caller_variant(&models[i].caller);
    }
    PQ_TRY(pq_latency_take(variants, h.n, &h.how, h.seed, NULL, &takes, err));
    st = PQ_OK;
    put(to, &st, 1, sizeof st);
    put_takes(to, &takes);
cleanup:
    for (size_t i = 0; models != NULL && i < h.n; i++) {
        pq_caller_close(&models[i].caller);
        pq_free(models[i].path);
        pq_free(models[i].engine);
    }
    pq_takes_free(&takes);
    pq_free(models);
    pq_free(variants);
    pq_free(events);
    pq_free(shift);
    return st;
}

/* A descriptor that was handed over: a file without a name. */
static FILE *taken_over(const char *text)
{
    int64_t number;
    FILE *f = pq_parse_int(text, &number) && number > STDERR_FILENO && number < (1 << 20)
                  ? fdopen((int)number, "r+b")
                  : NULL;

    if (f != NULL) {
        rewind(f);
    }
    return f;
}

int pq_timing_process_main(int n, char *const *arguments)
{
    FILE     *from = n == 2 ? taken_over(arguments[0]) : NULL;
    FILE     *to   = n == 2 ? taken_over(arguments[1]) : NULL;
    pq_err    why  = {0};
    pq_status st   = PQ_ERR_CONFIG;

    if (from == NULL || to == NULL) {
        (void)fprintf(stderr,
                      "pquant: error: %s is for the program itself, which measures "
                      "in processes of its own with it\n",
                      pq_timing_word);
    } else {
        st = measure(from, to, &why);
        if (st != PQ_OK) {
            rewind(to);
            put(to, &st, 1, sizeof st);
            put(to, why.message, 1, sizeof why.message);
        }
        st = fflush(to) != 0 || ferror(to) != 0 ? PQ_ERR_IO : st;
    }
    if (from != NULL) {
        (void)fclose(from);
    }
    if (to != NULL) {
        (void)fclose(to);
    }
    return pq_status_exit_code(st);
}

/* The process that waits. */

typedef struct {
    const char  *program;
    char *const *arguments, *const *environment;
} start_of;

/* In the child, after fork: nothing but what is safe there. */
static pq_status become(void *context, pq_err *err)
{
    const start_of *s = context;

    (void)execve(s->program, s->arguments, s->environment);
    return pq_err_set(err, PQ_ERR_IO, __FILE__, __LINE__, "%s: cannot be started: %s",
                      s->program, strerror(errno));
}

/* This environment and a text of so many bytes, which shifts the stack. */
static pq_status environment_of(size_t bytes, char ***out, char **shift, pq_err *err)
{
    static const char name[] = "PQUANT_STACK_SHIFT=";
    size_t            n      = 0;
    pq_status         st;

    while (environ[n] != NULL) {
        n++;
    }
    PQ_NEW(*shift, sizeof name + bytes);
    memcpy(*shift, name, sizeof name - 1);
    memset(*shift + sizeof name - 1, 'x', bytes);
    PQ_NEW(*out, n + 2);
    memcpy(*out, environ, n * sizeof **out);
    (*out)[n] = *shift;
cleanup:
    return st;
}

static pq_status send(const pq_timing_job *job, size_t heap, FILE *to, pq_err *err)
{
    const head h = {.bytes    = sizeof h,
                    .n        = job->n,
                    .batch    = job->batch,
                    .threads  = job->threads,
                    .n_inputs = job->n_inputs,
                    .item     = job->item,
                    .heap     = heap,
                    .seed     = job->seed,
                    .how      = job->how,
                    .logits   = job->logits};
    pq_status  st;

    put(to, &h, 1, sizeof h);
    for (size_t i = 0; i < job->n; i++) {
        put_text(to, job->models[i].path);
        put_text(to, job->models[i].engine);
    }
    put(to, job->events, job->n_inputs * job->batch * job->item, sizeof *job->events);
    PQ_CHECK(fflush(to) == 0 && ferror(to) == 0, PQ_ERR_IO,
             "a file for a process that measures cannot be written: %s", strerror(errno));
cleanup:
    return st;
}

/* What it answered; a process that died has not. */
static pq_status receive(const pq_timing_job *job, FILE *from, pq_worker_state *state,
                         const pq_err *why, pq_takes *out, pq_err *err)
{
    char      message[sizeof why->message] = "";
    pq_status said                         = PQ_OK, st;

    rewind(from);
    if (*state == PQ_WORKER_OK) {
        PQ_CHECK(get(from, &said, 1, sizeof said) && said == PQ_OK, PQ_ERR_FORMAT,
                 "samples cannot be read");
        return get_takes(from, job->n, out, err);
    }
    if (get(from, &said, 1, sizeof said) && said != PQ_OK &&
        get(from, message, 1, sizeof message)) {
        *state = said == PQ_ERR_NOMEM ? PQ_WORKER_OOM : PQ_WORKER_FAILED;
        message[sizeof message - 1] = '\0';
        PQ_FAIL(said, "%s", message);
    }
    PQ_FAIL(why->code, "%s", why->message);
cleanup:
    return st;
}

pq_status pq_timing_process_run(const pq_timing_job *job, pq_takes *out,
                                pq_worker_state *state, pq_err *err)
{
    FILE            *question = pq_file_scratch(), *answer = pq_file_scratch();
    unsigned         drawn[2] = {0, 0};
    char             in[16] = "", back[16] = "", word[sizeof pq_timing_word];
    char            *arguments[] = {(char *)job->program, word, in, back, NULL};
    char           **environment = NULL, *shift = NULL;
    pq_worker        worker = {0};
    const pq_worker *at     = &worker;
    pq_err           why    = {0};
    pq_status        st;

    *state = PQ_WORKER_IDLE;
    PQ_CHECK(question != NULL && answer != NULL, PQ_ERR_IO,
             "a file for a process that measures cannot be made: %s", strerror(errno));
    (void)getrandom(drawn, sizeof drawn, 0); /* without it all have one shift */
    memcpy(word, pq_timing_word, sizeof word);
    (void)snprintf(in, sizeof in, "%d", fileno(question));
    (void)snprintf(back, sizeof back, "%d", fileno(answer));
    PQ_TRY(send(job, drawn[0] % (HEAP_MOST / LINE) * LINE, question, err));
    PQ_TRY(environment_of(drawn[1] % STACK_MOST, &environment, &shift, err));
    PQ_TRY(pq_worker_start(&worker, become,
                           &(start_of){job->program, arguments, environment},
                           (pq_worker_limits){0}, err));
    while ((*state = pq_worker_poll(&worker, &why)) == PQ_WORKER_RUNNING) {
        pq_workers_wait(&at, 1, 1.0);
    }
    st = receive(job, answer, state, &why, out, err);
    if (st != PQ_OK && *state == PQ_WORKER_OK) { /* it ended well, and said nothing */
        *state = PQ_WORKER_FAILED;
    }
cleanup:
    if (question != NULL) {
        (void)fclose(question);
    }
    if (answer != NULL) {
        (void)fclose(answer);
    }
    pq_free(environment);
    pq_free(shift);
    return st;
}
