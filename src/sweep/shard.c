/* Cells dealt to shards. */
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "sweep/key.h"
#include "sweep/select.h"

/* A cell, and the group that it is dealt with. */
typedef struct {
    size_t      cell;
    const char *group; /* artifact of the last trained prefix, or the cell's own */
    double      cost;  /* in evaluations */
} dealt;

/* Cells that are dealt together: a run of `dealt`. */
typedef struct {
    size_t first, n;
    double cost;
} group;

static bool trains(const pq_stage *stage)
{
    return (pq_stage_needs(stage) & PQ_NEEDS_TRAINING) != 0;
}

/* Epochs that a stage trains; 1 where its method does not say. */
static double epochs_of(const pq_stage *stage)
{
    const pq_param *row = pq_params_find(stage->method->params, "epochs");

    return row != NULL && row->type == PQ_PARAM_INT
               ? (double)*(const int64_t *)(const void *)((const char *)stage->params +
                                                          row->offset)
               : 1.0;
}

static dealt deal_cell(const pq_cell *cell)
{
    static const double EPOCH_COST = 10.0;
    dealt               d          = {cell->order, cell->eval, 1.0};

    for (size_t k = 0; k < cell->variant->n_stages; k++) {
        const pq_stage *stage = cell->variant->stages[k];
        if (trains(stage)) {
            d.cost += EPOCH_COST * epochs_of(stage);
            d.group = cell->artifact[k + 1];
        }
    }
    return d;
}

static int by_group(const void *a, const void *b)
{
    const dealt *x = a, *y = b;
    const int    c = strcmp(x->group, y->group);

    return c != 0 ? c : (x->cell > y->cell) - (x->cell < y->cell);
}

/* Dearest first, equal ones in the plan's order. */
static int by_cost(const void *a, const void *b)
{
    const group *x = a, *y = b;

    return x->cost < y->cost   ? 1
           : x->cost > y->cost ? -1
                               : (x->first > y->first) - (x->first < y->first);
}

/* Groups of the cells, sorted; a trained prefix is paid once. @return how many */
static size_t make_groups(const dealt *cells, size_t n, group *groups)
{
    size_t n_groups = 0;

    for (size_t i = 0; i < n; i++) {
        if (i == 0 || strcmp(cells[i].group, cells[i - 1].group) != 0) {
            groups[n_groups++] = (group){i, 0, cells[i].cost - 1.0};
        }
        groups[n_groups - 1].n++;
        groups[n_groups - 1].cost += 1.0;
    }
    return n_groups;
}

static size_t least(const double *load, size_t n)
{
    size_t best = 0;

    for (size_t i = 1; i < n; i++) {
        best = load[i] < load[best] ? i : best;
    }
    return best;
}

pq_status pq_cells_shard(const pq_cells *cells, pq_shard shard, bool *mine, pq_err *err)
{
    dealt    *all    = NULL;
    group    *groups = NULL;
    double   *load   = NULL;
    size_t    n      = 0, n_groups;
    pq_status st     = PQ_OK;

    if (shard.parts <= 1) {
        return PQ_OK;
    }
    PQ_NEW(all, cells->n);
    PQ_NEW(groups, cells->n);
    PQ_NEW(load, shard.parts);
    for (size_t i = 0; i < cells->n; i++) {
        if (mine[i]) {
            all[n++] = deal_cell(&cells->cells[i]);
            mine[i]  = false;
        }
    }
    qsort(all, n, sizeof *all, by_group);
    n_groups = make_groups(all, n, groups);
    qsort(groups, n_groups, sizeof *groups, by_cost);
    for (size_t g = 0; g < n_groups; g++) {
        const size_t to = least(load, shard.parts);
        load[to] += groups[g].cost;
        for (size_t i = groups[g].first; i < groups[g].first + groups[g].n; i++) {
            mine[all[i].cell] = mine[all[i].cell] || to == shard.part;
        }
    }
cleanup:
    pq_free(all);
    pq_free(groups);
    pq_free(load);
    return st;
}
