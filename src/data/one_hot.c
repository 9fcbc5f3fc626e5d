#include "data/one_hot.h"

#include "core/memory.h"

enum { BLOCK_VALUES = 1 << 18 };

pq_status pq_one_hot_fold(const double *values, pq_rows rows, size_t columns,
                          const char *name, const char *whose, double *out, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; i < rows.n; i++) {
        const double *row  = values + i * columns;
        size_t        ones = 0, others = 0;
        for (size_t c = 0; c < columns; c++) {
            out[i] = row[c] == 1.0 ? (double)c : out[i];
            ones += row[c] == 1.0 ? 1 : 0;
            others += row[c] != 1.0 && row[c] != 0.0 ? 1 : 0;
        }
        PQ_CHECK(ones == 1 && others == 0, PQ_ERR_FORMAT,
                 "%s: event %zu: its row of %s is not one 1 among 0s", whose,
                 rows.first + i, name);
    }
cleanup:
    return st;
}

pq_status pq_one_hot_read(pq_h5 *file, const char *path, const char *whose, pq_rows rows,
                          size_t columns, double *out, pq_err *err)
{
    const size_t block  = columns < BLOCK_VALUES ? BLOCK_VALUES / columns : 1;
    double      *values = NULL;
    pq_status    st;

    PQ_NEW(values, block * columns);
    for (size_t at = 0; at < rows.n; at += block) {
        const size_t n = rows.n - at < block ? rows.n - at : block;
        PQ_TRY(pq_h5_read_rows(file, path, (pq_rows){rows.first + at, n}, PQ_DTYPE_F64,
                               values, err));
        PQ_TRY(pq_one_hot_fold(values, (pq_rows){rows.first + at, n}, columns, path,
                               whose, out + at, err));
    }
cleanup:
    pq_free(values);
    return st;
}
