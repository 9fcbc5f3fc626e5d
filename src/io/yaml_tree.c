/* Trees of YAML: finding, copying and changing values, and saying where they stand. */
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include "core/memory.h"
#include "core/text.h"
#include "io/yaml.h"

static pq_status append(pq_yaml *parent, pq_yaml **item, pq_err *err)
{
    pq_yaml **grown;
    pq_status st = PQ_OK;

    if ((parent->n & (parent->n - 1)) == 0) { /* full at 0, 1, 2, 4, 8 … */
        grown = pq_recalloc(parent->items, parent->n, parent->n == 0 ? 1 : 2 * parent->n,
                            sizeof *parent->items);
        PQ_CHECK(grown != NULL, PQ_ERR_NOMEM, "cannot allocate an item of %s",
                 parent->file);
        parent->items = grown;
    }
    parent->items[parent->n++] = *item;
    *item                      = NULL;
cleanup:
    return st;
}

void pq_yaml_free(pq_yaml **node)
{
    pq_yaml *y = *node;

    if (y == NULL) {
        return;
    }
    for (size_t i = 0; i < y->n; i++) {
        pq_yaml_free(&y->items[i]);
    }
    pq_free(y->items);
    pq_free(y->key);
    pq_free(y->text);
    pq_free(y->file);
    pq_free(y);
    *node = NULL;
}

pq_status pq_yaml_clone(const pq_yaml *node, pq_yaml **out, pq_err *err)
{
    pq_yaml  *copy = NULL, *item = NULL;
    pq_status st;

    copy = pq_calloc_packed(1, sizeof *copy);
    PQ_CHECK(copy != NULL, PQ_ERR_NOMEM, "cannot allocate a node");
    *copy       = *node;
    copy->n     = 0;
    copy->items = NULL;
    copy->key   = NULL;
    copy->text  = NULL;
    copy->file  = NULL;
    PQ_STRDUP(copy->file, node->file);
    if (node->key != NULL) {
        PQ_STRDUP(copy->key, node->key);
    }
    if (node->text != NULL) {
        PQ_STRDUP(copy->text, node->text);
    }
    for (size_t i = 0; i < node->n; i++) {
        PQ_TRY(pq_yaml_clone(node->items[i], &item, err));
        PQ_TRY(append(copy, &item, err));
    }
    *out = copy;
    copy = NULL;
cleanup:
    pq_yaml_free(&item);
    pq_yaml_free(&copy);
    return st;
}

static size_t index_of(const pq_yaml *map, const char *key)
{
    for (size_t i = 0; map->kind == PQ_YAML_MAP && i < map->n; i++) {
        if (strcmp(map->items[i]->key, key) == 0) {
            return i;
        }
    }
    return SIZE_MAX;
}

pq_yaml *pq_yaml_find(const pq_yaml *map, const char *key)
{
    const size_t i = index_of(map, key);

    return i == SIZE_MAX ? NULL : map->items[i];
}

pq_status pq_yaml_set(pq_yaml *map, const char *key, pq_yaml *value, pq_err *err)
{
    const size_t i    = index_of(map, key);
    char        *copy = NULL;
    pq_status    st;

    PQ_STRDUP(copy, key);
    pq_free(value->key);
    value->key = copy;
    if (i == SIZE_MAX) {
        PQ_TRY(append(map, &value, err));
    } else {
        pq_yaml_free(&map->items[i]);
        map->items[i] = value;
        value         = NULL;
    }
cleanup:
    pq_yaml_free(&value);
    return st;
}

pq_status pq_yaml_append(pq_yaml *list, pq_yaml *value, pq_err *err)
{
    const pq_status st = append(list, &value, err);

    pq_yaml_free(&value);
    return st;
}

void pq_yaml_remove(pq_yaml *map, const char *key)
{
    const size_t i = index_of(map, key);
    pq_yaml     *out;

    if (i == SIZE_MAX) {
        return;
    }
    out = map->items[i];
    memmove(&map->items[i], &map->items[i + 1], (map->n - i - 1) * sizeof *map->items);
    map->n--;
    pq_yaml_free(&out);
}

pq_status pq_yaml_splice(pq_yaml *list, pq_yaml **with, pq_err *err)
{
    size_t    n     = 0;
    pq_yaml **items = NULL;
    pq_status st;

    for (size_t i = 0; i < list->n; i++) {
        n += with[i] != NULL ? with[i]->n : 1;
    }
    PQ_NEW(items, n > 0 ? n : 1);
    n = 0;
    for (size_t i = 0; i < list->n; i++) {
        if (with[i] == NULL) {
            items[n++] = list->items[i];
            continue;
        }
        for (size_t k = 0; k < with[i]->n; k++) {
            items[n++] = with[i]->items[k];
        }
        with[i]->n = 0;
        pq_yaml_free(&list->items[i]);
    }
    pq_free(list->items);
    list->items = items;
    list->n     = n;
cleanup:
    return st;
}

pq_status pq_yaml_move(pq_yaml *tree, const pq_yaml *place, pq_err *err)
{
    char     *file = NULL;
    pq_status st;

    PQ_STRDUP(file, place->file);
    pq_free(tree->file);
    tree->file       = file;
    tree->line       = place->line;
    tree->column     = place->column;
    tree->key_line   = place->key_line;
    tree->key_column = place->key_column;
    for (size_t i = 0; i < tree->n; i++) {
        PQ_TRY(pq_yaml_move(tree->items[i], place, err));
    }
cleanup:
    return st;
}

pq_status pq_yaml_set_text(pq_yaml *scalar, const char *text, pq_err *err)
{
    char     *copy;
    pq_status st;

    PQ_STRDUP(copy, text);
    pq_free(scalar->text);
    scalar->text = copy;
cleanup:
    return st;
}

pq_status pq_yaml_merge(pq_yaml *into, const pq_yaml *from, pq_err *err)
{
    pq_yaml  *copy = NULL;
    pq_status st   = PQ_OK;

    for (size_t i = 0; i < from->n; i++) {
        const pq_yaml *item = from->items[i];
        pq_yaml       *old  = pq_yaml_find(into, item->key);
        if (old != NULL && old->kind == PQ_YAML_MAP && item->kind == PQ_YAML_MAP) {
            PQ_TRY(pq_yaml_merge(old, item, err));
        } else {
            PQ_TRY(pq_yaml_clone(item, &copy, err));
            PQ_TRY(pq_yaml_set(into, item->key, copy, err));
        }
    }
cleanup:
    return st;
}

const char *pq_yaml_kind_text(pq_yaml_kind kind)
{
    return kind == PQ_YAML_SCALAR ? "a text" : kind == PQ_YAML_LIST ? "a list" : "a map";
}

static pq_status fail_at(const char *file, size_t line, size_t column, pq_err *err,
                         pq_status code, const char *fmt, va_list args)
{
    char message[sizeof err->message];

    (void)pq_vsnprintf(message, sizeof message, fmt, args);
    return pq_err_set(err, code, __FILE__, __LINE__, "%s:%zu:%zu: %s", file, line, column,
                      message);
}

pq_status pq_yaml_fail(const pq_yaml *node, pq_err *err, pq_status code, const char *fmt,
                       ...)
{
    va_list args;

    va_start(args, fmt);
    code = fail_at(node->file, node->line, node->column, err, code, fmt, args);
    va_end(args);
    return code;
}

pq_status pq_yaml_fail_key(const pq_yaml *node, pq_err *err, pq_status code,
                           const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    code = fail_at(node->file, node->key_line, node->key_column, err, code, fmt, args);
    va_end(args);
    return code;
}
