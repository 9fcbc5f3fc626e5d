/**
 * @file
 * What a verb of the command line is: one file, one word in cli/meson.build.
 * Help, the man page, shell completion and docs/reference.md are printed
 * from these tables, so they cannot drift from the code.
 */
#ifndef PQ_CLI_VERB_H
#define PQ_CLI_VERB_H

#include <stdbool.h>
#include <stdio.h>

#include "cli/say.h"
#include "core/param.h"
#include "core/progress.h"
#include "core/text.h"
#include "data/dataset.h"
#include "graph/graph.h"
#include "graph/head.h"

/** Exit codes that no pq_status stands for (design: 0 ok, 2 usage, …). */
enum {
    PQ_EXIT_OK         = 0,
    PQ_EXIT_REGRESSION = 1,
    PQ_EXIT_USAGE      = 2,
    PQ_EXIT_FAILED     = 3, /**< some cells failed */
    PQ_EXIT_NOTHING    = 4, /**< nothing ran, or the selection is empty */
    PQ_EXIT_INCOMPLETE = 5, /**< shards or cells are missing */
    PQ_EXIT_NOISE      = 6,
    PQ_EXIT_AGAIN      = 75,
};

/** One option. A table ends with a zeroed row. */
typedef struct {
    const char *name;     /**< "engine" for --engine */
    char        letter;   /**< 'o' for -o, or 0 */
    const char *value;    /**< what it takes: "NAME", or NULL for a flag */
    bool        many;     /**< may be given several times */
    const char *fallback; /**< default as text, or NULL */
    const char *help;     /**< one line, with unit */
} pq_option;

/** Options and arguments as given; borrowed from argv. */
typedef struct pq_args pq_args;

typedef struct {
    const char      *name;      /**< "run", "model eval" */
    const char      *summary;   /**< one line */
    const char      *arguments; /**< "CONFIG", "MODEL --data FILE[:SPLIT]", or "" */
    size_t           min_args, max_args;
    const pq_option *options; /**< or NULL */
    const char      *example;
    /** Does it. exit_code starts at 0; a failing status decides the code where it is left
     * 0. */
    pq_status (*run)(const pq_args *args, int *exit_code, pq_err *err);
} pq_verb;

/** All verbs in a fixed order, NULL-terminated. */
extern const pq_verb *const pq_verbs[];

/** Options that every verb takes. */
extern const pq_option pq_common_options[];

/** Positional arguments. */
size_t      pq_args_count(const pq_args *args);
const char *pq_args_get(const pq_args *args, size_t i);

/** Those from the one at `from` on, which must be there. */
const char *const *pq_args_rest(const pq_args *args, size_t from);

/** Last value of an option, its default, or NULL. */
const char *pq_args_value(const pq_args *args, const char *option);

/** All values of a repeatable option; NULL when there is none. */
const char *const *pq_args_values(const pq_args *args, const char *option, size_t *n);

bool pq_args_flag(const pq_args *args, const char *option);

/** Value as a whole number within lo..hi. @retval PQ_ERR_CONFIG  "--batch: '0' is not a
 * whole number in 1..65536". */
pq_status pq_args_size(const pq_args *args, const char *option, size_t lo, size_t hi,
                       size_t *out, pq_err *err);

/** Output format of --format. @retval PQ_ERR_CONFIG  Not one of `allowed` ("table json").
 */
pq_status pq_args_format(const pq_args *args, const char *allowed, const char **out,
                         pq_err *err);

