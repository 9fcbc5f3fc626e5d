/**
 * @file
 * Recipes: several stages under one name. `- jet_tagger: {rank: 8}` in a pipeline stands
 * for the stages of the recipe, which may be mixed with others and swept as any stage;
 * the configuration is read as if they had been spelled out.
 *
 * A recipe is one file recipe_<word>.c that ends in `const pq_recipe pq_recipe_<word>`,
 * and the word in meson.build.
 */
#ifndef PQ_SWEEP_RECIPE_H
#define PQ_SWEEP_RECIPE_H

#include "sweep/problems.h"

/** One recipe; all constant. */
typedef struct {
    const char *name, *summary;
    /** Its keys, with defaults, for help and docs; ends with a zeroed row. Each is named
     * in `stages`, whose own keys check its value. */
    const pq_param *params;
    const char     *stages; /**< a list in YAML, `$key` where a value goes */
    /** NULL-terminated; computed too where they have a value for the model. */
    const char *const *metrics;
} pq_recipe;

/** All recipes; ends with NULL. */
extern const pq_recipe *const pq_recipes[];

/** @return the recipe, or NULL. */
const pq_recipe *pq_recipe_find(const char *name);

/**
 * Spells out every recipe in the stages of `pipelines:`, at the place where it was named;
 * what is wrong with its keys goes to the problems.
 *
 * @param[in,out] pipelines  the tree below `pipelines:`, right or wrong
 * @param[out]    used       [recipes] whether each is named anywhere
 * @retval PQ_ERR_NOMEM  Out of memory.
 */
pq_status pq_recipes_expand(pq_problems *p, pq_yaml *pipelines, bool *used, pq_err *err);

/**
 * The same of texts as `--method` takes them: "jet_tagger:rank=4,bits=6" becomes one text
 * for each of its stages, others stay.
 * @param[out] out    [*count] caller frees each and the array with pq_free
 * @param[out] count  texts
 * @retval PQ_ERR_CONFIG  A recipe has no such key, or an item is not key=value.
 */
pq_status pq_recipes_methods(const char *const *methods, size_t n, char ***out,
                             size_t *count, pq_err *err);

/** Most metrics of one recipe. */
enum { PQ_RECIPE_METRICS = 4 };

/** How many recipes there are. */
enum {
#define X(word) PQ_RECIPE_##word,
#include "sweep/recipes.def"
#undef X
    PQ_RECIPES
};

#endif
