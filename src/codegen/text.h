/**
 * @file
 * Foreign names in C: what a model calls its classes, features and layers may hold
 * anything, and must end neither a string nor a comment. For codegen/ only.
 */
#ifndef PQ_CODEGEN_TEXT_H
#define PQ_CODEGEN_TEXT_H

#include "core/text.h"

/** Appends a C string literal that holds exactly these bytes. */
void pq_c_string(pq_text *out, const char *text);

/** Appends a text for a comment: letters, digits, dots, underscores and hyphens stay, the
 * rest becomes '_'. */
void pq_c_comment(pq_text *out, const char *text);

enum { PQ_C_NUMBER = 32 /* bytes that any number takes */ };

/** A number as a C expression of type float, of math.h where it is not finite. @return
 * `text` */
const char *pq_c_number(double value, char text[PQ_C_NUMBER]);

/** The same of type double; no NaN. */
const char *pq_c_real(double value, char text[PQ_C_NUMBER]);

/** Appends an array of string literals, `static const char *const NAME[] = {…};`, or
 * nothing where there are none. */
void pq_c_strings(pq_text *out, const char *name, const char *const *texts, size_t n);

/** `static const float NAME[] = {…};` and an empty line. */
void pq_c_floats(pq_text *out, const char *name, const float *values, size_t n);

#endif
