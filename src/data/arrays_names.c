/* Which arrays are the events, the labels and the weights of which split. */
#include <string.h>
#include <strings.h>

#include "core/memory.h"
#include "core/text.h"
#include "data/arrays.h"

/* What parts of a name are called. */
static const char *const events[]  = {"x", NULL};
static const char *const labels[]  = {"y", NULL};
static const char *const weights[] = {"weight", "weights", "w", NULL};

static const char separators[] = "_-. /";

/* A part of a name. */
typedef struct {
    size_t first, n;
} part;

/* The part that is one of the words, in any case. */
static bool find_part(const char *name, const char *const *words, part *out)
{
    for (size_t at = 0; name[at] != '\0';) {
        const size_t n = strcspn(name + at, separators);
        for (size_t i = 0; words[i] != NULL; i++) {
            if (strlen(words[i]) == n && strncasecmp(name + at, words[i], n) == 0) {
                *out = (part){at, n};
                return true;
            }
        }
        at += n + (name[at + n] != '\0' ? 1 : 0);
    }
    return false;
}

/* What a name says beside that part: "train" of "X_train" and "train/x". */
static char *rest_of(const char *name, const part *p)
{
    const char  *behind = name + p->first + p->n;
    const size_t before = p->first > 0 ? p->first - 1 : 0;
    char        *rest;

    behind += *behind != '\0' ? 1 : 0;
    rest = pq_format("%.*s%s%s", (int)before, name,
                     before > 0 && *behind != '\0' ? "_" : "", behind);
    for (char *c = rest; c != NULL && *c != '\0'; c++) {
        *c = strchr(separators, *c) != NULL ? '_' : *c;
    }
    return rest;
}

/* The array that is called as `name`, with another word in place of "x". */
static const char *partner(const pq_arrays *a, const char *name, const char *const *words)
{
    part x;

    if (!find_part(name, events, &x)) {
        return NULL;
    }
    for (size_t i = 0; words[i] != NULL; i++) {
        for (size_t k = 0; k < a->n; k++) {
            const char *other = a->names[k];
            part        p;
            if (find_part(other, words, &p) && p.first == x.first &&
                strncmp(other, name, p.first) == 0 && strlen(words[i]) == p.n &&
                strncasecmp(other + p.first, words[i], p.n) == 0 &&
                strcmp(other + p.first + p.n, name + x.first + x.n) == 0) {
                return other;
            }
        }
    }
    return NULL;
}

/* "NAME", or "train=NAME,test=NAME": that of a split, without .npy, or NULL. */
static pq_status named(const char *option, const char *split, char **out, pq_err *err)
{
    char    **pairs = NULL;
    size_t    n     = 0;
    pq_status st;

    *out = NULL;
    PQ_TRY(pq_texts_split(option, &pairs, &n, err));
    for (size_t i = 0; i < n && *out == NULL; i++) {
        char  *equal  = strchr(pairs[i], '=');
        size_t length = strlen(pairs[i]);
        if (length > 4 && strcmp(pairs[i] + length - 4, ".npy") == 0) {
            pairs[i][length - 4] = '\0';
        }
        if (equal != NULL) {
            *equal = '\0';
        }
        if (strcmp(equal != NULL ? pairs[i] : "", split) == 0) {
            PQ_STRDUP(*out, equal != NULL ? equal + 1 : pairs[i]);
        }
    }
cleanup:
    pq_texts_free(&pairs, n);
    return st;
}

static pq_status add_split(const char *split, const char *x, pq_array_names *out,
                           size_t *n, pq_err *err)
{
    pq_status st;

    PQ_CHECK(*n < PQ_SOURCE_SPLITS, PQ_ERR_FORMAT, "has more than %d splits",
             PQ_SOURCE_SPLITS);
    for (size_t i = 0; i < *n; i++) {
        PQ_CHECK(strcmp(out[i].split, split) != 0, PQ_ERR_CONFIG,
                 "arrays '%s' and '%s' would both be the events of split '%s': name one "
                 "with x",
                 out[i].x, x, split);
    }
    (*n)++;
    PQ_STRDUP(out[*n - 1].split, split);
    PQ_STRDUP(out[*n - 1].x, x);
cleanup:
    return st;
}

/* The splits of an option, "NAME" or "train=NAME,test=NAME". */
static pq_status splits_of(const char *option, pq_array_names *out, size_t *n,
                           pq_err *err)
{
    char    **pairs = NULL, *x = NULL;
    size_t    count = 0;
    pq_status st;

    PQ_TRY(pq_texts_split(option, &pairs, &count, err));
    for (size_t i = 0; i < count; i++) {
        char *equal = strchr(pairs[i], '=');
        PQ_CHECK((equal != NULL ? equal[1] : pairs[i][0]) != '\0' &&
                     (equal != NULL || count == 1),
                 PQ_ERR_CONFIG,
                 "x '%s' is neither one name nor split=name,split=name, e.g. "
                 "train=X_train,test=X_test",
                 option);
        if (equal != NULL) {
            *equal = '\0';
        }
        pq_free(x);
        x = NULL;
        PQ_TRY(named(option, equal != NULL ? pairs[i] : "", &x, err));
        PQ_TRY(add_split(equal != NULL ? pairs[i] : "", x, out, n, err));
    }
cleanup:
    pq_texts_free(&pairs, count);
    pq_free(x);
    return st;
}

