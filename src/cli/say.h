/**
 * @file
 * The one way to a terminal. Names and texts come out of files of strangers: what a
 * terminal would obey in them is shown escaped (core/visible.h). Nothing else in cli
 * writes to stdout or stderr; tests/cli/hostile.sh looks for it.
 */
#ifndef PQ_CLI_SAY_H
#define PQ_CLI_SAY_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "core/err.h"
#include "core/text.h"

/** fprintf whose texts (%s) are shown, and whose line feeds stand in the format alone. */
void pq_say(FILE *to, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/** Columns of a terminal that a text takes when it is said. */
size_t pq_say_columns(const char *text);

/** A text of several lines. */
void pq_say_lines(FILE *to, const char *text);

/** A JSON value, indented, with a line feed: valid JSON, hidden characters as \uXXXX.
 * @return false when it is NULL or memory ran out. */
bool pq_say_json(const json_t *value);

/** Writes a file of a folder, and says its path.
 * @retval PQ_ERR_NOMEM  Or the text is not whole.
 * @retval others        As pq_file_write. */
pq_status pq_say_file(const char *folder, const char *name, const pq_text *text,
                      pq_err *err);

/** Our own sequences, for colours and progress: nothing of a file may be in it. */
void pq_say_raw(FILE *to, const char *text);

#endif
