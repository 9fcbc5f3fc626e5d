#include <string.h>

#include "cli/verb.h"
#include "core/memory.h"
#include "exec/rescale.h"
#include "formats/model.h"

/* One option as given. */
typedef struct {
    const pq_option *option;
    const char      *value; /* "" for a flag */
} given;

struct pq_args {
    const pq_verb *verb;
    size_t         n_given;
    given         *given;
    size_t         n_positional;
    const char   **positional;
    const char *
        *values; /* [n_given] values grouped by option, each group in the order given */
    const pq_option **values_of; /* [n_given] the option of each */
};

const pq_option pq_common_options[] = {
    {"help", 'h', NULL, false, NULL, "print this help and exit"},
    {"quiet", 'q', NULL, false, NULL, "no progress and no notes"},
    {0},
};

static const pq_option *find_in(const pq_option *table, const char *name, size_t n,
                                char letter)
{
    for (const pq_option *o = table; o != NULL && o->name != NULL; o++) {
        if (letter != 0 ? o->letter == letter
                        : strlen(o->name) == n && strncmp(o->name, name, n) == 0) {
            return o;
        }
    }
    return NULL;
}

static const pq_option *find(const pq_verb *verb, const char *name, size_t n, char letter)
{
    const pq_option *o = find_in(verb->options, name, n, letter);

    return o != NULL ? o : find_in(pq_common_options, name, n, letter);
}

static const char *nearest(const pq_verb *verb, const char *name)
{
    const char *names[64];
    size_t      n = 0;

    for (const pq_option *o = verb->options; o != NULL && o->name != NULL && n < 60;
         o++) {
        names[n++] = o->name;
    }
    for (const pq_option *o = pq_common_options; o->name != NULL; o++) {
        names[n++] = o->name;
    }
    return pq_nearest(name, names, n);
}

static pq_status unknown(const pq_verb *verb, const char *word, pq_err *err)
{
    const char *near = nearest(verb, word + strspn(word, "-"));
    pq_status   st;

    PQ_FAIL(PQ_ERR_CONFIG, "%s: unknown option '%s'%s%s%s", verb->name, word,
            near != NULL ? "; did you mean '--" : "", near != NULL ? near : "",
            near != NULL ? "'?" : "");
cleanup:
    return st;
}

/* Takes the option at argv[*i], and its value behind '=' or in the next word. */
static pq_status take_option(pq_args *a, int argc, char *const *argv, int *i, pq_err *err)
{
    const char  *word    = argv[*i];
    const bool   is_long = word[1] == '-';
    const char  *equal   = is_long ? strchr(word, '=') : NULL;
    const size_t n =
        equal != NULL ? (size_t)(equal - word) - 2 : strlen(word) - 1 - is_long;
    const pq_option *o     = find(a->verb, word + 2, n, is_long ? '\0' : word[1]);
    const char      *value = "";
    pq_status        st    = PQ_OK;

    if (o == NULL) {
        PQ_TRY(unknown(a->verb, word, err));
    }
    if (o->value != NULL) {
        value = equal != NULL ? equal + 1 : !is_long && word[2] != '\0' ? word + 2 : NULL;
        if (value == NULL) {
            PQ_CHECK(*i + 1 < argc, PQ_ERR_CONFIG, "%s: option '%s' needs a value %s",
                     a->verb->name, word, o->value);
            value = argv[++*i];
        }
    } else {
        PQ_CHECK(equal == NULL && (is_long || word[2] == '\0'), PQ_ERR_CONFIG,
                 "%s: option '--%s' takes no value", a->verb->name, o->name);
    }
    a->given[a->n_given++] = (given){o, value};
cleanup:
    return st;
}

static void group_values(pq_args *a)
{
    size_t n = 0;

    for (size_t i = 0; i < a->n_given; i++) {
        bool first = true;
        for (size_t j = 0; j < i; j++) {
            first = first && a->given[j].option != a->given[i].option;
        }
        for (size_t j = i; first && j < a->n_given; j++) {
            if (a->given[j].option == a->given[i].option) {
                a->values_of[n] = a->given[j].option;
                a->values[n++]  = a->given[j].value;
            }
        }
    }
}

pq_status pq_args_parse(const pq_verb *verb, int argc, char *const *argv, pq_args **out,
                        pq_err *err)
{
    pq_args  *a    = NULL;
    bool      only = false; /* after "--" */
    pq_status st;

    PQ_NEW(a, 1);
    a->verb = verb;
    PQ_NEW(a->given, (size_t)argc + 1);
    PQ_NEW(a->positional, (size_t)argc + 1);
    PQ_NEW(a->values, (size_t)argc + 1);
    PQ_NEW(a->values_of, (size_t)argc + 1);
    for (int i = 0; i < argc; i++) {
        if (!only && strcmp(argv[i], "--") == 0) {
            only = true;
        } else if (!only && argv[i][0] == '-' && argv[i][1] != '\0') {
            PQ_TRY(take_option(a, argc, argv, &i, err));
        } else {
            a->positional[a->n_positional++] = argv[i];
        }
    }
    group_values(a);
    if (!pq_args_flag(a, "help")) {
        PQ_CHECK(a->n_positional >= verb->min_args && a->n_positional <= verb->max_args,
                 PQ_ERR_CONFIG, "%s: %zu arguments given; usage: pquant %s [options] %s",
                 verb->name, a->n_positional, verb->name, verb->arguments);
    }
    *out = a;
    a    = NULL;
cleanup:
    pq_args_free(&a);
    return st;
}

