#include "sweep/expand.h"

#include <stdio.h>
#include <string.h>

#include "core/budget.h"
#include "core/memory.h"

enum { NAME_BYTES = 200, EXCLUSIONS_MAX = 10000000 };

/* One stage of a pipeline, of which there are as many as its own axes have combinations.
 */
typedef struct {
    pq_yaml *list;    /* the stage alone, as a list of one */
    bool    *uses;    /* [n_axes] */
    size_t  *strides; /* [n_axes] */
    bool    *tried;   /* [variants] of each that was read, well or not */
} stage_source;

typedef struct {
    pq_problems   *p;
    pq_grid       *grid;
    pq_pipeline   *out;
    stage_source  *sources; /* [out->n_stages] */
    char        ***texts;   /* [n_axes][values], borrowed from out->texts */
    size_t        *rows;    /* [n_axes] of the case at work */
    pq_substitute *values;  /* [n_axes] the same */
    pq_text        label;   /* the same */
    char           what[NAME_BYTES + 16];
} expansion;

/* "8", "[8, 4]": the value of an axis for labels and tables. */
static void add_value(pq_text *t, const pq_yaml *node)
{
    if (node->kind == PQ_YAML_SCALAR) {
        pq_text_add(t, "%s", node->text);
        return;
    }
    pq_text_add(t, "[");
    for (size_t i = 0; i < node->n; i++) {
        pq_text_add(t, "%s", i == 0 ? "" : ", ");
        add_value(t, node->items[i]);
    }
    pq_text_add(t, "]");
}

/* The texts of all values of all axes. */
static pq_status write_values(expansion *e, pq_err *err)
{
    const pq_grid *grid  = e->grid;
    size_t         n     = 0;
    pq_text        value = {0};
    pq_status      st;

    for (size_t a = 0; a < grid->n_axes; a++) {
        n += grid->axes[a].values->n;
    }
    PQ_NEW(e->out->texts, n);
    PQ_NEW(e->texts, grid->n_axes);
    for (size_t a = 0; a < grid->n_axes; a++) {
        e->texts[a] = e->out->texts + e->out->n_texts;
        for (size_t i = 0; i < grid->axes[a].values->n; i++) {
            add_value(&value, grid->axes[a].values->items[i]);
            PQ_TRY(pq_text_take(&value, &e->out->texts[e->out->n_texts], err));
            e->out->n_texts++;
        }
    }
cleanup:
    pq_text_free(&value);
    return st;
}

static void mark_names(const pq_grid *grid, const pq_yaml *tree, bool *uses)
{
    for (size_t i = 0; i < tree->n; i++) {
        mark_names(grid, tree->items[i], uses);
    }
    for (size_t a = 0; a < grid->n_axes; a++) {
        uses[a] = uses[a] || (tree->kind == PQ_YAML_SCALAR && tree->text[0] == '$' &&
                              strcmp(tree->text + 1, grid->axes[a].key->key) == 0);
    }
}

static pq_status open_sources(expansion *e, const pq_yaml *stages, pq_err *err)
{
    pq_yaml  *copy = NULL;
    pq_status st;

    PQ_NEW(e->sources, stages->n);
    PQ_NEW(e->out->stages, stages->n);
    e->out->n_stages = stages->n;
    for (size_t s = 0; s < stages->n; s++) {
        stage_source *source = &e->sources[s];
        PQ_NEW(source->uses, e->grid->n_axes);
        mark_names(e->grid, stages->items[s], source->uses);
        PQ_NEW(source->strides, e->grid->n_axes);
        const size_t n = pq_grid_strides(e->grid, source->uses, source->strides);
        PQ_NEW(source->tried, n);
        PQ_NEW(e->out->stages[s].stage, n);
        e->out->stages[s].n = n;
        PQ_TRY(pq_yaml_parse("[]", 2, stages->file, &source->list, err));
        PQ_TRY(pq_yaml_clone(stages->items[s], &copy, err));
        st   = pq_yaml_append(source->list, copy, err);
        copy = NULL;
        PQ_TRY(st);
    }
cleanup:
    return st;
}

static void close_expansion(expansion *e)
{
    for (size_t s = 0; e->sources != NULL && s < e->out->n_stages; s++) {
        pq_free(e->sources[s].uses);
        pq_free(e->sources[s].strides);
        pq_free(e->sources[s].tried);
        pq_yaml_free(&e->sources[s].list);
    }
    pq_free(e->sources);
    pq_free(e->texts);
    pq_free(e->rows);
    pq_free(e->values);
    pq_text_free(&e->label);
}

/* Whether the parameters of a whole stage fit each other. */
static void check_stage(pq_problems *p, const pq_yaml *node, const char *what,
                        const pq_stage *stage)
{
    pq_err why = {0};

    if (pq_stage_check(stage, &why) != PQ_OK) {
        pq_problem_key(p, node->kind == PQ_YAML_SCALAR ? node : node->items[0], "%s: %s",
                       what, why.message);
    }
}

/* Stage s with the values of a case put in. */
static pq_status read_stage(expansion *e, size_t s, pq_stage *out, pq_err *err)
{
    const size_t before = e->p->met;
    pq_yaml     *tree   = NULL;
    pq_status    st;

    pq_grid_values(e->grid, e->rows, e->values);
    PQ_TRY(pq_yaml_clone(e->sources[s].list, &tree, err));
    PQ_TRY(pq_substitute_names(tree, e->grid->n_axes, e->values, err));
    PQ_TRY(pq_read_stage(e->p, tree->items[0], e->what, out, err));
    if (e->p->met == before) {
        check_stage(e->p, tree->items[0], e->what, out);
    }
cleanup:
    pq_yaml_free(&tree);
    return st;
}

