/* The price of bits that follows a target of EBOPs, and which epochs make a front. */
#include "runs.h"
#include "train/steer.h"

static pq_train_params params(double target)
{
    pq_train_params p = {0};

    p.hgq_beta         = 1e-6;
    p.hgq_target_ebops = target;
    p.hgq_p            = 1.0;
    p.hgq_i            = 0.1;
    p.hgq_warmup       = 2;
    return p;
}

/* e = log 2 in epoch 2, log 4 in epoch 3: 2^1.1, then 4 * 8^0.1. */
Test(steer, the_price_rises_by_the_error_and_its_sum_once_it_is_warm)
{
    const pq_train_epoch  h[] = {{.ebops = 8000}, {.ebops = 2000}, {.ebops = 4000}};
    const pq_train_params p = params(1000.0), free = params((double)NAN);

    cr_expect_eq(pq_steer_beta(&p, h, 0), 1e-6);
    cr_expect_eq(pq_steer_beta(&p, h, 1), 1e-6);
    cr_expect_float_eq(pq_steer_beta(&p, h, 2), 2.1435469250725863e-6, 1e-15);
    cr_expect_float_eq(pq_steer_beta(&p, h, 3), 4.924577653379664e-6, 1e-15);
    cr_expect_eq(pq_steer_beta(&free, h, 3), 1e-6);
    cr_expect_float_eq(pq_steer_excess(&p, &h[1]), 0.6931471805599453, 1e-15);
    cr_expect_eq(pq_steer_excess(&free, &h[1]), 0.0);
}

Test(steer, the_front_is_what_nothing_beats_in_both)
{
    const pq_train_epoch h[] = {
        {.ebops = 10, .accuracy = 0.5}, {.ebops = 20, .accuracy = 0.5},
        {.ebops = 20, .accuracy = 0.7}, {.ebops = 5, .accuracy = 0.4},
        {.ebops = 10, .accuracy = 0.5}, {.ebops = (double)NAN, .accuracy = 0.9}};
    const bool due[] = {true, false, true, true, true, false};

    for (size_t i = 0; i < 6; i++) {
        cr_expect_eq(pq_steer_on_front(h, 0, 6, i), due[i], "%zu", i);
    }
}

Test(steer, a_target_without_widths_that_follow_it_is_refused)
{
    run    r;
    pq_err err = {0};

    start(&r, "steer.h5", 200);
    r.params.hgq_target_ebops = 1000.0;
    cr_expect_eq(train(&r, &err), PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message, "hgq_target_ebops = 1000: only with qat: hgq do widths "
                                  "follow a price");
    finish_run(&r);
}
