/**
 * @file
 * For tests that write files: a folder of their own, and a file in it.
 */
#ifndef PQ_TESTS_SCRATCH_H
#define PQ_TESTS_SCRATCH_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"

static char folder[64];
static char path[160];

static inline void setup(void)
{
    strcpy(folder, "/tmp/pq-test-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/d.h5", folder);
}

static inline void teardown(void)
{
    char command[160];

    snprintf(command, sizeof command, "rm -rf %s", folder);
    cr_assert_eq(system(command), 0);
}

/* The call sees `err`. */
#define OK(call)                                                                         \
    do {                                                                                 \
        pq_err  ok_err = {0};                                                            \
        pq_err *err    = &ok_err;                                                        \
        cr_assert_eq((call), PQ_OK, "%s", ok_err.message);                               \
    } while (0)

#endif
