/* Nets as generated C, compiled in batches and loaded, beside the engine `integer`. */
#ifndef TESTS_CODEGEN_WHOLE_CHECK_H
#define TESTS_CODEGEN_WHOLE_CHECK_H

#include <dlfcn.h>
#include <sys/stat.h>

#include "codegen/whole_nets.h"
#include "core/file.h"

enum { BATCH = 15 /* nets that are compiled in one go */ };

/* Whether the last layer has no whole form: the answer is float32 then. */
static inline bool ends_in_floats(const pq_graph *g)
{
    const pq_node *last = &g->nodes[g->output];

    return last->quant == NULL && pq_layer_weight(last->layer, "kernel") == NULL;
}

static inline void compare(const made *m, const float *x, const float *y, size_t n)
{
    const size_t width = items_of(&m->graph->nodes[m->graph->output].shape);
    float       *due   = run_graph(m->graph, "integer", n, n, x);
    const bool   exact = !ends_in_floats(m->graph);

    for (size_t i = 0; i < n * width; i++) {
        const double apart = fabs((double)y[i] - (double)due[i]);
        cr_assert(y[i] == due[i] || (isnan(y[i]) && isnan(due[i])) ||
                      (!exact && apart <= 1e-5 * fmax(1.0, fabs((double)due[i]))),
                  "seed %llu: output %zu is %.9g, not %.9g", (unsigned long long)m->seed,
                  i, (double)y[i], (double)due[i]);
    }
    pq_free(due);
}

/* With all variants up to a set. */
static inline void write_net(const made *m, size_t number, pq_codegen_isa isa)
{
    char               name[16], path[96];
    pq_codegen_summary summary;

    (void)snprintf(name, sizeof name, "net%zu", number);
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    OK(pq_codegen_write(m->graph, name, isa, path, &summary, &err));
}

static inline void write_text(size_t number, const char *end, pq_text *text)
{
    char path[96];

    (void)snprintf(path, sizeof path, "%s/net%zu/net%zu.%s", folder, number, number, end);
    OK(pq_file_write(path, text->text, text->length, &err));
    pq_text_free(text);
}

/* With the variant that runs here, and no other: a third of the time to compile. */
static inline void write_here(const made *m, size_t number, pq_codegen_isa isa)
{
    char               name[16], path[96];
    pq_text            header = {0}, source = {0};
    pq_codegen_summary summary;

    (void)snprintf(name, sizeof name, "net%zu", number);
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    cr_assert_eq(mkdir(path, 0700), 0);
    OK(pq_codegen_here(m->graph, name, isa, &header, &source, &summary, &err));
    write_text(number, "h", &header);
    write_text(number, "c", &source);
}

#define FLAGS                                                                            \
    "-std=gnu11 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wcast-align "            \
    "-Wcast-qual -Werror -fPIC"

/* Compiles the system's header of intrinsics once for the whole folder: read anew it
 * takes longer than most nets. */
static inline void compile_header(const char *options)
{
    char command[512];

    (void)snprintf(command, sizeof command,
                   "cd '%s' && { [ -d h%s ] || { mkdir h%s && { echo '#if defined "
                   "__x86_64__'; echo '#include <immintrin.h>'; echo '#endif'; } "
                   "> h%s/intrinsics.h && ${CC:-cc} " FLAGS
                   " %s -x c-header h%s/intrinsics.h; }; }",
                   folder, options, options, options, options, options);
    cr_assert_eq(system(command), 0, "%s", command);
}

/* Compiles net0 .. net<n-1> into one object, runs all, and forgets them. */
static inline void check_batch(made *nets, size_t n, const char *options)
{
    char   command[512], name[32];
    void  *object;
    float *x = pq_calloc(EVENTS * ITEMS, sizeof *x),
          *y = pq_calloc(EVENTS * ITEMS, sizeof *y);

    compile_header(options);
    (void)snprintf(command, sizeof command,
                   "cd '%s' && ${CC:-cc} " FLAGS
                   " %s -Ih%s -include intrinsics.h -shared "
                   "net*/net*[0-9].c -o nets.so -lm",
                   folder, options, options);
    cr_assert_eq(system(command), 0, "seed %llu and on: %s",
                 (unsigned long long)nets[0].seed, command);
    (void)snprintf(command, sizeof command, "%s/nets.so", folder);
    object = dlopen(command, RTLD_NOW | RTLD_LOCAL);
    cr_assert_not_null(object, "%s", dlerror());
    for (size_t i = 0; i < n; i++) {
        net t = {.rng = pq_rng_stream(nets[i].seed, "events"), .graph = nets[i].graph};
        void (*run)(const float *, float *, size_t);
        (void)snprintf(name, sizeof name, "net%zu_runN", i);
        *(void **)&run = dlsym(object, name);
        cr_assert_not_null(*(void **)&run);
        hard_values(&t, EVENTS * items_of(&t.graph->nodes[0].shape), x);
        run(x, y, EVENTS);
        compare(&nets[i], x, y, EVENTS);
        pq_graph_free(&nets[i].graph);
    }
    cr_assert_eq(dlclose(object), 0);
    (void)snprintf(command, sizeof command, "rm -rf '%s'/net*", folder);
    cr_assert_eq(system(command), 0);
    pq_free(x);
    pq_free(y);
}

#endif
