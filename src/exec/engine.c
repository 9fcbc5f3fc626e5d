#include "exec/engine.h"

#include <string.h>

#include "kernels/cpu.h"

#define X(word) extern const pq_engine pq_engine_##word;
#include "exec/engines.def"
#undef X

static const pq_engine *const engines[] = {
#define X(word) &pq_engine_##word,
#include "exec/engines.def"
#undef X
};

const char *const pq_engine_names[] = {
#define X(word) #word,
#include "exec/engines.def"
#undef X
    NULL,
};

const char *const pq_engine_choices[] = {
    "auto",
#define X(word) #word,
#include "exec/engines.def"
#undef X
    "blas",
    "onednn",
    NULL,
};

const char *pq_engine_named(const char *name)
{
    return strcmp(name, "blas") == 0     ? "float32"
           : strcmp(name, "onednn") == 0 ? "int8"
                                         : name;
}

enum { ENGINES = sizeof engines / sizeof engines[0] };

pq_status pq_engine_find(const char *name, const pq_engine **out, pq_err *err)
{
    pq_text     list = {0};
    const char *near;
    pq_status   st = pq_cpu_check_cap(err);

    if (st != PQ_OK) {
        return st;
    }
    name = pq_engine_named(name);
    for (size_t i = 0; i < ENGINES; i++) {
        if (strcmp(engines[i]->name, name) == 0) {
            *out = engines[i];
            return PQ_OK;
        }
    }
    for (size_t i = 0; i < ENGINES; i++) {
        pq_text_add(&list, "%s%s", i == 0 ? "" : ", ", engines[i]->name);
    }
    near = pq_nearest(name, pq_engine_names, ENGINES);
    st   = pq_err_set(err, PQ_ERR_UNSUPPORTED, __FILE__, __LINE__,
                      "unknown engine '%s'; this build has %s", name,
                    list.failed ? "others" : list.text);
    if (near != NULL) {
        pq_err_hint(err, "did you mean '%s'?", near);
    }
    pq_text_free(&list);
    return st;
}
