/* One change in a text of JSON, wherever it is. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

static unsigned draw(unsigned *state, unsigned n)
{
    *state = *state * 1664525U + 1013904223U;
    return n == 0 ? 0 : (*state >> 8) % n;
}

/* Values in a tree, itself not counted. */
static size_t count(const json_t *tree)
{
    size_t      n = 0, i;
    json_t     *item;
    const char *key;

    if (json_is_object(tree)) {
        json_object_foreach((json_t *)tree, key, item)
        {
            n += 1 + count(item);
        }
    } else {
        json_array_foreach(tree, i, item)
        {
            n += 1 + count(item);
        }
    }
    return n;
}

/* Where a value stands: a key of an object, or an index of an array. */
typedef struct {
    json_t *parent, *item;
    char   *key;
    size_t  index;
} place;

/* The value that has *left others before it. */
static bool find(json_t *tree, size_t *left, place *out)
{
    json_t     *item;
    const char *key;
    size_t      i;

    if (json_is_object(tree)) {
        json_object_foreach(tree, key, item)
        {
            if ((*left)-- == 0) {
                *out = (place){tree, item, strdup(key), 0};
                return true;
            }
            if (find(item, left, out)) {
                return true;
            }
        }
    } else {
        json_array_foreach(tree, i, item)
        {
            if ((*left)-- == 0) {
                *out = (place){tree, item, NULL, i};
                return true;
            }
            if (find(item, left, out)) {
                return true;
            }
        }
    }
    return false;
}

static json_t *new_value(unsigned *state)
{
    static const double      reals[] = {0.5, -1e308, 1e308, 1e-308, 4294967296.5};
    static const long long   whole[] = {0, 1, -1, 2, 7, 255, 65536, 1LL << 31, 1LL << 62};
    static const char *const texts[] = {"",        "a",       "..",
                                        "relu",    "softmax", "[1]",
                                        "same",    "nan",     "channels_first",
                                        "\x1b[2J", "1e999"};

    switch (draw(state, 8)) {
    case 0:
        return json_real(reals[draw(state, 5)]);
    case 1:
    case 2:
        return json_integer(whole[draw(state, 9)]);
    case 3:
        return json_string(texts[draw(state, 11)]);
    case 4:
        return json_null();
    case 5:
        return json_pack("[i, i]", (int)draw(state, 5), (int)draw(state, 70000));
    case 6:
        return json_pack("{s: i}", "a", 1);
    default:
        return json_boolean(draw(state, 2));
    }
}

static void set(const place *p, json_t *value)
{
    if (p->key != NULL) {
        (void)json_object_set_new(p->parent, p->key, value);
    } else {
        (void)json_array_set_new(p->parent, p->index, value);
    }
}

static void drop(const place *p)
{
    if (p->key != NULL) {
        (void)json_object_del(p->parent, p->key);
    } else {
        (void)json_array_remove(p->parent, p->index);
    }
}

static void change(const place *p, const place *other, unsigned *state)
{
    switch (draw(state, 7)) {
    case 0:
        drop(p);
        break;
    case 1: /* a copy of another */
    case 2:
        set(p, json_deep_copy(other->item));
        break;
    case 3:
        if (json_is_integer(p->item)) {
            const json_int_t n = json_integer_value(p->item);
            set(p, json_integer(draw(state, 2) == 0 ? n + 1 - (int)draw(state, 3)
                                                    : (json_int_t)((uint64_t)n * 2)));
        } else if (p->key == NULL) {
            (void)json_array_insert_new(p->parent, p->index, json_deep_copy(p->item));
        } else { /* under another key */
            (void)json_object_set(p->parent, other->key != NULL ? other->key : "x",
                                  p->item);
        }
        break;
    default:
        set(p, new_value(state));
    }
}

char *fuzz_mutate_json(const char *text, size_t n, unsigned seed, size_t *n_out)
{
    unsigned state = seed;
    json_t  *tree  = json_loadb(text, n, JSON_DISABLE_EOF_CHECK, NULL);
    size_t   all   = tree != NULL ? count(tree) : 0, left;
    place    p, other;
    char    *out = NULL;

    if (all > 0) {
        left = draw(&state, (unsigned)all);
        (void)find(tree, &left, &other);
        other.item = json_deep_copy(other.item);
        left       = draw(&state, (unsigned)all);
        (void)find(tree, &left, &p);
        change(&p, &other, &state);
        out = json_dumps(tree, JSON_COMPACT);
        free(p.key);
        free(other.key);
        json_decref(other.item);
    }
    json_decref(tree);
    if (out != NULL) {
        *n_out = strlen(out);
    }
    return out;
}
