/* Runs that are cut off, or stopped, go on as if nothing had happened. */
#include "core/file.h"
#include "core/hash.h"
#include "runs.h"

#include <math.h>
#include <stddef.h>

static void stop_late(void *context, const pq_train_epoch *e)
{
    run *r = context;

    if (e->epoch == r->stop_after) {
        _exit(9); /* as a kill would: nothing is tidied up */
    }
}

/* Trains in a child that dies after some epochs, then goes on from its checkpoint. */
static void train_killed(run *r, size_t after)
{
    const pid_t child = fork();

    cr_assert_geq(child, 0);
    if (child == 0) {
        const pq_train_data    data    = {.dataset = r->data, .validation = SIZE_MAX};
        const pq_train_options options = {.threads    = r->threads,
                                          .checkpoint = r->checkpoint,
                                          .epoch_done = stop_late,
                                          .context    = r};
        r->stop_after                  = after;
        (void)pq_train(r->graph, &data, &r->params, &options, &r->summary, NULL);
        _exit(1);
    }
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 9, "the child was not killed");
}

Test(checkpoint, goes_on_after_a_kill_bit_for_bit)
{
    for (int o = PQ_OPTIMIZER_SGD; o <= PQ_OPTIMIZER_ADAM; o++) {
        run  whole = {0}, cut = {0};
        char a[65], b[65], path[256];

        (void)snprintf(path, sizeof path, "%s", temporary("state"));
        start(&whole, "whole.h5", 1000);
        start(&cut, "whole.h5", 1000);
        whole.params.optimizer = cut.params.optimizer = o;
        whole.params.ema = cut.params.ema = 0.9;
        OK(train(&whole, err));
        cut.checkpoint = path;
        train_killed(&cut, 2);
        cr_assert(pq_file_exists(path));
        OK(train(&cut, err));
        cr_expect(cut.summary.resumed);
        cr_expect_eq(cut.summary.n_epochs, 5);
        weights_hash(whole.graph, a);
        weights_hash(cut.graph, b);
        cr_expect_str_eq(a, b);
        cr_expect_eq(cut.summary.history[4].validation_loss,
                     whole.summary.history[4].validation_loss);
        (void)unlink(path);
        finish_run(&whole);
        finish_run(&cut);
    }
}

Test(checkpoint, refuses_a_checkpoint_of_another_run_or_a_damaged_one)
{
    run    r = {0};
    pq_err e = {0};
    char   path[256], *bytes;
    size_t n = 0;

    (void)snprintf(path, sizeof path, "%s", temporary("other"));
    start(&r, "other.h5", 500);
    r.params.epochs = 1;
    r.checkpoint    = path;
    OK(train(&r, err));
    r.params.lr = 0.5;
    cr_expect_eq(train(&r, &e), PQ_ERR_FORMAT);
    cr_expect(strstr(e.message, "other options") != NULL, "%s", e.message);
    OK(pq_file_read(path, 1 << 24, &bytes, &n, err));
    bytes[n / 2] ^= 1;
    OK(pq_file_write(path, bytes, n, err));
    e = (pq_err){0};
    cr_expect_eq(train(&r, &e), PQ_ERR_FORMAT);
    cr_expect(strstr(e.message, "damaged") != NULL, "%s", e.message);
    OK(pq_file_write(path, bytes, 20, err));
    e = (pq_err){0};
    cr_expect_eq(train(&r, &e), PQ_ERR_FORMAT);
    cr_expect(strstr(e.message, "not a checkpoint") != NULL, "%s", e.message);
    pq_free(bytes);
    (void)unlink(path);
    finish_run(&r);
}

Test(checkpoint, a_finished_run_is_prolonged_where_no_epoch_depends_on_their_number)
{
    run    whole = {0}, cut = {0};
    char   a[65], b[65], path[256];
    pq_err e = {0};

    (void)snprintf(path, sizeof path, "%s", temporary("longer"));
    start(&whole, "longer.h5", 500);
    start(&cut, "longer.h5", 500);
    OK(train(&whole, err));
    cut.checkpoint    = path;
    cut.params.epochs = 2;
    OK(train(&cut, err));
    pq_train_summary_free(&cut.summary);
    pq_graph_free(&cut.graph);
    cut.graph         = tagger(3);
    cut.params.epochs = 5;
    OK(train(&cut, err));
    cr_expect(cut.summary.resumed);
    weights_hash(whole.graph, a);
    weights_hash(cut.graph, b);
    cr_expect_str_eq(a, b);
    pq_graph_free(&cut.graph);
    cut.graph         = tagger(3);
    cut.params.epochs = 4;
    cr_expect_eq(train(&cut, &e), PQ_ERR_FORMAT);
    cr_expect(strstr(e.message, "already has 5 epochs, more than 4") != NULL, "%s",
              e.message);
    e                   = (pq_err){0};
    cut.params.epochs   = 6;
    cut.params.schedule = PQ_SCHEDULE_COSINE;
    cr_expect_eq(train(&cut, &e), PQ_ERR_FORMAT);
    (void)unlink(path);
    finish_run(&whole);
    finish_run(&cut);
}

