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