void pq_args_free(pq_args **args)
{
    if (*args != NULL) {
        pq_free((*args)->given);
        pq_free((*args)->positional);
        pq_free((*args)->values);
        pq_free((*args)->values_of);
        pq_free(*args);
        *args = NULL;
    }
}

size_t pq_args_count(const pq_args *args)
{
    return args->n_positional;
}

const char *pq_args_get(const pq_args *args, size_t i)
{
    return i < args->n_positional ? args->positional[i] : NULL;
}

const char *const *pq_args_rest(const pq_args *args, size_t from)
{
    return args->positional + from;
}

const char *pq_args_value(const pq_args *args, const char *option)
{
    const pq_option *o = find(args->verb, option, strlen(option), '\0');

    for (size_t i = args->n_given; i > 0; i--) {
        if (args->given[i - 1].option == o) {
            return args->given[i - 1].value;
        }
    }
    return o != NULL ? o->fallback : NULL;
}

const char *const *pq_args_values(const pq_args *args, const char *option, size_t *n)
{
    const pq_option *o   = find(args->verb, option, strlen(option), '\0');
    const char     **run = NULL;

    /* `values` holds the values grouped by option, in the order given. */
    *n = 0;
    for (size_t i = 0; i < args->n_given; i++) {
        if (args->values_of[i] == o) {
            run = *n == 0 ? args->values + i : run;
            (*n)++;
        }
    }
    return run;
}

bool pq_args_flag(const pq_args *args, const char *option)
{
    const pq_option *o = find(args->verb, option, strlen(option), '\0');

    for (size_t i = 0; i < args->n_given; i++) {
        if (args->given[i].option == o) {
            return true;
        }
    }
    return false;
}

pq_status pq_args_size(const pq_args *args, const char *option, size_t lo, size_t hi,
                       size_t *out, pq_err *err)
{
    const char *text  = pq_args_value(args, option);
    int64_t     value = 0;
    pq_status   st;

    PQ_CHECK(text != NULL && pq_parse_int(text, &value) && value >= 0 &&
                 (size_t)value >= lo && (size_t)value <= hi,
             PQ_ERR_CONFIG, "--%s: '%s' is not a whole number in %zu..%zu", option,
             text != NULL ? text : "", lo, hi);
    *out = (size_t)value;
cleanup:
    return st;
}

pq_status pq_args_format(const pq_args *args, const char *allowed, const char **out,
                         pq_err *err)
{
    const char  *format = pq_args_value(args, "format");
    const char  *at     = strstr(allowed, format);
    const size_t n      = strlen(format);
    pq_status    st;

    PQ_CHECK(n > 0 && strchr(format, ' ') == NULL && at != NULL &&
                 (at == allowed || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0'),
             PQ_ERR_CONFIG, "--format: '%s' is not one of: %s", format, allowed);
    *out = format;
cleanup:
    return st;
}

pq_status pq_args_model(const pq_args *args, size_t at, pq_graph **out, pq_err *err)
{
    return pq_model_load_output(pq_args_get(args, at), pq_args_value(args, "arch"),
                                pq_args_value(args, "output-layer"), out, err);
}

pq_status pq_args_head(const pq_args *args, pq_graph *graph, pq_err *err)
{
    const char *head = pq_args_value(args, "head");
    pq_status   st;

    PQ_TRY(pq_graph_check(graph, err));
    st = pq_graph_set_head(graph, head, err);
    if (st != PQ_OK) {
        pq_err_context(err, "--head");
    }
cleanup:
    return st;
}

pq_status pq_args_scaler(const pq_args *args, pq_graph *graph,
                         const pq_dataset_info *info, pq_err *err)
{
    const char *choice = pq_args_value(args, "scaler");
    const bool  take   = strcmp(choice, pq_scaler_names[PQ_SCALER_DATASET]) == 0;
    pq_status   st     = PQ_OK;

    PQ_CHECK(take || strcmp(choice, pq_scaler_names[PQ_SCALER_NONE]) == 0, PQ_ERR_CONFIG,
             "--scaler: '%s' is neither none nor dataset", choice);
    if (take) {
        PQ_CHECK(info != NULL, PQ_ERR_CONFIG,
                 "--scaler dataset: no events are given (--calib or --train)");
        PQ_TRY(pq_scaler_take(graph, info, err));
        PQ_TRY(pq_graph_check(graph, err));
    }
cleanup:
    return st;
}

void pq_args_note_scaler(const pq_args *args, const pq_graph *graph,
                         const pq_dataset_info *info)
{
    if (pq_scaler_is_left(graph, info) && !pq_args_flag(args, "quiet")) {
        pq_say(stderr,
               "note: the model has no scaler and gets the events as they are, though "
               "the dataset carries one (--scaler dataset)\n");
    }
}