static volatile sig_atomic_t asked; /* to stop */

static void ask(void *context, const pq_train_epoch *e)
{
    (void)context;
    asked = e->epoch == 2;
}

Test(checkpoint, stops_when_asked_and_goes_on_bit_for_bit)
{
    run  whole = {0}, cut = {0};
    char a[65], b[65], path[256];

    (void)snprintf(path, sizeof path, "%s", temporary("asked"));
    start(&whole, "asked.h5", 500);
    start(&cut, "asked.h5", 500);
    OK(train(&whole, err));
    const pq_train_data    data    = {.dataset = cut.data, .validation = SIZE_MAX};
    const pq_train_options options = {
        .threads = 2, .checkpoint = path, .stop = &asked, .epoch_done = ask};
    pq_err e = {0};
    cr_expect_eq(pq_train(cut.graph, &data, &cut.params, &options, &cut.summary, &e),
                 PQ_ERR_INTERRUPTED);
    cr_expect_str_eq(e.message, "interrupted in epoch 3 of 5");
    cr_expect_eq(cut.summary.n_epochs, 2);
    pq_train_summary_free(&cut.summary);
    pq_graph_free(&cut.graph);
    cut.graph      = tagger(3);
    cut.checkpoint = path;
    OK(train(&cut, err));
    cr_expect(cut.summary.resumed);
    weights_hash(whole.graph, a);
    weights_hash(cut.graph, b);
    cr_expect_str_eq(a, b);
    (void)unlink(path);
    finish_run(&whole);
    finish_run(&cut);
}

Test(checkpoint, a_checkpoint_of_another_run_is_replaced_where_that_is_asked_for)
{
    run  r = {0};
    char path[256];

    (void)snprintf(path, sizeof path, "%s", temporary("replace"));
    start(&r, "replace.h5", 300);
    r.params.epochs = 1;
    OK(pq_file_write(path, "no checkpoint", 13, err));
    const pq_train_data    data    = {.dataset = r.data, .validation = SIZE_MAX};
    const pq_train_options options = {
        .threads = 2, .checkpoint = path, .replace_checkpoint = true};
    OK(pq_train(r.graph, &data, &r.params, &options, &r.summary, err));
    cr_expect(!r.summary.resumed);
    cr_expect_gt(pq_file_bytes(path), 1000);
    (void)unlink(path);
    finish_run(&r);
}

/* Overwrites bytes of a checkpoint before its sum and makes the sum anew. */
static void tamper(const char *path, const char *whole, size_t n, size_t at,
                   const void *bytes, size_t count)
{
    char   *copy = pq_calloc(n, 1), sum[PQ_HASH_TEXT];
    pq_hash h;

    memcpy(copy, whole, n);
    memcpy(copy + at, bytes, count);
    pq_hash_start(&h);
    pq_hash_bytes(&h, copy, n - 64);
    pq_hash_end(&h, sum);
    memcpy(copy + n - 64, sum, 64);
    OK(pq_file_write(path, copy, n, err));
    pq_free(copy);
}

Test(checkpoint, what_a_valid_sum_covers_is_checked_all_the_same)
{
    const size_t head = sizeof "pquant-train-3\n" - 1 + 64, history = head + 48;
    run          r = {0};
    pq_err       e = {0};
    char         path[256], *bytes;
    size_t       n = 0;

    (void)snprintf(path, sizeof path, "%s", temporary("tampered"));
    start(&r, "tampered.h5", 500);
    r.params.epochs = 3;
    r.checkpoint    = path;
    OK(train(&r, err));
    const size_t   classes = r.summary.n_classes;
    const size_t   weights = history + 3 * (sizeof(pq_train_epoch) + 8 * classes);
    const uint64_t far = 1u << 20, epoch = 7;
    const uint8_t  bad_bool = 17;
    const float    nan      = NAN;
    const struct {
        size_t      at, count;
        const void *bytes;
        const char *message;
    } cases[] = {
        {head + 16, 8, &far, "says that epoch 1048576 was the best, of 3"},
        {history, 8, &epoch, "row 1 of the checkpoint's history is of epoch 7"},
        {history + offsetof(pq_train_epoch, best), 1, &bad_bool, "row 1 of the"},
        {weights, 4, &nan, "holds a weight of nan"},
        {head, 8, &far, "has other sizes than this run"},
        {head + 40, 8, &far, "has other sizes than this run"}, /* no front is due */
    };

    OK(pq_file_read(path, 1 << 24, &bytes, &n, err));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        e = (pq_err){0};
        tamper(path, bytes, n, cases[i].at, cases[i].bytes, cases[i].count);
        pq_train_summary_free(&r.summary);
        pq_graph_free(&r.graph);
        r.graph = tagger(3);
        cr_expect_eq(train(&r, &e), PQ_ERR_FORMAT, "case %zu", i);
        cr_expect(strstr(e.message, cases[i].message) != NULL, "case %zu: %s", i,
                  e.message);
    }
    pq_free(bytes);
    (void)unlink(path);
    finish_run(&r);
}
