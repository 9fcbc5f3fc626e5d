#define _GNU_SOURCE
#include "codegen/loaded.h"

#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "codegen/codegen.h"
#include "codegen/compiler.h"
#include "codegen/objects.h"
#include "codegen/verify.h"
#include "core/file.h"
#include "core/memory.h"
#include "core/temporary.h"
#include "kernels/cpu.h"

static const char name[] = "generated";

/* What is compiled, and what it is told by. Owns its texts. */
typedef struct {
    pq_text            header, source;
    pq_codegen_summary summary;
    char               key[PQ_HASH_TEXT];
} model;

static void model_free(model *m)
{
    pq_text_free(&m->header);
    pq_text_free(&m->source);
}

static pq_codegen_isa highest(void)
{
    switch (pq_cpu_isa()) {
    case PQ_ISA_PORTABLE:
        return PQ_CODEGEN_PORTABLE;
    case PQ_ISA_AVX2:
        return pq_cpu_is_capped() ? PQ_CODEGEN_AVX2 : PQ_CODEGEN_AVXVNNI;
    case PQ_ISA_AVX512:
    case PQ_ISA_COUNT:
        break;
    }
    return PQ_CODEGEN_AMX;
}

/* The key holds everything that the object is made from, and the processor: $CC may make
 * code for that at hand alone (-march=native), where others share the folder. */
static pq_status generate(const pq_graph *graph, model *m, pq_err *err)
{
    static const char *const told[] = {PQ_COMPILER_OPTIONS};
    char                    *by     = NULL;
    char                     cpu[512];
    pq_hash                  hash;
    pq_status                st;

    PQ_TRY(pq_codegen_here(graph, name, highest(), &m->header, &m->source, &m->summary,
                           err));
    PQ_TRY(pq_compiler_identity(&by, err));
    PQ_CHECK(by != NULL, PQ_ERR_UNSUPPORTED,
             "the compiler '%s' cannot be started: there is no such program; generated C "
             "needs one (CC=…)",
             pq_compiler_name());
    pq_hash_start(&hash);
    pq_hash_text(&hash, m->header.text);
    pq_hash_text(&hash, m->source.text);
    pq_hash_text(&hash, by);
    pq_hash_text(&hash, pq_cpu_name(cpu, sizeof cpu));
    pq_hash_text(&hash, pq_cpu_features(cpu, sizeof cpu));
    for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
        pq_hash_text(&hash, told[i]);
    }
    pq_hash_end(&hash, m->key);
cleanup:
    pq_free(by);
    return st;
}

typedef struct {
    const char        *name, *model_hash, *isa;
    size_t             n_features;
    const char *const *features;
    size_t             n_classes;
    const char *const *classes;
} information;

static pq_status load(const char *path, pq_loaded *out, pq_err *err)
{
    information (*info)(void);
    pq_status st = PQ_OK;

    out->object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    PQ_CHECK(out->object != NULL, PQ_ERR_IO, "what was compiled cannot be loaded: %s",
             dlerror());
    *(void **)(void *)&out->one = dlsym(out->object, "generated_run1");
    *(void **)(void *)&out->run = dlsym(out->object, "generated_runN");
    *(void **)(void *)&info     = dlsym(out->object, "generated_info");
    PQ_CHECK(out->one != NULL && out->run != NULL && info != NULL, PQ_ERR_IO,
             "what was compiled does not hold the model");
    (void)snprintf(out->isa, sizeof out->isa, "%s", info().isa);
    out->object_bytes = pq_file_bytes(path);
cleanup:
    return st;
}

static pq_status compile(const model *m, const char *folder, const char *object,
                         pq_err *err)
{
    char     *header = pq_format("%s/%s.h", folder, name);
    char     *source = pq_format("%s/%s.c", folder, name);
    char     *said   = pq_format("%s/said", folder);
    pq_status st;

    PQ_CHECK(header != NULL && source != NULL && said != NULL, PQ_ERR_NOMEM,
             "cannot allocate a path");
    PQ_TRY(pq_file_write_unsynced(header, m->header.text, m->header.length, err));
    PQ_TRY(pq_file_write_unsynced(source, m->source.text, m->source.length, err));
    PQ_TRY(pq_compiler_run(source, object, said, err));
cleanup:
    pq_free(header);
    pq_free(source);
    pq_free(said);
    return st;
}

static pq_status check(const pq_graph *graph, const model *m, pq_loaded *l, pq_err *err)
{
    l->whole = m->summary.whole;
    return pq_verify(graph, l->one, l->run, m->summary.whole, m->summary.exact, err);
}

/* Compiles in a folder of its own; keeps what has passed. */
static pq_status make(const pq_graph *graph, const model *m, const pq_objects *objects,
                      pq_loaded *out, pq_err *err)
{
    char     *object = NULL, *folder = NULL;
    pq_status st;

    PQ_TRY(pq_folder_temporary(&folder, err));
    object = pq_format("%s/%s.so", folder, name);
    PQ_CHECK(object != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_TRY(compile(m, folder, object, err));
    PQ_TRY(load(object, out, err));
    PQ_TRY(check(graph, m, out, err));
    pq_objects_keep(objects, m->key, object);
cleanup:
    pq_folder_drop(&folder);
    pq_free(object);
    return st;
}

pq_status pq_loaded_open(const pq_graph *graph, pq_loaded *out, pq_err *err)
{
    model      m       = {0};
    pq_objects objects = {.folder = -1};
    pq_loaded  l       = {0};
    char      *known   = NULL;
    pq_status  st;

    PQ_TRY(generate(graph, &m, err));
    PQ_TRY(pq_objects_open(&objects, err));
    known = pq_objects_find(&objects, m.key);
    if (known != NULL && load(known, &l, NULL) == PQ_OK) {
        l.cached = true;
        PQ_TRY(check(graph, &m, &l, err));
    } else {
        pq_loaded_close(&l);
        PQ_TRY(make(graph, &m, &objects, &l, err));
    }
    *out = l;
    l    = (pq_loaded){0};
cleanup:
    pq_loaded_close(&l);
    pq_objects_close(&objects);
    model_free(&m);
    pq_free(known);
    return st;
}

void pq_loaded_close(pq_loaded *l)
{
    if (l->object != NULL) {
        (void)dlclose(l->object);
    }
    *l = (pq_loaded){0};
}

#if defined(__SSE2__)
/* All lines of the segments of the object at one place. */
static int flush_object(struct dl_phdr_info *info, size_t size, void *at)
{
    enum { LINE = 64 };

    (void)size;
    if (info->dlpi_addr != *(const ElfW(Addr) *)at) {
        return 0;
    }
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        const uintptr_t from   = info->dlpi_addr + part->p_vaddr;
        for (uintptr_t line = from & ~(uintptr_t)(LINE - 1);
             part->p_type == PT_LOAD && line < from + part->p_memsz; line += LINE) {
            _mm_clflush((const void *)line); // NOLINT
        }
    }
    return 1;
}
#endif

void pq_loaded_flush(const pq_loaded *l)
{
#if defined(__SSE2__)
    struct link_map *map = NULL;

    if (dlinfo(l->object, RTLD_DI_LINKMAP, &map) == 0 && map != NULL) {
        ElfW(Addr) at = map->l_addr;
        (void)dl_iterate_phdr(flush_object, &at);
        _mm_mfence();
    }
#else
    (void)l;
#endif
}
