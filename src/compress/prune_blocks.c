#include "compress/prune_blocks.h"

#include <math.h>
#include <stdlib.h>

#include "core/memory.h"

/* A block of one kernel: items [output, output + outputs) x [input, input + inputs). */
typedef struct {
    size_t kernel, output, input;
    double score; /* mean of squares */
    size_t place; /* in the order of all, for equal scores */
} block;

typedef struct {
    const pq_weight_run *runs;
    const size_t        *row;
    pq_block_size        size;
} work;

/* Calls `each` for the items of a block. */
static void visit(const work *w, const block *b,
                  void (*each)(const pq_weight_run *run, size_t item, void *sum),
                  void *sum)
{
    const pq_weight_run *run = &w->runs[b->kernel];
    const size_t         row = w->row[b->kernel], rows = run->n / row;
    const size_t         last =
        rows - b->output < w->size.outputs ? rows : b->output + w->size.outputs;
    const size_t end = row - b->input < w->size.inputs ? row : b->input + w->size.inputs;

    for (size_t o = b->output; o < last; o++) {
        for (size_t i = b->input; i < end; i++) {
            each(run, o * row + i, sum);
        }
    }
}

typedef struct {
    double squares;
    size_t n;
} mean;

static void add(const pq_weight_run *run, size_t item, void *sum)
{
    mean        *m = sum;
    const double x =
        (double)(run->score != NULL ? run->score : pq_f32(run->w->value))[item];

    m->squares += pq_weight_is_pruned(run->w, item) ? 0.0 : x * x;
    m->n++;
}

static void take(const pq_weight_run *run, size_t item, void *sum)
{
    (void)sum;
    pq_prune_item(run, item);
}

static int by_score(const void *a, const void *b)
{
    const block *x = a, *y = b;

    return x->score != y->score ? (x->score > y->score) - (x->score < y->score)
                                : (x->place > y->place) - (x->place < y->place);
}

static size_t blocks_of(const work *w, size_t kernel)
{
    const size_t row = w->row[kernel], rows = w->runs[kernel].n / row;

    return ((row + w->size.inputs - 1) / w->size.inputs) *
           ((rows + w->size.outputs - 1) / w->size.outputs);
}

/* Lists the blocks of one kernel with their scores. */
static void list(const work *w, size_t kernel, block *blocks, size_t *n)
{
    const size_t row = w->row[kernel], rows = w->runs[kernel].n / row;

    for (size_t o = 0; o < rows; o += w->size.outputs) {
        for (size_t i = 0; i < row; i += w->size.inputs) {
            block *b = &blocks[*n];
            mean   m = {0};
            *b       = (block){kernel, o, i, 0.0, *n};
            visit(w, b, add, &m);
            b->score = m.squares / (double)m.n;
            ++*n;
        }
    }
}

pq_status pq_prune_blocks(const pq_weight_run *runs, const size_t *row, size_t n,
                          pq_block_size size, double share, pq_err *err)
{
    const work w      = {runs, row, size};
    block     *blocks = NULL;
    size_t     all = 0, at = 0;
    pq_status  st;

    for (size_t k = 0; k < n; k++) {
        all += blocks_of(&w, k);
    }
    PQ_NEW(blocks, all);
    for (size_t k = 0; k < n; k++) {
        list(&w, k, blocks, &at);
    }
    qsort(blocks, all, sizeof *blocks, by_score);
    for (size_t i = 0; i < (size_t)round(share * (double)all); i++) {
        visit(&w, &blocks[i], take, NULL);
    }
cleanup:
    pq_free(blocks);
    return st;
}
