/**
 * @file
 * Members and values of JSON, as records and results hold them.
 */
#ifndef PQ_STORE_JSON_H
#define PQ_STORE_JSON_H

#include <jansson.h>
#include <stdbool.h>

#include "core/text.h"

/** Text of a member, or "" where it has none. */
const char *pq_json_get_text(const json_t *object, const char *name);

/** A text, bytes of it that are no UTF-8 as \x9b (of a file's name they may be anything);
 * new reference, NULL when out of memory. */
json_t *pq_json_shown(const char *text);

/** A number, or null where it is not finite; new reference. */
json_t *pq_json_real(double value);

/** Appends a value as indented JSON, keys in their order; false when out of memory. */
bool pq_json_add(const json_t *value, pq_text *out);

#endif
