#include "report/label.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/visible.h"
#include "report/number.h"

#define ELLIPSIS  "\xe2\x80\xa6"
#define NOT_DRAWN "\xe2\x96\xa1" /* an empty square */

/* Code point at s, which is whole UTF-8, and its bytes. */
static uint32_t code_at(const char *s, size_t *bytes)
{
    const unsigned char *u    = (const unsigned char *)s;
    const size_t         n    = u[0] < 0x80 ? 1 : u[0] < 0xe0 ? 2 : u[0] < 0xf0 ? 3 : 4;
    uint32_t             code = n == 1 ? u[0] : u[0] & (0x7fU >> n);

    *bytes = 1;
    for (; *bytes < n && u[*bytes] != '\0'; ++*bytes) {
        code = code << 6 | (u[*bytes] & 0x3fU);
    }
    return code;
}

typedef struct {
    uint32_t first, last;
} range;

static bool is_in(uint32_t code, const range *ranges, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (code >= ranges[i].first && code <= ranges[i].last) {
            return true;
        }
    }
    return false;
}

/* Blocks of which DejaVu Sans, the plots' font, has nearly all: others may have no glyph
 * at all on a machine, and what is drawn for them then (boxes as large as the picture)
 * hides everything. */
static bool is_drawn(uint32_t code)
{
    static const range drawn[] = {
        {0x0020, 0x007e}, {0x00a0, 0x00ac}, {0x00ae, 0x02e9}, {0x0300, 0x034e},
        {0x0384, 0x0386}, {0x0388, 0x038a}, {0x038e, 0x03a1}, {0x03a3, 0x0525},
        {0x0531, 0x0556}, {0x0561, 0x0587}, {0x05d0, 0x05ea}, {0x0621, 0x063a},
        {0x0641, 0x064a}, {0x10d0, 0x10fc}, {0x1e00, 0x1efb}, {0x1f00, 0x1f15},
        {0x2010, 0x2027}, {0x202f, 0x205e}, {0x2074, 0x208e}, {0x2090, 0x209c},
        {0x20a0, 0x20b5}, {0x2100, 0x2109}, {0x210b, 0x2149}, {0x2150, 0x2185},
        {0x2190, 0x2311}, {0x2500, 0x269c}, {0x2701, 0x2704}, {0x2706, 0x2709},
        {0x270c, 0x2727}, {0x27f0, 0x28ff}};

    return is_in(code, drawn, sizeof drawn / sizeof *drawn);
}

size_t pq_label_width(const char *text)
{
    size_t width = 0, bytes;

    for (; *text != '\0'; text += bytes) {
        width += pq_char_columns(code_at(text, &bytes));
    }
    return width;
}

size_t pq_label_widest(char *const *texts, size_t n)
{
    size_t widest = 0;

    for (size_t i = 0; i < n; i++) {
        const size_t width = pq_label_width(texts[i]);
        widest             = width > widest ? width : widest;
    }
    return widest;
}

static bool is_blank(uint32_t code)
{
    return code == ' ' || code == 0xa0 || code == 0x202f || code == 0x205f ||
           code == 0x2800 || pq_char_columns(code) == 0;
}

/* A text without control characters, of which all can be drawn and something is seen. */
static void add_visible(pq_text *out, const char *text)
{
    pq_text clean = {0}, shown = {0};
    bool    seen = false;
    size_t  bytes;

    pq_escape_add(&clean, text, PQ_STYLE_TEXT);
    for (const char *s = clean.text; s != NULL && *s != '\0'; s += bytes) {
        const uint32_t code = code_at(s, &bytes);
        seen                = seen || !is_blank(code);
        pq_text_add_bytes(&shown, is_drawn(code) ? s : NOT_DRAWN,
                          is_drawn(code) ? bytes : sizeof NOT_DRAWN - 1);
    }
    pq_text_add(out, "%s", seen && shown.text != NULL ? shown.text : "(blank)");
    out->failed = out->failed || clean.failed || shown.failed;
    pq_text_free(&clean);
    pq_text_free(&shown);
}

/* Appends whole characters from the column `from` on, `columns` at most. */
static void add_columns(pq_text *out, const char *text, size_t from, size_t columns)
{
    size_t at = 0, bytes;

    for (; *text != '\0'; text += bytes) {
        const size_t width = pq_char_columns(code_at(text, &bytes));
        if (at >= from && at + width <= from + columns) {
            pq_text_add_bytes(out, text, bytes);
        }
        at += width;
    }
}

static void cut(pq_text *out, const char *visible, size_t longest)
{
    const size_t width = pq_label_width(visible), head = (longest - 1) / 2,
                 tail = longest - 1 - head;

    if (width <= longest) {
        pq_text_add(out, "%s", visible);
        return;
    }
    add_columns(out, visible, 0, head);
    pq_text_add(out, ELLIPSIS);
    add_columns(out, visible, width - tail, tail);
}

void pq_label_cut(pq_text *out, const char *text, size_t longest)
{
    pq_text visible = {0};

    add_visible(&visible, text);
    cut(out, visible.text != NULL ? visible.text : "", longest);
    out->failed = out->failed || visible.failed;
    pq_text_free(&visible);
}

/* A label that is being made. */
typedef struct {
    const char *name;
    char       *whole; /* what can be seen of it */
    char       *label;
    size_t      place;
} entry;

