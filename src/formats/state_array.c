/* Arrays of a state dict: their bytes put in place as float32, without a copy between. */
#include "formats/state.h"

#include <string.h>

enum {
    PIECE_ITEMS = 1 << 17,
    PANEL_ROWS  = 16 /* floats that lie together in a line of the cache */
};

pq_status pq_state_check_bytes(const pq_shape *shape, pq_dtype dtype, size_t bytes,
                               pq_err *err)
{
    size_t    count = 0;
    pq_status st;

    PQ_CHECK(pq_shape_count(shape, &count) && count <= bytes / pq_dtype_bytes(dtype) &&
                 count * pq_dtype_bytes(dtype) == bytes,
             PQ_ERR_FORMAT, "its shape and type do not take the %zu bytes it has", bytes);
cleanup:
    return st;
}

pq_status pq_state_fill_start(pq_dtype dtype, const pq_shape *shape, const size_t *axes,
                              pq_state_fill *out, pq_err *err)
{
    pq_state_fill f    = {.dtype = dtype, .ndim = shape->ndim};
    pq_shape      ours = *shape;
    size_t        step = 1;
    pq_status     st;

    for (size_t d = 0; axes != NULL && d < shape->ndim; d++) {
        ours.dim[d] = shape->dim[axes[d]];
    }
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, ours, &f.to, err));
    for (size_t d = shape->ndim; axes != NULL && d-- > 0;) {
        f.dim[axes[d]]  = ours.dim[d];
        f.step[axes[d]] = step;
        step *= ours.dim[d];
    }
    if (axes == NULL) {
        f.ndim    = 1;
        f.dim[0]  = f.to->count;
        f.step[0] = 1;
    }
    *out = f;
cleanup:
    return st;
}

/* Goes on by n numbers of the last axis, which has so many left. */
static void advance(pq_state_fill *f, size_t n)
{
    size_t d = f->ndim - 1;

    f->place += n * f->step[d];
    f->index[d] += n;
    while (f->index[d] == f->dim[d] && d > 0) {
        f->place -= f->step[d] * f->dim[d];
        f->index[d] = 0;
        d--;
        f->place += f->step[d];
        f->index[d]++;
    }
}

/* Whether rows of the last axis are columns of the result, each beside the one before. */
static bool is_turned(const pq_state_fill *f)
{
    size_t due = 1;
    bool   yes = f->dtype == PQ_DTYPE_F32 && f->ndim >= 2 && f->step[f->ndim - 1] > 1;

    for (size_t d = f->ndim - 1; yes && d-- > 0; due *= f->dim[d]) {
        yes = f->step[d] == due;
    }
    return yes;
}

/* Rows that become columns, some at a time: one by one they would write a float in each
 * line of the cache. */
static void turn_rows(pq_state_fill *f, const uint8_t *from, size_t rows)
{
    const size_t n = f->dim[f->ndim - 1], step = f->step[f->ndim - 1];
    float       *to = pq_f32(f->to) + f->place;

    for (size_t c = 0; c < n; c++) {
        for (size_t r = 0; r < rows; r++) {
            memcpy(to + c * step + r, from + (r * n + c) * sizeof *to, sizeof *to);
        }
    }
    for (size_t r = 0; r < rows; r++) {
        advance(f, n);
    }
}

void pq_state_fill_put(pq_state_fill *f, const void *bytes, size_t n)
{
    const uint8_t *from   = bytes;
    const size_t   last   = f->ndim - 1;
    const bool     turned = is_turned(f);

    while (n > 0) {
        const size_t left = f->dim[last] - f->index[last], part = n < left ? n : left;
        if (turned && f->index[last] == 0 && n >= 2 * left) {
            const size_t rows = n / left < PANEL_ROWS ? n / left : PANEL_ROWS;
            turn_rows(f, from, rows);
            from += rows * left * sizeof(float);
            n -= rows * left;
            continue;
        }
        pq_numbers_convert(f->dtype, from, part, PQ_DTYPE_F32, pq_f32(f->to) + f->place,
                           f->step[last]);
        advance(f, part);
        from += part * pq_dtype_bytes(f->dtype);
        n -= part;
    }
}

pq_status pq_state_floats(pq_dtype dtype, const pq_shape *shape, const uint8_t *bytes,
                          const size_t *axes, pq_tensor **out, pq_err *err)
{
    const size_t  item = pq_dtype_bytes(dtype);
    pq_state_fill f    = {0};
    pq_status     st;

    PQ_TRY(pq_state_fill_start(dtype, shape, axes, &f, err));
    for (size_t at = 0; at < f.to->count; at += PIECE_ITEMS) {
        const size_t left = f.to->count - at, n = left < PIECE_ITEMS ? left : PIECE_ITEMS;
        pq_state_fill_put(&f, bytes + at * item, n);
        pq_map_release(bytes + at * item, n * item);
    }
    *out = f.to;
cleanup:
    return st;
}
