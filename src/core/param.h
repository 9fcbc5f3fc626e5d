/**
 * @file
 * Parameters declared once: a table of rows describes the fields of a struct.
 * The same rows feed the YAML reader, `--method name:key=value`, range checks,
 * `pquant help`, the printed defaults, the cell keys and the result columns.
 */
#ifndef PQ_CORE_PARAM_H
#define PQ_CORE_PARAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"
#include "core/text.h"

/** Type of a field, and the C type that it has in the struct. */
typedef enum {
    PQ_PARAM_INT = 1, /**< int64_t */
    PQ_PARAM_REAL,    /**< double */
    PQ_PARAM_BOOL,    /**< bool */
    PQ_PARAM_CHOICE,  /**< int: index into `choices` */
    PQ_PARAM_STRING,  /**< char *, owned */
    PQ_PARAM_LIST,    /**< pq_reals: numbers, e.g. [8, 4, 4] */
} pq_param_type;

enum { PQ_LIST_MAX = 32 };

/** Value of an integer that was not given and has no default. */
#define PQ_UNSET INT64_MIN

/** A short list of numbers, by value. */
typedef struct {
    size_t n;
    double value[PQ_LIST_MAX];
} pq_reals;

/** One parameter. A table ends with a zeroed row. */
typedef struct {
    const char   *name; /**< key as users write it */
    pq_param_type type;
    size_t        offset;   /**< offsetof the field */
    const char   *fallback; /**< default as text; NULL = unset: PQ_UNSET, NAN, NULL, empty
                               list; bool and choice need one */
    double min, max; /**< allowed range of numbers and of list entries; both 0 = any */
    const char *const *choices; /**< NULL-terminated, for PQ_PARAM_CHOICE */
    pq_unit            unit;    /**< for PQ_PARAM_REAL */
    const char        *help;    /**< one line: meaning and unit */
} pq_param;

/**
 * Sets every field to its default. The struct must be zeroed or freed before.
 * @retval PQ_ERR_NOMEM  Out of memory.
 */
pq_status pq_params_default(const pq_param *table, void *values, pq_err *err);

/**
 * Sets one field from text; "none" unsets a field that has no default or whose default is
 * unset. Lists are written "8,4,4" or "[8, 4, 4]".
 *
 * @retval PQ_ERR_CONFIG  Unknown name (with "did you mean"), text of the wrong type.
 * @retval PQ_ERR_RANGE   Value outside its range; the message names value and range.
 */
pq_status pq_params_set(const pq_param *table, void *values, const char *name,
                        const char *text, pq_err *err);

/** Row of a name, or NULL. */
const pq_param *pq_params_find(const pq_param *table, const char *name);

/** Appends the field's value as text that pq_params_set reads back: "16", "0.5", "none",
 * "[8, 4]". */
void pq_param_print(const pq_param *row, const void *values, pq_text *out);

/** Appends all fields as "name=value, name=value", in table order; a string with commas
 * stands in brackets. */
void pq_params_print(const pq_param *table, const void *values, pq_text *out);

/** Deep copy into zeroed memory of the same struct. */
pq_status pq_params_copy(const pq_param *table, const void *from, void *to, pq_err *err);

/** Frees the strings of a struct; not the struct. */
void pq_params_free(const pq_param *table, void *values);

#endif
