#include "sweep/recipe.h"

#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "sweep/pipeline.h"

#define X(word) extern const pq_recipe pq_recipe_##word;
#include "sweep/recipes.def"
#undef X

const pq_recipe *const pq_recipes[] = {
#define X(word) &pq_recipe_##word,
#include "sweep/recipes.def"
#undef X
    NULL};

enum { KEYS_MAX = 16 }; /* of one recipe */

const pq_recipe *pq_recipe_find(const char *name)
{
    for (size_t i = 0; pq_recipes[i] != NULL; i++) {
        if (strcmp(pq_recipes[i]->name, name) == 0) {
            return pq_recipes[i];
        }
    }
    return NULL;
}

/* The keys as written, and the defaults of the others, which `defaults` holds. */
static pq_status gather(const pq_recipe *recipe, const pq_yaml *given, pq_yaml *defaults,
                        pq_substitute *values, size_t *n, pq_err *err)
{
    pq_yaml  *scalar = NULL;
    pq_status st     = PQ_OK;

    *n = 0;
    for (const pq_param *row = recipe->params; row->name != NULL && *n < KEYS_MAX;
         row++) {
        const pq_yaml *value = given != NULL ? pq_yaml_find(given, row->name) : NULL;
        if (value == NULL) {
            PQ_TRY(pq_yaml_parse("x", 1, recipe->name, &scalar, err));
            PQ_TRY(pq_yaml_set_text(scalar, row->fallback, err));
            st     = pq_yaml_set(defaults, row->name, scalar, err);
            scalar = NULL;
            PQ_TRY(st);
            value = pq_yaml_find(defaults, row->name);
        }
        values[(*n)++] = (pq_substitute){row->name, value};
    }
cleanup:
    pq_yaml_free(&scalar);
    return st;
}

/* The stages of a recipe, with the place of the entry that names it. */
static pq_status spell_out(const pq_recipe *recipe, const pq_yaml *given,
                           const pq_yaml *entry, pq_yaml **out, pq_err *err)
{
    pq_yaml      *stages = NULL, *defaults = NULL;
    pq_substitute values[KEYS_MAX];
    size_t        n;
    pq_status     st;

    PQ_TRY(pq_yaml_parse(recipe->stages, strlen(recipe->stages), recipe->name, &stages,
                         err));
    PQ_TRY(pq_yaml_parse("{}", 2, recipe->name, &defaults, err));
    PQ_TRY(gather(recipe, given, defaults, values, &n, err));
    PQ_TRY(pq_yaml_move(stages, entry, err));
    PQ_TRY(pq_yaml_move(defaults, entry, err));
    PQ_TRY(pq_substitute_names(stages, n, values, err));
    *out   = stages;
    stages = NULL;
cleanup:
    pq_yaml_free(&stages);
    pq_yaml_free(&defaults);
    return st;
}

/* Notes keys that the recipe does not have. */
static bool check_keys(pq_problems *p, const pq_recipe *recipe, const pq_yaml *given,
                       const char *pipeline)
{
    bool right = true;
    char what[256];

    (void)snprintf(what, sizeof what, "pipeline '%s': %s", pipeline, recipe->name);
    if (given == NULL || (given->kind == PQ_YAML_SCALAR && given->text[0] == '\0')) {
        return true;
    }
    if (!pq_expect_map(p, given, what)) {
        return false;
    }
    for (size_t i = 0; i < given->n; i++) {
        right = pq_expect_key(p, given->items[i], recipe->params, NULL, what) && right;
    }
    return right;
}

/* One entry of a list of stages; *out stays NULL where it is no recipe, and is an empty
 * list where a key was wrong, which was told. */
static pq_status expand_entry(pq_problems *p, const pq_yaml *entry, const char *pipeline,
                              bool *used, pq_yaml **out, pq_err *err)
{
    const bool       plain  = entry->kind == PQ_YAML_SCALAR;
    const bool       one    = entry->kind == PQ_YAML_MAP && entry->n == 1;
    const pq_yaml   *given  = one ? entry->items[0] : NULL;
    const char      *name   = plain ? entry->text : one ? given->key : "";
    const pq_recipe *recipe = pq_recipe_find(name);

    if (recipe == NULL) {
        return PQ_OK;
    }
    for (size_t r = 0; r < PQ_RECIPES; r++) {
        used[r] = used[r] || pq_recipes[r] == recipe;
    }
    return check_keys(p, recipe, given, pipeline)
               ? spell_out(recipe, given, entry, out, err)
               : pq_yaml_parse("[]", 2, recipe->name, out, err);
}

static pq_status expand_list(pq_problems *p, pq_yaml *list, const char *pipeline,
                             bool *used, pq_err *err)
{
    const size_t n    = list->n;
    pq_yaml    **with = NULL;
    pq_status    st;

    PQ_NEW(with, n > 0 ? n : 1);
    for (size_t i = 0; i < n; i++) {
        PQ_TRY(expand_entry(p, list->items[i], pipeline, used, &with[i], err));
    }
    PQ_TRY(pq_yaml_splice(list, with, err));
cleanup:
    for (size_t i = 0; with != NULL && i < n; i++) {
        pq_yaml_free(&with[i]);
    }
    pq_free(with);
    return st;
}

