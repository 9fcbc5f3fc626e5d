/* What stands below the table: said where it holds, and not where it does not. */
#include "fixture.h"

#include "report/report.h"

enum { CLASSES = 33 };

static char        names[CLASSES][8];
static const char *classes[CLASSES];

static const fixture_cell cells[] = {
    {"reference", "reference", NULL, NULL, "ok", 0.8, 4000.0, 1.0, NULL},
    {"a", "a", NULL, NULL, "ok", 0.79, 1000.0, 1.5, NULL}};

/* table.md of a report with so many classes and samples; caller frees. */
static char *notes_of(size_t n_classes, size_t samples, const char *assumed)
{
    const fixture f   = {"notes", "d",   classes, n_classes, 2,
                         cells,   false, samples, assumed};
    char         *dir = fixture_folder(), *path, *text = NULL;
    size_t        n   = 0;
    pq_err        err = {0};

    for (size_t i = 0; i < CLASSES; i++) {
        (void)snprintf(names[i], sizeof names[i], "c%zu", i);
        classes[i] = names[i];
    }
    fixture_write(dir, &f);
    cr_assert_eq(pq_report_write(dir, &(pq_report_options){.no_plots = true}, NULL, &err),
                 PQ_OK, "%s", err.message);
    path = pq_path_join(dir, "table.md");
    cr_assert_eq(pq_file_read(path, 1 << 20, &text, &n, &err), PQ_OK, "%s", err.message);
    pq_free(path);
    fixture_remove(dir);
    return text;
}

static void expect_note(size_t n_classes, size_t samples, const char *assumed,
                        const char *note, bool due)
{
    char *text = notes_of(n_classes, samples, assumed);

    cr_expect_eq(strstr(text, note) != NULL, due, "%zu classes, %zu samples: '%s' in %s",
                 n_classes, samples, note, text);
    pq_free(text);
}

Test(notes, tell_confusion_matrices_that_are_not_drawn)
{
    const char *note = "Confusion matrices of 33 classes are not drawn (at most 32 are); "
                       "they stand in the records.";

    expect_note(33, 0, NULL, note, true);
    expect_note(32, 0, NULL, "are not drawn", false);
}

/* Source: the extremes of n samples hold the median with probability 1 - 2^(1 - n). */
Test(notes, give_the_cover_of_medians_of_few_samples)
{
    static const struct {
        size_t      samples;
        const char *cover;
    } table[] = {
        {1, "of 1 sample: the interval is the range of the samples and covers 0 %"},
        {2, "of 2 samples: the interval is the range of the samples and covers 50 %"},
        {3, "covers 75 %"},
        {4, "covers 87.5 %"},
        {5, "covers 93.8 %"}};

    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        expect_note(3, table[i].samples, NULL, table[i].cover, true);
        expect_note(3, table[i].samples, NULL, "those of times and speed-ups are 95 %",
                    false);
    }
    expect_note(3, 6, NULL, "those of times and speed-ups are 95 %", true);
    expect_note(3, 6, NULL, "the interval is the range", false);
}

Test(notes, repeat_what_was_assumed_of_the_inputs)
{
    const char *assumed =
        "3 events with values that are not finite were dropped; the model "
        "does not name its outputs";

    expect_note(3, 0, assumed, "Of the inputs: 3 events with values", true);
    expect_note(3, 0, NULL, "Of the inputs", false);
}

Test(notes, give_what_makes_a_time_noisy_with_noisy_times_alone)
{
    static const fixture_cell noisy[] = {
        {"reference", "reference", NULL, NULL, "ok", 0.8, 4000.0, 1.0, NULL},
        {"a", "a", NULL, NULL, "ok", 0.7, 1000.0, 1.5, "cpu/wall 0.7"}};
    const fixture f   = {.name = "notes", .dataset = "d", .n_cells = 2, .cells = noisy};
    char         *dir = fixture_folder(), *path, *text = NULL;
    size_t        n   = 0;
    pq_err        err = {0};

    fixture_write(dir, &f);
    fixture_constrain(dir, "{\"accuracy_loss\": {\"max\": 0.01}}");
    cr_assert_eq(pq_report_write(dir, &(pq_report_options){.no_plots = true}, NULL, &err),
                 PQ_OK, "%s", err.message);
    path = pq_path_join(dir, "table.md");
    cr_assert_eq(pq_file_read(path, 1 << 20, &text, &n, &err), PQ_OK, "%s", err.message);
    cr_expect_not_null(strstr(text, "Noisy timing (1 of 2 cells): a (cpu/wall 0.7)\n"),
                       "%s", text);
    cr_expect_not_null(strstr(text, "below its floor (1 of 2 cells): a\n"), "%s", text);
    pq_free(text);
    pq_free(path);
    fixture_remove(dir);
}
