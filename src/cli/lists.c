/* The verbs that list what there is: methods, layers, metrics, formats. */
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "cli/verb.h"
#include "compress/method.h"
#include "formats/model.h"
#include "metrics/metric.h"

static const pq_option options[] = {
    {"format", 0, "table|json", false, "table", "how to print"},
    {0},
};

/* One row of any list. */
typedef struct {
    const char     *name, *summary, *source;
    const pq_param *params;
} row;

static row method_row(size_t i)
{
    const pq_method *m = pq_methods[i];
    return m == NULL ? (row){0} : (row){m->name, m->summary, m->source, m->params};
}

static row layer_row(size_t i)
{
    const pq_layer_kind *k = pq_layer_kinds[i];
    return k == NULL ? (row){0} : (row){k->name, k->summary, k->source, k->params};
}

static row metric_row(size_t i)
{
    const pq_metric *m = pq_metrics[i];
    return m == NULL ? (row){0} : (row){m->name, m->summary, m->source, m->params};
}

static row format_row(size_t i)
{
    const pq_model_format *f = pq_formats[i];
    return f == NULL ? (row){0} : (row){f->name, f->summary, f->source, NULL};
}

static void print_json(row (*get)(size_t))
{
    json_t *list = json_array();

    for (size_t i = 0; get(i).name != NULL; i++) {
        json_t *names = json_array();
        for (const pq_param *p = get(i).params; p != NULL && p->name != NULL; p++) {
            (void)json_array_append_new(names, json_string(p->name));
        }
        (void)json_array_append_new(list,
                                    json_pack("{s:s, s:s, s:s, s:o}", "name", get(i).name,
                                              "summary", get(i).summary, "source",
                                              get(i).source != NULL ? get(i).source : "",
                                              "parameters", names));
    }
    (void)pq_say_json(list);
    json_decref(list);
}

static pq_status print_list(const pq_args *args, row (*get)(size_t), pq_err *err)
{
    const char *format;
    pq_status   st;

    PQ_TRY(pq_args_format(args, "table json", &format, err));
    if (strcmp(format, "json") == 0) {
        print_json(get);
        return PQ_OK;
    }
    for (size_t i = 0; get(i).name != NULL; i++) {
        pq_say(stdout, "%-18s %s\n", get(i).name, get(i).summary);
        for (const pq_param *p = get(i).params; p != NULL && p->name != NULL; p++) {
            pq_say(stdout, "    %-14s %s [%s]\n", p->name, p->help,
                   p->fallback != NULL ? p->fallback : "none");
        }
    }
cleanup:
    return st;
}

#define LIST_VERB(word, text)                                                            \
    static pq_status list_##word##s(const pq_args *args, int *exit_code, pq_err *err)    \
    {                                                                                    \
        (void)exit_code;                                                                 \
        return print_list(args, word##_row, err);                                        \
    }                                                                                    \
    const pq_verb pq_verb_##word##s = {                                                  \
        .name      = #word "s",                                                          \
        .summary   = text,                                                               \
        .arguments = "",                                                                 \
        .options   = options,                                                            \
        .example   = "pquant " #word "s",                                                \
        .run       = list_##word##s,                                                     \
    }

LIST_VERB(method, "list the compression methods with their parameters");
LIST_VERB(layer, "list the kinds of layers with their attributes");
LIST_VERB(metric, "list the metrics");
LIST_VERB(format, "list the model formats");
