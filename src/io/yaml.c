/* Reading a text as a tree, from the events of libyaml. */
#include "io/yaml.h"

#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "core/file.h"
#include "core/memory.h"

/* State of reading one text. */
typedef struct {
    yaml_parser_t parser;
    yaml_event_t  event; /* the current one */
    bool          has_event;
    const char   *name;
    const char   *text; /* what is read, n bytes */
    size_t        n;
    size_t        nodes;
} reader;

static pq_status node_create(pq_yaml_kind kind, const char *file, yaml_mark_t mark,
                             pq_yaml **out, pq_err *err)
{
    pq_yaml  *node = NULL;
    pq_status st;

    node = pq_calloc_packed(1, sizeof *node);
    PQ_CHECK(node != NULL, PQ_ERR_NOMEM, "cannot allocate a node");
    PQ_STRDUP(node->file, file);
    node->kind       = kind;
    node->line       = mark.line + 1;
    node->column     = mark.column + 1;
    node->key_line   = node->line;
    node->key_column = node->column;
    *out             = node;
    node             = NULL;
cleanup:
    pq_yaml_free(&node);
    return st;
}

/* Where libyaml stopped: it gives bytes that are no text by their offset alone. */
static yaml_mark_t place_of_problem(const reader *r)
{
    yaml_mark_t at = r->parser.problem_mark;

    if (r->parser.error == YAML_READER_ERROR) {
        at = (yaml_mark_t){0};
        for (size_t i = 0; i < r->parser.problem_offset && i < r->n; i++) {
            const bool ends = r->text[i] == '\n';
            at.line += ends;
            at.column =
                ends ? 0 : at.column + (((unsigned char)r->text[i] & 0xc0) != 0x80);
        }
    }
    return at;
}

static pq_status next_event(reader *r, pq_err *err)
{
    pq_status st;

    if (r->has_event) {
        yaml_event_delete(&r->event);
        r->has_event = false;
    }
    if (yaml_parser_parse(&r->parser, &r->event) == 0) {
        const yaml_mark_t at = place_of_problem(r);
        PQ_CHECK(r->parser.error != YAML_MEMORY_ERROR, PQ_ERR_NOMEM, "cannot read %s",
                 r->name);
        PQ_FAIL(PQ_ERR_CONFIG, "%s:%zu:%zu: is not valid YAML: %s", r->name, at.line + 1,
                at.column + 1,
                r->parser.problem != NULL ? r->parser.problem : "unreadable text");
    }
    r->has_event = true;
    st           = PQ_OK;
cleanup:
    return st;
}

static pq_status refuse(const reader *r, pq_err *err, const char *what)
{
    const yaml_mark_t at = r->event.start_mark;

    return pq_err_set(err, PQ_ERR_CONFIG, __FILE__, __LINE__, "%s:%zu:%zu: %s", r->name,
                      at.line + 1, at.column + 1, what);
}

/* What a value may not carry: we read plain trees only. */
static pq_status check_plain(const reader *r, pq_err *err)
{
    const yaml_event_t *e      = &r->event;
    const yaml_char_t  *anchor = NULL, *tag = NULL;

    if (e->type == YAML_ALIAS_EVENT) {
        return refuse(r, err, "aliases (*name) are not read; write the value out");
    }
    if (e->type == YAML_SCALAR_EVENT) {
        anchor = e->data.scalar.anchor;
        tag    = e->data.scalar.tag;
        if (strlen((const char *)e->data.scalar.value) != e->data.scalar.length) {
            return refuse(r, err, "the text holds a NUL byte");
        }
    } else if (e->type == YAML_SEQUENCE_START_EVENT) {
        anchor = e->data.sequence_start.anchor;
        tag    = e->data.sequence_start.tag;
    } else if (e->type == YAML_MAPPING_START_EVENT) {
        anchor = e->data.mapping_start.anchor;
        tag    = e->data.mapping_start.tag;
    }
    if (anchor != NULL) {
        return refuse(r, err, "anchors (&name) are not read; write the value out");
    }
    return tag != NULL ? refuse(r, err, "tags (!name) are not read") : PQ_OK;
}

static pq_status read_node(reader *r, size_t depth, pq_yaml **out, pq_err *err);

/* Appends an item, which is taken. */
static pq_status give(pq_yaml *to, pq_yaml **item, pq_err *err)
{
    pq_yaml *taken = *item;

    *item = NULL;
    return pq_yaml_append(to, taken, err);
}

static pq_status read_list(reader *r, size_t depth, pq_yaml *list, pq_err *err)
{
    pq_yaml  *item = NULL;
    pq_status st;

    for (;;) {
        PQ_TRY(next_event(r, err));
        if (r->event.type == YAML_SEQUENCE_END_EVENT) {
            break;
        }
        PQ_TRY(read_node(r, depth + 1, &item, err));
        PQ_TRY(give(list, &item, err));
    }
cleanup:
    pq_yaml_free(&item);
    return st;
}

