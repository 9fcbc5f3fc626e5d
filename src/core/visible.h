/**
 * @file
 * Texts of strangers on their way to a terminal, a page, a shell or a spreadsheet: what
 * would act there instead of being read is shown, quoted or marked. Each rule stands here
 * once and is used by all that print.
 *
 * Source: Unicode Technical Report 36, "Unicode Security Considerations"; Boucher &
 *         Anderson, "Trojan Source", arXiv:2111.00169 (bidirectional controls).
 */
#ifndef PQ_CORE_VISIBLE_H
#define PQ_CORE_VISIBLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/text.h"

/** Bytes of the UTF-8 character at s and its code, or 0 where there is none (overlong,
 * cut, a surrogate, beyond U+10FFFF). NUL is none. */
size_t pq_utf8_read(const char *s, uint32_t *code);

/** Ends a text before its first byte that belongs to no whole UTF-8 character: one that
 * was cut to fit. */
void pq_utf8_cut(char *text);

/** Whether a character moves the cursor, turns the direction of writing or cannot be
 * seen: C0, DEL and C1 controls, bidirectional controls, zero-width characters,
 * separators of lines, tags. */
bool pq_is_hidden(uint32_t code);

/**
 * Appends a text as it may be shown: hidden characters as \u202e, bytes that are no UTF-8
 * as \x9b. What was made visible once stays as it is.
 * @param[in] lines  line feeds and tabs stay
 */
void pq_visible_add(pq_text *out, const char *text, bool lines);

/** Columns that a text takes on a terminal: accents lie on the character before them,
 * those of East Asia and pictures take two. Source: Unicode Standard Annex 11, in ranges.
 */
size_t pq_text_columns(const char *text);

/** The same of one character. */
size_t pq_char_columns(uint32_t code);

/** As pq_visible_add in place, cut at a whole character where it gets longer than `size`.
 */
void pq_visible_fit(char *text, size_t size);

/** Appends a word for a POSIX shell: as it is where nothing in it means anything there,
 * else in single quotes, so that pasting it runs nothing. Hidden characters, which a
 * terminal may take as typed, are written as $'\xNN' (bash, zsh, POSIX 2024). */
void pq_shell_add(pq_text *out, const char *word);

#endif
