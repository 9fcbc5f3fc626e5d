/**
 * @file
 * Findings of gates (sweep/gate.h) for people, programs and CI servers.
 */
#ifndef PQ_CLI_FINDINGS_H
#define PQ_CLI_FINDINGS_H

#include "core/text.h"
#include "sweep/gate.h"

/** "0.7512", or "" where there is none. */
const char *pq_findings_number(double value, char *buffer, size_t size);

/** A line for each that is not a plain pass. */
void pq_findings_print(const pq_findings *f);

/** Cells that only the later of two has: they are compared with nothing, which is said.
 */
void pq_findings_print_new(const json_t *before, const json_t *now, const char *where);

/** A list of objects; caller decrefs. */
json_t *pq_findings_json(const pq_findings *f);

/** Appends JUnit's XML, as CI servers read it: a test case for each. */
void pq_findings_junit(pq_text *out, const char *name, const pq_findings *f);

#endif
