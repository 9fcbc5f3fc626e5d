/* Models: what loads is counted, saved, loaded again and the same. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/hash.h"
#include "core/memory.h"
#include "formats/model.h"
#include "formats/state.h"
#include "formats/torch_storage.h"
#include "targets.h"

void fuzz_broken(const char *what, const pq_err *err)
{
    (void)fprintf(stderr, "FALL: %s: %s\n", what, err->message);
    abort();
}

static pq_status there_and_back(const fuzz_input *in, const pq_graph *graph, pq_err *err)
{
    pq_graph *again = NULL;
    char      path[512], a[PQ_HASH_TEXT], b[PQ_HASH_TEXT];
    pq_status st;

    (void)fuzz_path(in, "again.h5", path, sizeof path);
    PQ_TRY(pq_graph_hash(graph, a, err));
    PQ_TRY(pq_model_save(graph, path, err));
    PQ_TRY(pq_model_load(path, NULL, &again, err));
    PQ_TRY(pq_graph_hash(again, b, err));
    PQ_CHECK(strcmp(a, b) == 0, PQ_ERR_FORMAT, "another model came back");
cleanup:
    pq_graph_free(&again);
    return st;
}

static pq_status load(const fuzz_input *in, const char *arch, pq_err *err)
{
    pq_graph *graph   = NULL;
    size_t    nonzero = 0;
    pq_err    why     = {0};
    pq_status st;

    PQ_TRY(pq_model_load(in->first, arch, &graph, err));
    (void)pq_graph_parameters(graph, (pq_count_rule){true, true, true}, &nonzero);
    (void)pq_graph_macs(graph);
    (void)pq_graph_stored_bytes(graph);
    if (there_and_back(in, graph, &why) != PQ_OK) {
        fuzz_broken("a model that was loaded is not saved and loaded again", &why);
    }
cleanup:
    pq_graph_free(&graph);
    return st;
}

pq_status fuzz_model(const fuzz_input *in, pq_err *err)
{
    char arch[FUZZ_FIELD], path[512];

    if (fuzz_option(in, "arch", arch) == NULL) {
        return load(in, NULL, err);
    }
    return load(in, fuzz_path(in, arch, path, sizeof path), err);
}

/* All tensors, also those that no network has a place for. */
static pq_status every_tensor(const char *path, pq_err *err)
{
    char         *bytes = NULL;
    size_t        n     = 0;
    pq_torch_file f     = {0};
    pq_tensor    *t     = NULL;
    pq_status     st;

    PQ_TRY(pq_file_read(path, 1 << 24, &bytes, &n, err));
    PQ_TRY(pq_torch_parse((uint8_t *)bytes, n, false, &f, err));
    for (size_t i = 0; i < f.pickle.n; i++) {
        if (f.pickle.values[i].type == PQ_PICKLE_TENSOR &&
            pq_torch_tensor(&f, &f.pickle.values[i], NULL, &t, err) == PQ_OK) {
            pq_tensor_free(&t);
        }
    }
cleanup:
    pq_torch_free(&f);
    pq_free(bytes);
    return st;
}

pq_status fuzz_torch(const fuzz_input *in, pq_err *err)
{
    char arch[FUZZ_FIELD];

    if (fuzz_option(in, "arch", arch) == NULL) {
        return every_tensor(in->first, err);
    }
    return load(in, arch, err);
}

/* Beside a YAML of layers where the input has one, else as a network of the zoo; and the
 * template that is made of it. */
pq_status fuzz_state(const fuzz_input *in, pq_err *err)
{
    char    arch[FUZZ_FIELD] = "jsc-mlp", path[512];
    pq_text text             = {0};

    (void)pq_state_template_of(in->first, &text, NULL);
    pq_text_free(&text);
    if (fuzz_option(in, "arch", arch) == NULL) {
        return load(in, "jsc-mlp", err);
    }
    return load(in, fuzz_path(in, arch, path, sizeof path), err);
}