static pq_status read_map(reader *r, size_t depth, pq_yaml *map, pq_err *err)
{
    pq_yaml  *item = NULL;
    char     *key  = NULL;
    pq_status st;

    for (;;) {
        yaml_mark_t    at;
        const pq_yaml *twin;

        PQ_TRY(next_event(r, err));
        if (r->event.type == YAML_MAPPING_END_EVENT) {
            break;
        }
        at = r->event.start_mark;
        PQ_TRY(check_plain(r, err));
        PQ_CHECK(r->event.type == YAML_SCALAR_EVENT, PQ_ERR_CONFIG,
                 "%s:%zu:%zu: a key must be a plain text", r->name, at.line + 1,
                 at.column + 1);
        PQ_STRDUP(key, (const char *)r->event.data.scalar.value);
        twin = pq_yaml_find(map, key);
        PQ_CHECK(twin == NULL, PQ_ERR_CONFIG,
                 "%s:%zu:%zu: the key '%s' is there twice; first in line %zu", r->name,
                 at.line + 1, at.column + 1, key, twin->key_line);
        PQ_TRY(next_event(r, err));
        PQ_TRY(read_node(r, depth + 1, &item, err));
        item->key        = key;
        key              = NULL;
        item->key_line   = at.line + 1;
        item->key_column = at.column + 1;
        PQ_TRY(give(map, &item, err));
    }
cleanup:
    pq_free(key);
    pq_yaml_free(&item);
    return st;
}

/* Reads the value that starts at the current event. */
static pq_status read_node(reader *r, size_t depth, pq_yaml **out, pq_err *err)
{
    const yaml_event_type_t type = r->event.type;
    const yaml_mark_t       at   = r->event.start_mark;
    pq_yaml                *node = NULL;
    pq_status               st;

    PQ_TRY(check_plain(r, err));
    PQ_CHECK(depth <= PQ_YAML_MAX_DEPTH, PQ_ERR_CONFIG,
             "%s:%zu:%zu: more than %d lists and maps within each other", r->name,
             at.line + 1, at.column + 1, PQ_YAML_MAX_DEPTH);
    PQ_CHECK(++r->nodes <= PQ_YAML_MAX_NODES, PQ_ERR_CONFIG,
             "%s:%zu:%zu: more than %d values", r->name, at.line + 1, at.column + 1,
             PQ_YAML_MAX_NODES);
    if (type == YAML_SCALAR_EVENT) {
        PQ_TRY(node_create(PQ_YAML_SCALAR, r->name, at, &node, err));
        PQ_STRDUP(node->text, (const char *)r->event.data.scalar.value);
        node->quoted = r->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    } else if (type == YAML_SEQUENCE_START_EVENT) {
        PQ_TRY(node_create(PQ_YAML_LIST, r->name, at, &node, err));
        PQ_TRY(read_list(r, depth, node, err));
    } else {
        PQ_TRY(node_create(PQ_YAML_MAP, r->name, at, &node, err));
        PQ_TRY(read_map(r, depth, node, err));
    }
    *out = node;
    node = NULL;
cleanup:
    pq_yaml_free(&node);
    return st;
}

/* libyaml compares each directive with all before it: none is read, so none is given to
 * it. */
static pq_status refuse_directives(const char *text, size_t n, const char *name,
                                   pq_err *err)
{
    size_t    line = 1;
    pq_status st   = PQ_OK;

    for (size_t i = 0; i < n; i++) {
        const bool starts = i == 0 || text[i - 1] == '\n' || text[i - 1] == '\r';
        PQ_CHECK(!starts || n - i < 4 || memcmp(text + i, "%TAG", 4) != 0, PQ_ERR_CONFIG,
                 "%s:%zu:1: %%TAG is not read", name, line);
        line += text[i] == '\n';
    }
cleanup:
    return st;
}

pq_status pq_yaml_parse(const char *text, size_t n, const char *name, pq_yaml **out,
                        pq_err *err)
{
    reader    r    = {.name = name, .text = text, .n = n};
    pq_yaml  *root = NULL;
    pq_status st;

    PQ_CHECK(n <= PQ_YAML_MAX_BYTES, PQ_ERR_CONFIG,
             "%s: has %zu bytes; at most %d are read", name, n, PQ_YAML_MAX_BYTES);
    PQ_TRY(refuse_directives(text, n, name, err));
    PQ_CHECK(yaml_parser_initialize(&r.parser) == 1, PQ_ERR_NOMEM, "cannot read %s",
             name);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, n);
    PQ_TRY(next_event(&r, err)); /* start of the stream */
    PQ_TRY(next_event(&r, err));
    PQ_CHECK(r.event.type == YAML_DOCUMENT_START_EVENT, PQ_ERR_CONFIG, "%s: is empty",
             name);
    PQ_TRY(next_event(&r, err));
    PQ_TRY(read_node(&r, 0, &root, err));
    PQ_TRY(next_event(&r, err)); /* end of the document */
    PQ_TRY(next_event(&r, err));
    if (r.event.type != YAML_STREAM_END_EVENT) {
        PQ_TRY(refuse(&r, err, "a second document starts here; one is read"));
    }
    *out = root;
    root = NULL;
cleanup:
    pq_yaml_free(&root);
    if (r.has_event) {
        yaml_event_delete(&r.event);
    }
    yaml_parser_delete(&r.parser);
    return st;
}

pq_status pq_yaml_read(const char *path, pq_yaml **out, pq_err *err)
{
    char     *text = NULL;
    size_t    n    = 0;
    pq_status st;

    PQ_TRY(pq_file_read(path, PQ_YAML_MAX_BYTES, &text, &n, err));
    PQ_TRY(pq_yaml_parse(text, n, path, out, err));
cleanup:
    pq_free(text);
    return st;
}
