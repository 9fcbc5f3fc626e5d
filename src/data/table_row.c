/* Rows without quotes and with nothing but decimal numbers where numbers are wanted,
 * which is nearly all of them: read in one go from the line as it is. What is not so is
 * left to table.c, which cuts the line into cells and says what is wrong with them. */
#define _GNU_SOURCE /* memrchr */

#include <ctype.h>
#include <string.h>

#include "core/decimal.h"
#include "data/table.h"

static const char *skip_blanks(const pq_table *t, const char *p)
{
    while (*p == ' ' || (*p == '\t' && t->separator != '\t')) {
        p++;
    }
    return p;
}

/* End of the cell at p, NULL where it is not as long as the row says. */
static const char *cell_end(const pq_table *t, const char *p, bool is_last)
{
    const char *next = strchr(p, t->separator);

    if (is_last) {
        return next == NULL ? p + strlen(p) : NULL;
    }
    return next;
}

/* The class in a cell, SIZE_MAX where it is none. */
static size_t find_class(const pq_table *t, const char *p, const char *end)
{
    while (end > p && isspace((unsigned char)end[-1])) {
        end--;
    }
    for (size_t i = 0; i < t->n_classes; i++) {
        if (strncmp(t->classes[i], p, (size_t)(end - p)) == 0 &&
            t->classes[i][end - p] == '\0') {
            return i;
        }
    }
    return SIZE_MAX;
}

/* Where the number at p ends with its cell, or NULL. */
static const char *take_number(const pq_table *t, const char *p, bool is_last,
                               double *out)
{
    const char *end = p;

    if (!pq_decimal(p, &end, out)) {
        return NULL;
    }
    end = skip_blanks(t, end);
    return *end == (is_last ? '\0' : t->separator) ? end : NULL;
}

bool pq_table_read_plain(pq_table *t, const bool *wanted, size_t *class)
{
    const char *p = t->lines.text;

    if (t->separator == ' ') { /* of which there may be several */
        return false;
    }
    for (size_t c = 0; c < t->n; c++) {
        const bool  is_last = c + 1 == t->n;
        const char *end;

        p = skip_blanks(t, p);
        if (*p == '"' || *p == '\'') {
            return false;
        }
        end = wanted[c] ? take_number(t, p, is_last, &t->values[c])
                        : cell_end(t, p, is_last);
        if (end == NULL) {
            return false;
        }
        if (c == t->label && class != NULL) {
            *class = find_class(t, p, end);
            if (*class == SIZE_MAX) {
                return false;
            }
        }
        p = end + 1;
    }
    return true;
}

char *pq_table_last_cell(const pq_table *t)
{
    char        *line = t->lines.text;
    const size_t n    = t->lines.length;
    size_t       cuts = 0;
    char        *cell, *end = line + n;

    if (t->separator == ' ' || memchr(line, '"', n) != NULL ||
        memchr(line, '\'', n) != NULL || memchr(line, '\0', n) != NULL) {
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        cuts += line[i] == t->separator ? 1 : 0;
    }
    if (cuts + 1 != t->n || cuts == 0) {
        return NULL;
    }
    cell = (char *)memrchr(line, t->separator, n) + 1;
    cell += skip_blanks(t, cell) - cell;
    while (end > cell && isspace((unsigned char)end[-1])) {
        end--;
    }
    *end = '\0';
    return cell;
}
