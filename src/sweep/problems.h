/**
 * @file
 * Everything that is wrong with a configuration, gathered so that one reading
 * tells it all; and the strict way from a YAML map to a struct.
 */
#ifndef PQ_SWEEP_PROBLEMS_H
#define PQ_SWEEP_PROBLEMS_H

#include "core/param.h"
#include "core/text.h"
#include "io/yaml.h"

/** Problems so far; {0} is none. What is wrong in a swept stage is met once for each cell
 * and told once, so whether a piece was fine is seen by `met`, never by `n`. */
typedef struct {
    size_t  met;   /**< noted, also what was told before */
    size_t  n;     /**< told, the first 1000 of them as lines */
    pq_text lines; /**< a line each, "file:line:column: sentence"; no line twice */
} pq_problems;

/** Notes a problem at a value's place. */
void pq_problem(pq_problems *p, const pq_yaml *node, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/** Notes a problem at a key's place. */
void pq_problem_key(pq_problems *p, const pq_yaml *node, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/** Notes a line as it is. */
void pq_problem_line(pq_problems *p, const char *line);

/** Appends the lines, and how many more there are. */
void pq_problems_list(const pq_problems *p, pq_text *out);

/** Fails with the first problem and the number of others, if there is any. */
pq_status pq_problems_status(const pq_problems *p, pq_err *err);

/** Names that a map may have beside the rows of a table. NULL-terminated, or NULL. */
typedef const char *const *pq_known_keys;

/** Whether a node is a map; notes a problem with `what` ("dataset") if not. */
bool pq_expect_map(pq_problems *p, const pq_yaml *node, const char *what);

/** Whether a key is a row of the table or one of `others`; notes a problem if not. */
bool pq_expect_key(pq_problems *p, const pq_yaml *item, const pq_param *table,
                   pq_known_keys others, const char *what);

/**
 * Text of a value as pq_params_set reads it: a scalar's own, "[8, 4]" for a list
 * of numbers, "a,b" for a list of names, "b=5,splits=0:0.8" for a map.
 *
 * @param[out] out  caller frees with pq_free; NULL if the value cannot be of this row,
 * noted
 */
void pq_value_text(pq_problems *p, const pq_yaml *node, const pq_param *row, char **out);

/**
 * Sets the fields of a struct from a map; defaults are set before. Keys in
 * `others` are left to the caller.
 */
void pq_read_block(pq_problems *p, const pq_yaml *map, const pq_param *table,
                   void *values, pq_known_keys others, const char *what);

#endif
