/**
 * @file
 * Whether tables, plots and page of a folder are those of its records: then a run that
 * has computed nothing need not make them again. `<dir>/.made` holds a hash of what they
 * were made of (the program, the plan, the stamps of the plan's records) and one of the
 * stamps of the files that were made; whatever is changed by anybody changes one of them.
 */
#ifndef PQ_SWEEP_MADE_H
#define PQ_SWEEP_MADE_H

#include "core/hash.h"
#include "store/shelf.h"
#include "sweep/plan.h"

/**
 * Hash of what the tables of a plan are made of.
 * @param[in]  plan  as it stands in plan.json
 * @param[out] out   "" where a record has just been written and may change again
 */
void pq_made_hash(const pq_cells *cells, const pq_text *plan, pq_shelf *shelf,
                  char out[PQ_HASH_TEXT]);

/** Whether what lies in the folder was made of that and is as it was. */
bool pq_made_is(const char *dir, const char *hash);

/** Notes that all has been made of that; that it cannot be noted only costs time. Nothing
 * for "". */
void pq_made_note(const char *dir, const char *hash);

#endif