/** Which columns of a table are what, for verbs that read events. */
#define PQ_COLUMN_OPTIONS                                                                \
    {"inputs",                                                                           \
     0,                                                                                  \
     "A,B,…",                                                                            \
     false,                                                                              \
     NULL,                                                                               \
     "columns used as features, in this order; default those that the model names, "     \
     "else "                                                                             \
     "all"},                                                                             \
        {"label", 0,    "NAME",                                                          \
         false,   NULL, "column that holds the class; default by its name"},             \
        {"weight",                                                                       \
         0,                                                                              \
         "NAME|none",                                                                    \
         false,                                                                          \
         NULL,                                                                           \
         "column that holds the event weights, or none: all count alike; default by "    \
         "its "                                                                          \
         "name"},                                                                        \
        {"x",                                                                            \
         0,                                                                              \
         "NAME",                                                                         \
         false,                                                                          \
         NULL,                                                                           \
         "array of the events in .npy, .npz or HDF5; of several splits "                 \
         "train=NAME,test=NAME; default x, X_train, …"},                                 \
    {                                                                                    \
        "y", 0, "NAME", false, NULL,                                                     \
            "array of the labels, written as --x; default what is called as the "        \
            "events, with y"                                                             \
    }

/** For verbs that evaluate. */
#define PQ_NEGATIVE_OPTION                                                               \
    {                                                                                    \
        "negative-weights", 0, NULL, false, NULL,                                        \
            "take negative event weights, as generators of next-to-leading order give "  \
            "them; else such a weight is an error"                                       \
    }

/** Takes them over, and what a model (may be NULL) names its features. Borrows. */
void pq_args_columns(const pq_args *args, const pq_graph *graph, pq_dataset_options *out);

/** Policy of --nonfinite. @retval PQ_ERR_CONFIG  None of fail, drop, zero. */
pq_status pq_args_nonfinite(const pq_args *args, pq_nonfinite *out, pq_err *err);

#define PQ_OUTPUT_LAYER_OPTION                                                           \
    {                                                                                    \
        "output-layer", 0, "NAME", false, NULL,                                          \
            "which of a model's several outputs, by its name or number from 0 on"        \
    }
#define PQ_HEAD_OPTION                                                                   \
    {                                                                                    \
        "head", 0, "auto|softmax|logits|sigmoid|binary|none", false, "auto",             \
            "what the outputs mean, where the last layer does not tell"                  \
    }

#define PQ_SCALER_OPTION                                                                 \
    {                                                                                    \
        "scaler", 0, "none|dataset", false, "none",                                      \
            "for a model without a scaler: events as they are, or the dataset's scaler"  \
    }

/** Gives a model without a scaler what --scaler says. */
pq_status pq_args_scaler(const pq_args *args, pq_graph *graph,
                         const pq_dataset_info *info, pq_err *err);

/** Tells on stderr, but with --quiet, that a model without a scaler leaves that of the
 * events. */
void pq_args_note_scaler(const pq_args *args, const pq_graph *graph,
                         const pq_dataset_info *info);

/** Loads the model that argument `at` names, with --arch and --output-layer. */
pq_status pq_args_model(const pq_args *args, size_t at, pq_graph **out, pq_err *err);

/** Checks a model and gives it the head of --head. @retval PQ_ERR_CONFIG  It cannot be.
 */
pq_status pq_args_head(const pq_args *args, pq_graph *graph, pq_err *err);

/** Progress that is drawn on stderr: a bar on a terminal, lines otherwise, nothing with
 * --quiet. */
pq_progress pq_args_progress(const pq_args *args);

/** Ends the bar's line, so that text can follow. */
void pq_progress_done(void);

/** Parses argv behind the verb; used by main. */
pq_status pq_args_parse(const pq_verb *verb, int argc, char *const *argv, pq_args **out,
                        pq_err *err);
void      pq_args_free(pq_args **args);

/** Help of one verb, and of the program. */
void pq_help_verb(const pq_verb *verb, FILE *out);
void pq_help_program(FILE *out);

/** Lists the verbs whose first word this is; false when there are none. `out` may be
 * NULL.
 */
bool pq_help_group(const char *name, FILE *out);

/** Help for the name of a method, layer, metric or format; false when there is none. */
bool pq_help_topic(const char *name, FILE *out);

/** Prints "man", "completion" or "markdown" (docs/reference.md); false for another name.
 */
bool pq_help_document(const char *name, FILE *out);

/** Prints a parameter table: name, default, range, meaning. */
void pq_help_params(const pq_param *table, FILE *out);

#endif
