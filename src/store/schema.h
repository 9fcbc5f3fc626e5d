/**
 * @file
 * What the JSON files of a results folder may hold. Folders travel between people, so a
 * record or a plan is input: a field of another type is refused with its name, before
 * anything reads it.
 */
#ifndef PQ_STORE_SCHEMA_H
#define PQ_STORE_SCHEMA_H

#include <jansson.h>

#include "core/err.h"

/** Fields of a record (store/record.h); those that are missing are not looked for.
 * @retval PQ_ERR_FORMAT  Field and what it should be; the caller adds the file. */
pq_status pq_schema_record(const json_t *record, pq_err *err);

/** Fields of a plan (store/results.h) and of its cells. */
pq_status pq_schema_plan(const json_t *plan, pq_err *err);

#endif
