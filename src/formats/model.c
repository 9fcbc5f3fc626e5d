#include "formats/model.h"

#include <stdlib.h>
#include <string.h>

#include "core/budget.h"
#include "core/file.h"
#include "core/foreign.h"
#include "formats/ways.h"
#include "io/hdf5.h"

#define X(word) extern const pq_model_format pq_model_format_##word;
#include "formats/formats.def"
#undef X

const pq_model_format *const pq_formats[] = {
#define X(word) &pq_model_format_##word,
#include "formats/formats.def"
#undef X
    NULL,
};

static pq_status unknown(const char *path, pq_err *err)
{
    const char *what, *way;
    pq_text     known = {0};
    pq_status   st;

    if (pq_way_folder(path, &what, &way)) {
        st = pq_err_set(err, PQ_ERR_UNSUPPORTED, __FILE__, __LINE__,
                        "%s: is %s, which is not read", path, what);
        pq_err_hint(err, "%s", way);
        return st;
    }
    for (size_t i = 0; pq_formats[i] != NULL; i++) {
        pq_text_add(&known, "%s%s", i == 0 ? "" : ", ", pq_formats[i]->name);
    }
    st = pq_err_set(err, PQ_ERR_FORMAT, __FILE__, __LINE__,
                    "%s: is not a model in a known format (%s)", path, known.text);
    if (pq_foreign_way(path, true) != NULL) {
        pq_err_hint(err, "%s", pq_foreign_way(path, true));
    }
    pq_text_free(&known);
    return st;
}

pq_status pq_model_load_as(const pq_model_format *format, const char *path,
                           const char *arch, const char *output, pq_graph **out,
                           pq_err *err)
{
    pq_status st;

    PQ_CHECK(output == NULL || format->load_output != NULL, PQ_ERR_CONFIG,
             "%s: a model of format '%s' has one output, and '%s' is chosen of several",
             path, format->name, output);
    return output != NULL ? format->load_output(path, arch, output, out, err)
                          : format->load(path, arch, out, err);
cleanup:
    return st;
}

static pq_status load_any(const char *path, const char *arch, const char *output,
                          pq_graph **out, pq_err *err)
{
    const pq_model_format *format = NULL;
    pq_graph              *graph  = NULL;
    pq_h5                 *held   = NULL; /* opened once for all that look at it */
    pq_status              st;

    PQ_TRY(pq_file_check(path, err));
    PQ_TRY(pq_h5_hold(path, &held, err));
    for (size_t i = 0; format == NULL && pq_formats[i] != NULL; i++) {
        format = pq_formats[i]->recognises(path) ? pq_formats[i] : NULL;
    }
    if (format == NULL) {
        PQ_TRY(unknown(path, err));
    }
    PQ_TRY(pq_model_load_as(format, path, arch, output, &graph, err));
    st = pq_graph_check(graph, err);
    if (st != PQ_OK) {
        pq_err_context(err, "%s", path);
        goto cleanup;
    }
    *out  = graph;
    graph = NULL;
cleanup:
    pq_h5_close(&held);
    pq_graph_free(&graph);
    return st;
}

pq_status pq_model_load_output(const char *path, const char *arch, const char *output,
                               pq_graph **out, pq_err *err)
{
    pq_budget budget;

    pq_budget_start(&budget, path);
    return pq_budget_end(&budget, path, load_any(path, arch, output, out, err), err);
}

pq_status pq_model_load(const char *path, const char *arch, pq_graph **out, pq_err *err)
{
    return pq_model_load_output(path, arch, NULL, out, err);
}

pq_status pq_model_choose(size_t n, const char *const *names, const char *given,
                          size_t *out, pq_err *err)
{
    const bool          digit  = given != NULL && given[0] >= '0' && given[0] <= '9';
    char               *end    = NULL;
    const unsigned long number = digit ? strtoul(given, &end, 10) : 0;
    pq_text             list   = {0};
    size_t              found  = 0;
    pq_status           st;

    for (size_t i = 0; i < n; i++) {
        const char *name = names[i] != NULL ? names[i] : "";
        pq_text_add(&list, "%s%s", i == 0 ? "" : ", ", name);
        if (given == NULL || strcmp(name, given) == 0) {
            *out = i;
            found++;
        }
    }
    if (found == 0 && digit && *end == '\0' && number < n) {
        *out  = (size_t)number;
        found = 1;
    }
    if (found == 1) {
        st = PQ_OK;
        goto cleanup;
    }
    if (given == NULL) {
        st = pq_err_set(err, PQ_ERR_CONFIG, __FILE__, __LINE__,
                        "the model has %zu outputs (%s); one is read", n, list.text);
        pq_err_hint(err,
                    "choose one with --output-layer NAME, `output_layer:` of the model "
                    "in a configuration, or pquant_model_load_output()");
        goto cleanup;
    }
    PQ_CHECK(found > 1, PQ_ERR_CONFIG, "'%s' is none of the model's outputs: %s", given,
             list.text);
    PQ_FAIL(PQ_ERR_CONFIG,
            "'%s' is the name of several outputs (%s): give the number of one, from 0 on",
            given, list.text);
cleanup:
    pq_text_free(&list);
    return st;
}

pq_status pq_model_check_path(const char *path, pq_err *err)
{
    static const char *const others[] = {".onnx", ".keras",       ".pt", ".pth",
                                         ".th",   ".safetensors", ".npz"};
    const char              *ending   = strrchr(path, '.');
    pq_status                st       = PQ_OK;

    for (size_t i = 0; ending != NULL && i < sizeof others / sizeof *others; i++) {
        if (strcmp(ending, others[i]) == 0) {
            st = pq_err_set(err, PQ_ERR_CONFIG, __FILE__, __LINE__,
                            "%s: %s is the ending of another format; models are written "
                            "in pquant's own, as .h5",
                            path, ending);
            pq_err_hint(err, "'pquant model convert' writes one for other programs");
            break;
        }
    }
    return st;
}

pq_status pq_model_save(const pq_graph *graph, const char *path, pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_model_check_path(path, err));
    PQ_TRY(pq_formats[0]->save(graph, path, err));
cleanup:
    return st;
}