static int by_label(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    const int    c = strcmp(x->label, y->label);

    return c != 0 ? c : x->place < y->place ? -1 : x->place > y->place;
}

static int by_place(const void *a, const void *b)
{
    const entry *x = a, *y = b;

    return x->place < y->place ? -1 : x->place > y->place;
}

/* Bytes that all names have in common at their start, up to a whole character. */
static size_t common_start(const entry *e, size_t n)
{
    size_t common = strlen(e[0].whole);

    for (size_t i = 1; i < n; i++) {
        size_t k = 0;
        while (k < common && e[i].whole[k] == e[0].whole[k]) {
            k++;
        }
        common = k;
    }
    while (common > 0 && ((unsigned char)e[0].whole[common] & 0xc0) == 0x80) {
        common--;
    }
    return common;
}

/* Where to start showing the rest of a name that differs from others at `from`: at most
 * three characters of what is common before, for the eye. */
static const char *start_of_difference(const char *name, size_t from)
{
    const size_t back = from > 3 ? 3 : from;
    const char  *rest = name + from;

    while (rest > name + from - back && rest[-1] != ' ') {
        rest--;
    }
    while (((unsigned char)*rest & 0xc0) == 0x80) {
        rest--;
    }
    return rest;
}

/* "conv…rank=4…s=25%": a little of the start, where they differ, the end. */
static pq_status show_difference(entry *e, size_t n, size_t longest, pq_err *err)
{
    const size_t from = common_start(e, n), head = longest / 5;
    const size_t room = longest - head - 1, tail = room * 2 / 5;
    pq_status    st = PQ_OK;

    for (size_t i = 0; i < n; i++) {
        pq_text      label = {0};
        const char  *rest  = start_of_difference(e[i].whole, from);
        const size_t width = pq_label_width(rest);
        add_columns(&label, e[i].whole, 0, head);
        pq_text_add(&label, ELLIPSIS);
        if (width <= room) {
            pq_text_add(&label, "%s", rest);
        } else {
            add_columns(&label, rest, 0, room - tail - 1);
            pq_text_add(&label, ELLIPSIS);
            add_columns(&label, rest, width - tail, tail);
        }
        pq_free(e[i].label);
        e[i].label = NULL;
        PQ_TRY(pq_text_take(&label, &e[i].label, err));
    }
cleanup:
    return st;
}

/* "conv_block… #12": the place in the list. */
static pq_status add_number(entry *e, size_t n, size_t longest, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; i < n; i++) {
        pq_text label = {0};
        char   *mark  = pq_format(ELLIPSIS " #%zu", e[i].place + 1);
        PQ_CHECK(mark != NULL, PQ_ERR_NOMEM, "cannot allocate a label");
        add_columns(&label, e[i].whole, 0, longest - pq_label_width(mark));
        pq_text_add(&label, "%s", mark);
        pq_free(mark);
        pq_free(e[i].label);
        e[i].label = NULL;
        PQ_TRY(pq_text_take(&label, &e[i].label, err));
    }
cleanup:
    return st;
}

typedef pq_status (*repair)(entry *e, size_t n, size_t longest, pq_err *err);

/* Applies a repair to each group of equal labels of different names. */
static pq_status repair_groups(entry *e, size_t n, size_t longest, repair how,
                               pq_err *err)
{
    pq_status st = PQ_OK;

    qsort(e, n, sizeof *e, by_label);
    for (size_t first = 0, end; first < n; first = end) {
        bool differ = false;
        for (end = first + 1; end < n && strcmp(e[end].label, e[first].label) == 0;
             end++) {
            differ = differ || strcmp(e[end].name, e[first].name) != 0;
        }
        if (differ) {
            PQ_TRY(how(e + first, end - first, longest, err));
        }
    }
cleanup:
    return st;
}

pq_status pq_labels_make(const char *const *names, size_t n, size_t longest, char ***out,
                         pq_err *err)
{
    entry    *entries = NULL;
    char    **labels  = NULL;
    pq_text   text    = {0};
    pq_status st;

    PQ_NEW(entries, n);
    PQ_NEW(labels, n);
    for (size_t i = 0; i < n; i++) {
        entries[i].place = i;
        entries[i].name  = names[i];
        add_visible(&text, names[i]);
        PQ_TRY(pq_text_take(&text, &entries[i].whole, err));
        cut(&text, entries[i].whole, longest);
        PQ_TRY(pq_text_take(&text, &entries[i].label, err));
    }
    PQ_TRY(repair_groups(entries, n, longest, show_difference, err));
    PQ_TRY(repair_groups(entries, n, longest, add_number, err));
    qsort(entries, n, sizeof *entries, by_place);
    for (size_t i = 0; i < n; i++) {
        labels[i]        = entries[i].label;
        entries[i].label = NULL;
    }
    *out   = labels;
    labels = NULL;
cleanup:
    for (size_t i = 0; entries != NULL && i < n; i++) {
        pq_free(entries[i].whole);
        pq_free(entries[i].label);
    }
    pq_free(entries);
    pq_free(labels);
    pq_text_free(&text);
    return st;
}

void pq_labels_free(char ***labels, size_t n)
{
    for (size_t i = 0; *labels != NULL && i < n; i++) {
        pq_free((*labels)[i]);
    }
    pq_free(*labels);
    *labels = NULL;
}
