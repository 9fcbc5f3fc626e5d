/**
 * @file
 * Reading single keys of a JSON object with clear failures (PQ_ERR_FORMAT); for graph
 * only.
 */
#ifndef PQ_GRAPH_JSON_KEYS_H
#define PQ_GRAPH_JSON_KEYS_H

#include <jansson.h>
#include <stdint.h>

#include "core/err.h"

/** Refuses keys that are not in the NULL-terminated list. */
pq_status pq_json_known(const json_t *object, const char *what, const char *const *keys,
                        pq_err *err);

/** A text; borrowed. */
pq_status pq_json_text(const json_t *object, const char *key, const char **out,
                       pq_err *err);

/** A whole number in lo .. hi. */
pq_status pq_json_whole(const json_t *object, const char *key, int64_t lo, int64_t hi,
                        int64_t *out, pq_err *err);

/** An array; borrowed. */
pq_status pq_json_array(const json_t *object, const char *key, const json_t **out,
                        pq_err *err);

#endif
