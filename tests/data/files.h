/**
 * @file
 * For tests of datasets: small files, and expectations.
 */
#ifndef PQ_TESTS_DATA_FILES_H
#define PQ_TESTS_DATA_FILES_H

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "data/dataset.h"
#include "io/hdf5.h"
#include "scratch.h"

static inline pq_dataset *open_with(const pq_dataset_options *options)
{
    pq_dataset *d = NULL;

    OK(pq_dataset_open(path, options, &d, err));
    return d;
}

/* Opening fails with this status and "<path><text>", and leaves nothing behind. */
static inline void refused(const pq_dataset_options *options, pq_status status,
                           const char *text)
{
    const size_t live = pq_memory_live();
    pq_dataset  *d    = NULL;
    pq_err       err  = {0};
    char         want[1024];

    cr_expect_eq(pq_dataset_open(path, options, &d, &err), status, "%d %s", err.code,
                 err.message);
    snprintf(want, sizeof want, "%s%s", path, text);
    cr_expect_str_eq(err.message, want);
    cr_expect_null(d);
    cr_expect_eq(pq_memory_live(), live);
}

/* A whole file of bytes in the folder. */
static inline void write_file(const char *name, const void *bytes, size_t n)
{
    char full[256];

    snprintf(full, sizeof full, "%s/%s", folder, name);
    OK(pq_file_write(full, bytes, n, err));
}

/* Writes numbers as a dataset of any type. */
static inline void put(pq_h5 *file, const char *name, pq_dtype dtype, pq_shape shape,
                       const float *values)
{
    pq_tensor *t = NULL, *out = NULL;

    OK(pq_tensor_create(PQ_DTYPE_F32, shape, &t, err));
    memcpy(t->data, values, t->count * sizeof *values);
    OK(pq_tensor_convert(t, dtype, &out, err));
    OK(pq_h5_write(file, name, out, 0, err));
    pq_tensor_free(&t);
    pq_tensor_free(&out);
}

#endif
