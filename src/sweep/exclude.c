#include "sweep/grid.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"

void pq_exclusions_check(pq_problems *p, const pq_grid *grid)
{
    const pq_yaml *exclude = grid->exclude;

    for (size_t i = 0; i < exclude->n; i++) {
        const pq_yaml *entry = exclude->items[i];
        for (size_t k = 0; k < entry->n && entry->kind == PQ_YAML_MAP; k++) {
            bool known = false;
            for (size_t a = 0; a < grid->n_axes; a++) {
                known =
                    known || strcmp(grid->axes[a].key->key, entry->items[k]->key) == 0;
            }
            if (!known) {
                pq_problem_key(p, entry->items[k], "exclude: there is no axis '%s'",
                               entry->items[k]->key);
            }
        }
        if (entry->kind != PQ_YAML_MAP || entry->n == 0) {
            pq_problem(p, entry, "exclude: a map of axes to values is due here");
        }
    }
}

/* The number that a text is, or NAN. */
static double number_of(const pq_yaml *node)
{
    double x = (double)NAN;

    return node->kind == PQ_YAML_SCALAR && pq_parse_real(node->text, PQ_UNIT_NONE, &x)
               ? x
               : (double)NAN;
}

/* 8 and 8.0 are the same value. */
static bool same_value(const pq_yaml *a, double x, const pq_yaml *b, double y)
{
    if (a->kind != b->kind || a->n != b->n) {
        return false;
    }
    for (size_t i = 0; i < a->n; i++) {
        if (!same_value(a->items[i], number_of(a->items[i]), b->items[i],
                        number_of(b->items[i]))) {
            return false;
        }
    }
    return a->kind != PQ_YAML_SCALAR || x == y || strcmp(a->text, b->text) == 0;
}

/* What the entries say of one axis. */
static pq_status compare_axis(pq_grid *grid, size_t a, pq_err *err)
{
    const pq_axis *axis    = &grid->axes[a];
    const pq_yaml *values  = axis->values;
    double        *numbers = NULL;
    pq_status      st;

    PQ_NEW(numbers, values->n);
    for (size_t i = 0; i < values->n; i++) {
        numbers[i] = number_of(values->items[i]);
    }
    for (size_t e = 0; e < grid->exclude->n; e++) {
        const pq_yaml *want = pq_yaml_find(grid->exclude->items[e], axis->key->key);
        const double   x    = want != NULL ? number_of(want) : (double)NAN;
        bool         **same = &grid->exclusions[e].values[a];
        if (want == NULL) {
            continue;
        }
        PQ_NEW(*same, values->n);
        for (size_t i = 0; i < values->n; i++) {
            (*same)[i] = same_value(want, x, values->items[i], numbers[i]);
        }
    }
cleanup:
    pq_free(numbers);
    return st;
}

pq_status pq_exclusions_open(pq_grid *grid, pq_err *err)
{
    const size_t n  = grid->exclude != NULL ? grid->exclude->n : 0;
    pq_status    st = PQ_OK;

    if (n == 0) {
        return PQ_OK;
    }
    PQ_NEW(grid->exclusions, n);
    for (size_t e = 0; e < n; e++) {
        PQ_NEW(grid->exclusions[e].values, grid->n_axes);
    }
    for (size_t a = 0; a < grid->n_axes; a++) {
        PQ_TRY(compare_axis(grid, a, err));
    }
cleanup:
    return st;
}

bool pq_exclusions_match(pq_grid *grid, const size_t *rows)
{
    bool excluded = false;

    for (size_t e = 0; grid->exclusions != NULL && e < grid->exclude->n; e++) {
        pq_exclusion *x     = &grid->exclusions[e];
        bool          match = true;
        for (size_t a = 0; match && a < grid->n_axes; a++) {
            match = x->values[a] == NULL || x->values[a][rows[a]];
        }
        x->met   = x->met || match;
        excluded = excluded || match;
    }
    return excluded;
}

void pq_exclusions_free(pq_grid *grid)
{
    for (size_t e = 0; grid->exclusions != NULL && e < grid->exclude->n; e++) {
        for (size_t a = 0; grid->exclusions[e].values != NULL && a < grid->n_axes; a++) {
            pq_free(grid->exclusions[e].values[a]);
        }
        pq_free(grid->exclusions[e].values);
    }
    pq_free(grid->exclusions);
}

void pq_exclusions_check_met(pq_problems *p, const pq_grid *grid)
{
    for (size_t e = 0; grid->exclusions != NULL && e < grid->exclude->n; e++) {
        if (!grid->exclusions[e].met) {
            pq_problem(p, grid->exclude->items[e], "exclude: no cell is like this");
        }
    }
}