pq_status pq_recipes_expand(pq_problems *p, pq_yaml *pipelines, bool *used, pq_err *err)
{
    pq_status st = PQ_OK;

    memset(used, 0, PQ_RECIPES * sizeof *used);
    for (size_t i = 0; pipelines->kind == PQ_YAML_MAP && i < pipelines->n; i++) {
        pq_yaml *node   = pipelines->items[i];
        pq_yaml *stages = node->kind == PQ_YAML_MAP ? pq_yaml_find(node, "stages") : node;
        if (stages != NULL && stages->kind == PQ_YAML_LIST) {
            PQ_TRY(expand_list(p, stages, node->key, used, err));
        }
    }
cleanup:
    return st;
}

/* "rank=4,bits=6" as keys of a map; globs with commas have `|` there, as methods do. */
static pq_status read_items(const pq_recipe *recipe, const char *text, pq_yaml *map,
                            pq_err *err)
{
    char    **items = NULL;
    size_t    n     = 0;
    pq_yaml  *value = NULL;
    pq_status st;

    PQ_TRY(pq_text_split(text, ',', &items, &n, err));
    for (size_t i = 0; i < n; i++) {
        char *equals = strchr(items[i], '=');
        PQ_CHECK(equals != NULL, PQ_ERR_CONFIG, "%s: '%s' is not key=value", recipe->name,
                 items[i]);
        *equals = '\0';
        PQ_CHECK(pq_params_find(recipe->params, items[i]) != NULL, PQ_ERR_CONFIG,
                 "%s: unknown key '%s' (`pquant help %s` lists them)", recipe->name,
                 items[i], recipe->name);
        PQ_TRY(pq_yaml_parse("x", 1, recipe->name, &value, err));
        PQ_TRY(pq_yaml_set_text(value, equals + 1, err));
        st    = pq_yaml_set(map, items[i], value, err);
        value = NULL;
        PQ_TRY(st);
    }
cleanup:
    pq_yaml_free(&value);
    pq_free(items);
    return st;
}

/* A stage of a recipe as `--method` takes it. */
static char *method_text(const pq_yaml *stage)
{
    const pq_yaml *params = stage->items[0];
    pq_text        text   = {0};
    char          *out    = NULL;

    pq_text_add(&text, "%s", params->key);
    for (size_t i = 0; i < params->n; i++) {
        pq_text_add(&text, "%s%s=%s", i == 0 ? ":" : ",", params->items[i]->key,
                    params->items[i]->text);
    }
    if (pq_text_take(&text, &out, NULL) != PQ_OK) {
        out = NULL;
    }
    pq_text_free(&text);
    return out;
}

static pq_status add_method(const char *text, char ***list, size_t *n, pq_err *err)
{
    char    **grown = pq_recalloc(*list, *n, *n + 1, sizeof *grown);
    pq_status st;

    PQ_CHECK(grown != NULL, PQ_ERR_NOMEM, "cannot allocate a method");
    *list = grown;
    PQ_STRDUP(grown[*n], text);
    ++*n;
cleanup:
    return st;
}

/* The texts of one method, or of the stages of one recipe. */
static pq_status add_methods(const char *text, char ***list, size_t *n, pq_err *err)
{
    const char      *colon  = strchr(text, ':');
    char            *name   = pq_format("%.*s", (int)strcspn(text, ":"), text);
    const pq_recipe *recipe = name != NULL ? pq_recipe_find(name) : NULL;
    pq_yaml         *given = NULL, *stages = NULL;
    pq_status        st;

    PQ_CHECK(name != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    if (recipe == NULL) {
        PQ_TRY(add_method(text, list, n, err));
        goto cleanup;
    }
    PQ_TRY(pq_yaml_parse("{}", 2, name, &given, err));
    if (colon != NULL) {
        PQ_TRY(read_items(recipe, colon + 1, given, err));
    }
    PQ_TRY(spell_out(recipe, given, given, &stages, err));
    for (size_t i = 0; i < stages->n; i++) {
        char *one = method_text(stages->items[i]);
        PQ_CHECK(one != NULL, PQ_ERR_NOMEM, "cannot allocate a method");
        st = add_method(one, list, n, err);
        pq_free(one);
        PQ_TRY(st);
    }
cleanup:
    pq_free(name);
    pq_yaml_free(&given);
    pq_yaml_free(&stages);
    return st;
}

pq_status pq_recipes_methods(const char *const *methods, size_t n, char ***out,
                             size_t *count, pq_err *err)
{
    char    **list = NULL;
    size_t    all  = 0;
    pq_status st   = PQ_OK;

    for (size_t i = 0; i < n; i++) {
        PQ_TRY(add_methods(methods[i], &list, &all, err));
    }
    *out   = list;
    *count = all;
    list   = NULL;
cleanup:
    for (size_t i = 0; list != NULL && i < all; i++) {
        pq_free(list[i]);
    }
    pq_free(list);
    return st;
}