/* All arrays that are called x, in the usual order of splits. */
static pq_status look(const pq_arrays *a, pq_array_names *out, size_t *n, pq_err *err)
{
    static const char *const usual[] = {"", "train", "val", "validation", "test"};
    const size_t             n_usual = sizeof usual / sizeof *usual;
    char                    *split   = NULL;
    pq_status                st      = PQ_OK;

    for (size_t k = 0; k <= n_usual; k++) {
        for (size_t i = 0; i < a->n; i++) {
            bool is_usual = false;
            part p;
            if (!find_part(a->names[i], events, &p)) {
                continue;
            }
            pq_free(split);
            split = rest_of(a->names[i], &p);
            PQ_CHECK(split != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
            for (size_t u = 0; u < n_usual; u++) {
                is_usual = is_usual || strcmp(split, usual[u]) == 0;
            }
            if (k < n_usual ? strcmp(split, usual[k]) == 0 : !is_usual) {
                PQ_TRY(add_split(split, a->names[i], out, n, err));
            }
        }
    }
cleanup:
    pq_free(split);
    return st;
}

/* Labels or weights of a split: what the option names, else what stands beside x. */
static pq_status beside(const pq_arrays *a, const char *option, const char *const *words,
                        const pq_array_names *of, char **out, pq_err *err)
{
    const char *found;
    pq_status   st = PQ_OK;

    if (option != NULL) {
        return named(option, of->split, out, err);
    }
    found = partner(a, of->x, words);
    if (found != NULL) {
        PQ_STRDUP(*out, found);
    }
cleanup:
    return st;
}

static pq_status refuse(const pq_arrays *a, const char *what, pq_err *err)
{
    pq_text         all = {0};
    const pq_status st  = PQ_ERR_FORMAT;

    pq_arrays_tell(a, &all);
    (void)pq_err_set(err, st, __FILE__, __LINE__, "%s: %s; its arrays are %s", a->path,
                     what, all.text != NULL ? all.text : "none");
    pq_err_hint(err, "name them: --x NAME --y NAME [--weight NAME], of several splits "
                     "--x train=NAME,test=NAME --y …, or `x:`, `y:`, `weight:` of the "
                     "dataset in a configuration (docs/file-formats.md)");
    pq_text_free(&all);
    return st;
}

/* A name of an option that no split took would be passed over in silence: one of another
 * split, or a second one. */
static pq_status check_splits(const char *what, const char *option,
                              const pq_array_names *names, size_t n, pq_err *err)
{
    bool      taken[PQ_SOURCE_SPLITS] = {false};
    char    **pairs                   = NULL;
    size_t    count                   = 0;
    pq_status st                      = PQ_OK;

    if (option == NULL || strcmp(option, "none") == 0) {
        return PQ_OK;
    }
    PQ_TRY(pq_texts_split(option, &pairs, &count, err));
    for (size_t i = 0; i < count; i++) {
        char       *equal = strchr(pairs[i], '=');
        const char *split = equal != NULL ? pairs[i] : "";
        size_t      k     = 0;
        if (equal != NULL) {
            *equal = '\0';
        }
        while (k < n && strcmp(names[k].split, split) != 0) {
            k++;
        }
        PQ_CHECK(k < n, PQ_ERR_CONFIG,
                 "%s '%s' names split '%s', of which x names no events", what, option,
                 split);
        PQ_CHECK(!taken[k], PQ_ERR_CONFIG, "%s '%s' names two arrays of split '%s'", what,
                 option, split);
        taken[k] = true;
    }
cleanup:
    pq_texts_free(&pairs, count);
    return st;
}

pq_status pq_array_names_find(const pq_arrays *a, const pq_dataset_options *options,
                              const char *own, pq_array_names *out, size_t *n,
                              pq_err *err)
{
    const bool weighted = options->weight == NULL || strcmp(options->weight, "none") != 0;
    pq_status  st;

    if (options->x != NULL) {
        PQ_TRY(splits_of(options->x, out, n, err));
    } else if (own != NULL) {
        PQ_TRY(add_split("", own, out, n, err));
    } else {
        PQ_TRY(look(a, out, n, err));
    }
    if (*n == 0) {
        return refuse(a, "none of its arrays is called x", err);
    }
    PQ_TRY(check_splits("y", options->y, out, *n, err));
    PQ_TRY(check_splits("weight", options->weight, out, *n, err));
    for (size_t i = 0; i < *n; i++) {
        PQ_TRY(beside(a, options->y, labels, &out[i], &out[i].y, err));
        if (out[i].y == NULL && !options->unlabelled) {
            char *what = pq_format("no labels are beside the events '%s'", out[i].x);
            st         = refuse(a, what != NULL ? what : "no labels", err);
            pq_free(what);
            return st;
        }
        if (weighted) {
            PQ_TRY(beside(a, options->weight, weights, &out[i], &out[i].weight, err));
        }
    }
cleanup:
    return st;
}

void pq_array_names_free(pq_array_names *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        pq_free(names[i].split);
        pq_free(names[i].x);
        pq_free(names[i].y);
        pq_free(names[i].weight);
        names[i] = (pq_array_names){0};
    }
}
