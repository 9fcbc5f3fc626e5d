/* Prints the table of coverages of docs/measurement.md: coverage [TRIALS] */
#include <stdio.h>

#include "metrics/coverage.h"

int main(int argc, char **argv)
{
    static const size_t sizes[] = {20, 200, 2000};
    const size_t        trials  = argc > 1 ? (size_t)strtoull(argv[1], NULL, 10) : 4000;

    (void)printf("| interval | events or samples | nominal | n = 20 | n = 200 | n = 2000 "
                 "|\n| :-- | :-- | --: | --: | --: | --: |\n");
    for (size_t r = 0; r < COVERAGE_ROWS && trials > 0; r++) {
        const coverage_row *row = &coverage_rows[r];
        (void)printf("| %s | %s | %.1f |", row->interval, row->setting, row->nominal);
        for (size_t s = 0; s < 3; s++) {
            const coverage c = coverage_measure(row, sizes[s], trials, 1);
            (void)printf(" %.1f", c.all);
            if (c.noted >= 0.5) {
                (void)printf(" (%.0f %% noted)", c.noted);
            }
            (void)printf(" |");
            (void)fflush(stdout);
        }
        (void)printf("\n");
    }
    return trials > 0 ? 0 : 2;
}
