/**
 * @file
 * YAML as a tree of text: maps, lists and scalars with their places.
 *
 * Built from libyaml's events, so nothing is ever guessed: `no`, `1e-5` and
 * `12:30` are texts, and the reader's schema decides what they mean. Duplicate
 * keys, anchors, aliases, tags and second documents are errors with
 * file:line:column.
 */
#ifndef PQ_IO_YAML_H
#define PQ_IO_YAML_H

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"

enum {
    PQ_YAML_MAX_BYTES = 4 << 20, /**< longest file */
    PQ_YAML_MAX_DEPTH = 32,      /**< lists and maps within each other */
    PQ_YAML_MAX_NODES = 20000,   /**< values of a file */
};

typedef enum { PQ_YAML_SCALAR, PQ_YAML_LIST, PQ_YAML_MAP } pq_yaml_kind;

/** One value; owns its texts and items. Callers read fields and change trees through the
 * functions. */
typedef struct pq_yaml {
    pq_yaml_kind kind;
    char        *key;  /**< its key when it stands in a map, else NULL */
    char        *text; /**< a scalar's text ("" when nothing was written), else NULL */
    bool   quoted;     /**< the scalar stood in quotes or a block: a string for certain */
    char  *file;       /**< where it came from */
    size_t line;       /**< of the value, from 1 */
    size_t column;     /**< of the value, from 1 */
    size_t key_line, key_column; /**< of the key, or those of the value */
    size_t n;                    /**< items of a list or a map, in the file's order */
    struct pq_yaml **items;
} pq_yaml;

/**
 * Reads a file.
 *
 * @param[out] out        caller frees with pq_yaml_free
 * @retval PQ_ERR_NOT_FOUND  No such file.
 * @retval PQ_ERR_CONFIG     Not valid YAML, or one of the things named above; with
 * file:line:column.
 */
pq_status pq_yaml_read(const char *path, pq_yaml **out, pq_err *err);

/** The same from n bytes of text; `name` stands for the file in messages. */
pq_status pq_yaml_parse(const char *text, size_t n, const char *name, pq_yaml **out,
                        pq_err *err);

/** Frees a tree and sets NULL; NULL is harmless. */
void pq_yaml_free(pq_yaml **node);

/** Deep copy, places included. */
pq_status pq_yaml_clone(const pq_yaml *node, pq_yaml **out, pq_err *err);

/** Value of a key, or NULL when the map has none or the node is no map. */
pq_yaml *pq_yaml_find(const pq_yaml *map, const char *key);

/** Puts a value under a key of a map, in place of one that is there. Takes the value,
 * also on failure. */
pq_status pq_yaml_set(pq_yaml *map, const char *key, pq_yaml *value, pq_err *err);

/** Appends to a list, or to a map a value that has its key. Takes the value, also on
 * failure. */
pq_status pq_yaml_append(pq_yaml *list, pq_yaml *value, pq_err *err);

/** Takes a key out of a map, if it is there. */
void pq_yaml_remove(pq_yaml *map, const char *key);

/** Replaces a scalar's text, e.g. where a `$name` stood. */
pq_status pq_yaml_set_text(pq_yaml *scalar, const char *text, pq_err *err);

/**
 * Puts lists in place of some items of a list, each as its own items; one without items
 * takes the item away.
 * @param[in,out] with  [list->n] NULL where the item stays; emptied, the caller's to free
 * @retval PQ_ERR_NOMEM  Out of memory; all is as it was.
 */
pq_status pq_yaml_splice(pq_yaml *list, pq_yaml **with, pq_err *err);

/** Says of a whole tree that it stands where another value does. */
pq_status pq_yaml_move(pq_yaml *tree, const pq_yaml *place, pq_err *err);

/** Copies every value of `from` into `into`: maps are merged key by key, anything else is
 * replaced. Both are maps. */
pq_status pq_yaml_merge(pq_yaml *into, const pq_yaml *from, pq_err *err);

/** "a text", "a list", "a map". */
const char *pq_yaml_kind_text(pq_yaml_kind kind);

/**
 * Fails with "file:line:column: message", the place being the value's.
 * @return code
 */
pq_status pq_yaml_fail(const pq_yaml *node, pq_err *err, pq_status code, const char *fmt,
                       ...) __attribute__((format(printf, 4, 5)));

/** The same at the value's key: for unknown and misplaced keys. */
pq_status pq_yaml_fail_key(const pq_yaml *node, pq_err *err, pq_status code,
                           const char *fmt, ...) __attribute__((format(printf, 4, 5)));

#endif
