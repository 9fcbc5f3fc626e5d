/* Texts compared: with patterns, with what they may be a misspelling of, with each other.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/text.h"

/* Whether one character fits the next of a pattern, a class [a-c] or [!a-c] of them too;
 * *p goes behind it. A [ that is not closed stands for itself. */
static bool match_next(const char **p, const char *end, char c)
{
    const char *at    = *p + 1;
    const bool not    = at < end && (*at == '!' || *at == '^');
    const char *first = at + (not ? 1 : 0);
    const char *close =
        first < end ? memchr(first + 1, ']', (size_t)(end - first - 1)) : NULL;
    bool found = false;

    if (**p != '[' || close == NULL) {
        found = **p == '?' || **p == c;
        *p    = at;
        return found;
    }
    for (at = first; at < close; at++) {
        const bool range = close - at > 2 && at[1] == '-';
        found            = found || (range ? c >= at[0] && c <= at[2] : c == *at);
        at += range ? 2 : 0;
    }
    *p = close + 1;
    return found != not ;
}

/* One alternative of a glob, up to `end`. */
static bool match_one(const char *p, const char *end, const char *s)
{
    const char *star = NULL, *resume = s;

    while (*s != '\0') {
        if (p < end && *p == '*') {
            star   = p++;
            resume = s;
        } else if (p < end && match_next(&p, end, *s)) {
            s++;
        } else if (star != NULL) {
            p = star + 1;
            s = ++resume;
        } else {
            return false;
        }
    }
    while (p < end && *p == '*') {
        p++;
    }
    return p == end;
}

bool pq_glob_match(const char *pattern, const char *name)
{
    for (;;) {
        const char *comma = strchr(pattern, ',');
        const char *end   = comma != NULL ? comma : pattern + strlen(pattern);
        while (pattern < end && *pattern == ' ') {
            pattern++;
        }
        if (match_one(pattern, end, name)) {
            return true;
        }
        if (comma == NULL) {
            return false;
        }
        pattern = comma + 1;
    }
}

enum { WORD_MAX = 63 };

size_t pq_edit_distance(const char *a, const char *b)
{
    const size_t n = strnlen(a, WORD_MAX), m = strnlen(b, WORD_MAX);
    size_t       d[WORD_MAX + 1][WORD_MAX + 1];

    for (size_t i = 0; i <= n; i++) {
        for (size_t j = 0; j <= m; j++) {
            size_t best;
            if (i == 0 || j == 0) {
                d[i][j] = i + j;
                continue;
            }
            best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            best = d[i - 1][j] + 1 < best ? d[i - 1][j] + 1 : best;
            best = d[i][j - 1] + 1 < best ? d[i][j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                d[i - 2][j - 2] + 1 < best) {
                best = d[i - 2][j - 2] + 1;
            }
            d[i][j] = best;
        }
    }
    return d[n][m];
}

const char *pq_nearest(const char *word, const char *const *candidates, size_t n)
{
    const size_t limit = strlen(word) / 3 + 1;
    const char  *best  = NULL;
    size_t       least = limit + 1;

    for (size_t i = 0; i < n; i++) {
        const size_t distance = pq_edit_distance(word, candidates[i]);
        if (distance < least) {
            least = distance;
            best  = candidates[i];
        }
    }
    return best;
}

typedef struct {
    const char *name;
    size_t      at;
} placed;

static int by_name(const void *a, const void *b)
{
    const placed *x = a, *y = b;
    const int     c = strcmp(x->name, y->name);

    return c != 0 ? c : (x->at > y->at) - (x->at < y->at);
}

pq_status pq_repeated(const char *const *names, size_t n, size_t *out, pq_err *err)
{
    placed   *list = NULL;
    pq_status st;

    *out = SIZE_MAX;
    PQ_NEW(list, n);
    for (size_t i = 0; i < n; i++) {
        list[i] = (placed){names[i], i};
    }
    qsort(list, n, sizeof *list, by_name);
    for (size_t i = 1; i < n; i++) {
        if (strcmp(list[i].name, list[i - 1].name) == 0 && list[i].at < *out) {
            *out = list[i].at;
        }
    }
cleanup:
    pq_free(list);
    return st;
}
