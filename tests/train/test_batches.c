/* Batches of every size: in training, in validation, towards a teacher, and for floors.
 */
#include "runs.h"

enum { EVENTS = 4500, MOST = 300, LARGEST = 4096 };

/* Losses of the same net, summed in other orders. */
static const double same_loss = 1e-6;

static pq_graph *small_net(uint64_t seed)
{
    pq_graph *g = two_dense(3, 4, 3, seed);

    finish(g, seed); /* with biases: no event's outputs are alike */
    return g;
}

/* What one epoch at a rate of nearly nothing says of the net it began with. */
typedef struct {
    double train, validation, accuracy;
} verdict;

static verdict look(pq_dataset *data, const pq_graph *teacher, size_t batch, bool own)
{
    pq_graph              *g       = small_net(3);
    pq_train_params        p       = {0};
    pq_train_summary       summary = {0};
    const pq_train_data    events  = {.dataset = data, .validation = own ? 0 : SIZE_MAX};
    const pq_train_options options = {
        .threads = 1 + batch % 2, .teacher = teacher, .reference = teacher};

    OK(pq_params_default(pq_train_param_table, &p, err));
    p.epochs          = 1;
    p.batch           = (int64_t)batch;
    p.lr              = 1e-12;
    p.standardize     = false;
    p.layer_mse       = teacher != NULL ? 0.1 : 0.0;
    p.max_recall_loss = teacher != NULL ? 1.0 : (double)NAN;
    OK(pq_train(g, &events, &p, &options, &summary, err));
    cr_assert_eq(summary.n_epochs, 1);
    const verdict v = {summary.history[0].train_loss, summary.history[0].validation_loss,
                       summary.history[0].accuracy};
    pq_train_summary_free(&summary);
    pq_params_free(pq_train_param_table, &p);
    pq_graph_free(&g);
    return v;
}

static size_t next_size(size_t batch)
{
    if (batch < MOST) {
        return batch + 1;
    }
    for (size_t power = 1; power <= LARGEST; power *= 2) {
        for (size_t at = power - 1; at <= power + 1; at++) {
            if (at > batch) {
                return at;
            }
        }
    }
    return batch < EVENTS ? EVENTS : batch < 2 * EVENTS ? 2 * EVENTS : SIZE_MAX;
}

/* Few events for most sizes, so that the sweep stays short: more than three batches. */
static void sweep(size_t events, size_t from, size_t to, const pq_graph *teacher,
                  bool own)
{
    pq_dataset   *data = blobs(PQ_SHAPE(3), 3, events);
    const verdict due  = look(data, teacher, 64, own);
    for (size_t batch = from; batch <= to; batch = next_size(batch)) {
        const verdict v = look(data, teacher, batch, own);
        cr_expect_float_eq(v.train, due.train, same_loss,
                           "batch %zu: training %.9g, %.9g", batch, v.train, due.train);
        cr_expect_float_eq(v.validation, due.validation, same_loss,
                           "batch %zu: validation %.9g, %.9g", batch, v.validation,
                           due.validation);
        cr_expect_float_eq(v.accuracy, due.accuracy, 1e-9,
                           "batch %zu: accuracy %.9g, %.9g", batch, v.accuracy,
                           due.accuracy);
    }
    pq_dataset_close(&data);
}

Test(batches, of_every_size_validate_as_one_of_64)
{
    sweep(700, 1, MOST, NULL, false);
    sweep(EVENTS, MOST, 2 * EVENTS, NULL, false);
}

Test(batches, of_every_size_take_a_split_of_validation)
{
    sweep(331, 1, MOST, NULL, true);
    sweep(EVENTS, MOST, 2 * EVENTS, NULL, true);
}

Test(batches, of_every_size_have_a_teacher_and_floors)
{
    pq_graph *teacher = small_net(4);

    sweep(331, 1, MOST, teacher, true);
    sweep(EVENTS, MOST, 2 * EVENTS, teacher, true);
    pq_graph_free(&teacher);
}