/* The case of e->rows, whose axes and stages have their places. */
static pq_status fill_case(expansion *e, pq_setting *axes, const pq_stage **stages,
                           pq_case *out, pq_err *err)
{
    pq_status st = PQ_OK;

    *out            = (pq_case){NULL, e->grid->n_axes, axes, e->out->n_stages, stages};
    e->label.length = 0;
    pq_text_add(&e->label, "%s", e->out->name);
    for (size_t a = 0; a < out->n_axes; a++) {
        axes[a] = (pq_setting){e->grid->axes[a].key->key, e->texts[a][e->rows[a]]};
        pq_text_add(&e->label, " %s=%s", axes[a].name, axes[a].value);
    }
    PQ_CHECK(!e->label.failed, PQ_ERR_NOMEM, "cannot allocate a label");
    PQ_STRDUP(out->label, e->label.text);
    for (size_t s = 0; s < out->n_stages; s++) {
        const stage_source *source = &e->sources[s];
        size_t              at     = 0;
        for (size_t a = 0; a < out->n_axes; a++) {
            at += e->rows[a] * source->strides[a];
        }
        stages[s] = &e->out->stages[s].stage[at];
        if (!source->tried[at]) {
            source->tried[at] = true;
            PQ_TRY(read_stage(e, s, &e->out->stages[s].stage[at], err));
        }
    }
cleanup:
    return st;
}

static pq_status fill_cases(expansion *e, size_t n, pq_err *err)
{
    const size_t     n_axes = e->grid->n_axes, n_stages = e->out->n_stages;
    pq_pipeline     *out = e->out;
    pq_setting      *axes;
    const pq_stage **stages;
    size_t           settings, pointers;
    pq_status        st;

    PQ_CHECK(!__builtin_mul_overflow(n, n_axes, &settings) &&
                 !__builtin_mul_overflow(n, n_stages, &pointers),
             PQ_ERR_NOMEM, "cannot allocate %zu cells", n);
    PQ_NEW(out->cases, n);
    PQ_NEW(out->axes_of_cases, settings);
    PQ_NEW(out->stages_of_cases, pointers);
    axes   = out->axes_of_cases;
    stages = out->stages_of_cases;
    for (size_t i = 0; i < n; i++) {
        pq_grid_rows(e->grid, i, e->rows);
        if (pq_exclusions_match(e->grid, e->rows)) {
            continue;
        }
        out->n_cases++;
        PQ_TRY(fill_case(e, axes, stages, &out->cases[out->n_cases - 1], err));
        axes += n_axes;
        stages += n_stages;
    }
cleanup:
    return st;
}

pq_status pq_expand(pq_problems *p, const pq_yaml *stages, pq_grid *grid,
                    pq_pipeline *out, pq_err *err)
{
    const size_t n = pq_grid_count(grid);
    expansion    e = {.p = p, .grid = grid, .out = out};
    pq_status    st;

    (void)snprintf(e.what, sizeof e.what, "pipeline '%s'", out->name);
    if (n == 0) {
        pq_problem_key(p, grid->axes[0].key, "%s: has more than %d cells", e.what,
                       PQ_CASES_MAX);
        return PQ_OK;
    }
    if (grid->exclude != NULL && grid->exclude->n > EXCLUSIONS_MAX / n) {
        pq_problem(p, grid->exclude,
                   "%s: %zu entries to exclude, each compared with %zu cells, are more "
                   "than %d comparisons",
                   e.what, grid->exclude->n, n, EXCLUSIONS_MAX);
        return PQ_OK;
    }
    if (n > out->room) {
        pq_problem(p, stages, "pipelines: more than %d cells up to here", PQ_CASES_MAX);
        return PQ_OK;
    }
    out->expanded = n;
    if (!out->limited) { /* cells are worth the parameters of their stages */
        pq_budget_add(8 * n);
    }
    PQ_TRY(write_values(&e, err));
    PQ_TRY(open_sources(&e, stages, err));
    PQ_TRY(pq_exclusions_open(grid, err));
    PQ_NEW(e.rows, grid->n_axes);
    PQ_NEW(e.values, grid->n_axes);
    PQ_TRY(fill_cases(&e, n, err));
cleanup:
    close_expansion(&e);
    return st;
}

void pq_expand_free(pq_pipeline *pipeline)
{
    for (size_t i = 0; pipeline->cases != NULL && i < pipeline->n_cases; i++) {
        pq_free(pipeline->cases[i].label);
    }
    for (size_t s = 0; pipeline->stages != NULL && s < pipeline->n_stages; s++) {
        for (size_t i = 0; pipeline->stages[s].stage != NULL && i < pipeline->stages[s].n;
             i++) {
            pq_stage_free(&pipeline->stages[s].stage[i]);
        }
        pq_free(pipeline->stages[s].stage);
    }
    for (size_t i = 0; pipeline->texts != NULL && i < pipeline->n_texts; i++) {
        pq_free(pipeline->texts[i]);
    }
    pq_free(pipeline->cases);
    pq_free(pipeline->axes_of_cases);
    pq_free(pipeline->stages_of_cases);
    pq_free(pipeline->stages);
    pq_free(pipeline->texts);
    pipeline->cases   = NULL;
    pipeline->n_cases = 0;
}
