/*
 * ARFF, as OpenML ships its sets (42468: the LHC jets with 16 features). The
 * order of classes is the one a nominal attribute declares.
 *
 * Source: Weka, "Attribute-Relation File Format".
 */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "core/file.h"
#include "core/memory.h"
#include "data/table.h"

static bool recognises(const char *path)
{
    const size_t n = strlen(path);

    return !pq_folder_exists(path) &&
           ((n > 5 && strcasecmp(path + n - 5, ".arff") == 0) ||
            (n > 8 && strcasecmp(path + n - 8, ".arff.gz") == 0));
}

/* Classes as declared, and the column they were declared for. */
typedef struct {
    char **names;
    size_t n;
    size_t column;
} nominal;

static char *skip_blanks(char *p)
{
    return p + strspn(p, " \t");
}

/* "{g, q, t}". */
static pq_status read_nominal(const pq_table *t, char *text, nominal *out, pq_err *err)
{
    char    **cells = NULL;
    char     *end   = strrchr(text, '}');
    size_t    n     = 0;
    pq_status st;

    PQ_CHECK(end != NULL, PQ_ERR_FORMAT, "%s:%zu: the list of values does not end with }",
             t->lines.path, t->lines.number);
    *end = '\0';
    PQ_NEW(cells, PQ_TABLE_CLASSES);
    PQ_CHECK(pq_table_cut(text + 1, ',', cells, PQ_TABLE_CLASSES, &n), PQ_ERR_FORMAT,
             "%s:%zu: declares more than %d values", t->lines.path, t->lines.number,
             PQ_TABLE_CLASSES);
    pq_texts_free(&out->names, out->n);
    out->n = 0;
    PQ_TRY(pq_texts_copy((const char *const *)cells, n, &out->names, err));
    out->n      = n;
    out->column = t->n;
cleanup:
    pq_free(cells);
    return st;
}

/* "@attribute name type" with an optionally quoted name. */
static pq_status read_attribute(pq_table *t, char *text, nominal *classes, pq_err *err)
{
    char     *name = skip_blanks(text), *end;
    char    **grown;
    pq_status st;

    if (*name == '\'' || *name == '"') {
        end = strchr(name + 1, *name);
        name++;
    } else {
        end = name + strcspn(name, " \t");
    }
    PQ_CHECK(end != NULL && *end != '\0' && end > name, PQ_ERR_FORMAT,
             "%s:%zu: is not written @attribute NAME TYPE", t->lines.path,
             t->lines.number);
    PQ_CHECK(t->n < PQ_TABLE_COLUMNS, PQ_ERR_FORMAT, "%s:%zu: has more than %d columns",
             t->lines.path, t->lines.number, PQ_TABLE_COLUMNS);
    *end = '\0';
    end  = skip_blanks(end + 1);
    if (*end == '{') {
        PQ_TRY(read_nominal(t, end, classes, err));
    }
    grown = pq_recalloc(t->names, t->n, t->n + 1, sizeof *grown);
    PQ_CHECK(grown != NULL, PQ_ERR_NOMEM, "cannot allocate names");
    t->names = grown;
    PQ_STRDUP(grown[t->n], name);
    t->n++;
cleanup:
    return st;
}

static pq_status read_header(pq_table *t, nominal *classes, pq_err *err)
{
    bool      there = true;
    pq_status st;

    for (;;) {
        char *line;
        PQ_TRY(pq_lines_next(&t->lines, &there, err));
        PQ_CHECK(there, PQ_ERR_FORMAT, "%s: has no @data", t->lines.path);
        line = skip_blanks(t->lines.text);
        if (strncasecmp(line, "@data", 5) == 0) {
            return PQ_OK;
        }
        if (strncasecmp(line, "@attribute", 10) == 0 &&
            isspace((unsigned char)line[10])) {
            PQ_TRY(read_attribute(t, line + 11, classes, err));
        } else {
            PQ_CHECK(*line == '\0' || *line == '%' ||
                         strncasecmp(line, "@relation", 9) == 0,
                     PQ_ERR_FORMAT, "%s:%zu: is neither @relation, @attribute nor @data",
                     t->lines.path, t->lines.number);
        }
    }
cleanup:
    return st;
}

static pq_status open_arff(pq_source *s, const pq_dataset_options *options, pq_err *err)
{
    pq_table *t       = NULL;
    nominal   classes = {0};
    pq_status st;

    PQ_NEW(t, 1);
    s->state     = t;
    t->comment   = '%';
    t->separator = ',';
    PQ_TRY(pq_lines_open(s->path, &t->lines, err));
    PQ_TRY(read_header(t, &classes, err));
    PQ_TRY(pq_table_choose(s, t, options, err));
    t->sorted = classes.names == NULL || classes.column != t->label;
    if (!t->sorted) {
        t->classes   = classes.names;
        t->n_classes = classes.n;
        classes      = (nominal){0};
    }
    PQ_TRY(pq_table_scan(s, t, err));
cleanup:
    pq_texts_free(&classes.names, classes.n);
    return st;
}

const pq_layout pq_layout_arff = {
    .name         = "arff",
    .summary      = "ARFF as OpenML ships it, plain or gzip",
    .recognises   = recognises,
    .open         = open_arff,
    .read         = pq_table_read,
    .read_aux     = pq_table_read_aux,
    .list_aux     = pq_table_list_aux,
    .close        = pq_table_close,
    .takes_inputs = true,
    .takes_label  = true,
};
