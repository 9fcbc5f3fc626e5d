#include <criterion/criterion.h>

#include "core/rng.h"
#include "exec/layout.h"

Test(layout, blocks_alive_together_do_not_overlap)
{
    enum { SPANS = 60 };
    pq_rng rng = pq_rng_stream(1, "test");

    for (size_t trial = 0; trial < 50; trial++) {
        pq_span spans[SPANS];
        size_t  total = 0, sum = 0;
        for (size_t i = 0; i < SPANS; i++) {
            const size_t first = pq_rng_below(&rng, 40);
            spans[i]           = (pq_span){pq_rng_below(&rng, 5000), first,
                                           first + pq_rng_below(&rng, 6), 0};
        }
        cr_assert_eq(pq_layout_place(spans, SPANS, &total, NULL), PQ_OK);
        for (size_t i = 0; i < SPANS; i++) {
            sum += spans[i].bytes;
            cr_expect_eq(spans[i].offset % 64, 0);
            cr_expect_leq(spans[i].offset + spans[i].bytes, total);
            for (size_t k = 0; k < i; k++) {
                const pq_span *a = &spans[i], *b = &spans[k];
                const bool     together = a->first <= b->last && b->first <= a->last;
                cr_expect(!together || a->offset + a->bytes <= b->offset ||
                              b->offset + b->bytes <= a->offset,
                          "blocks %zu and %zu overlap", i, k);
            }
        }
        cr_expect_lt(total, sum / 2);
    }
}

Test(layout, a_chain_needs_its_two_largest_neighbours_only)
{
    pq_span spans[] = {{640, 0, 1, 0}, {1280, 1, 2, 0}, {640, 2, 3, 0}, {64, 3, 4, 0}};
    size_t  total   = 0;

    cr_assert_eq(pq_layout_place(spans, 4, &total, NULL), PQ_OK);
    cr_expect_eq(total, 1920);
}

Test(layout, nothing_needs_no_memory)
{
    size_t total = 1;

    cr_assert_eq(pq_layout_place(NULL, 0, &total, NULL), PQ_OK);
    cr_expect_eq(total, 0);
}

Test(layout, sizes_that_overflow_are_refused)
{
    pq_span spans[] = {{SIZE_MAX / 3, 0, 0, 0},
                       {SIZE_MAX / 3, 0, 0, 0},
                       {SIZE_MAX / 3, 0, 0, 0},
                       {SIZE_MAX / 3, 0, 0, 0}};
    size_t  total   = 0;
    pq_err  err     = {0};

    cr_expect_eq(pq_layout_place(spans, 4, &total, &err), PQ_ERR_RANGE);
    cr_expect_str_eq(err.message, "the activations of the model do not fit into memory");
}
