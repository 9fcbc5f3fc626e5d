/* What is asked of a view once it is built. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/view.h"
#include "store/json.h"

size_t pq_view_column_of(const pq_view *v, const char *name)
{
    for (size_t c = 0; c < v->n_columns; c++) {
        if (strcmp(v->columns[c].name, name) == 0) {
            return c;
        }
    }
    return PQ_VIEW_NONE;
}

pq_number pq_view_number(const pq_view *v, size_t row, size_t column)
{
    return row < v->n_rows && column < v->n_columns
               ? v->numbers[row * v->n_columns + column]
               : (pq_number){(double)NAN, (double)NAN, (double)NAN};
}

void pq_view_add(const pq_view *v, size_t row, size_t column, pq_style style,
                 pq_text *out)
{
    const pq_number       number = pq_view_number(v, row, column);
    const pq_view_column *c      = &v->columns[column];

    if (c->count) {
        pq_count_add(out, number.value, style);
    } else {
        pq_number_add(out, number, c->scale, c->digits, style);
    }
}

void pq_view_add_head(const pq_view_column *column, pq_style style, pq_text *out)
{
    pq_escape_add(out, column->title, style);
    if (*column->unit != '\0') {
        pq_text_add(out, " / ");
        pq_escape_add(out, column->unit, style);
    }
}

bool pq_view_failed(const pq_view_row *row)
{
    return !row->done && strcmp(row->status, "missing") != 0 &&
           strcmp(row->status, "interrupted") != 0;
}

const char *pq_view_reason(const pq_view_row *row)
{
    const json_t *error = json_object_get(json_object_get(row->cell, "record"), "error");
    const char   *message = pq_json_get_text(error, "message");

    if (*message != '\0') {
        return message;
    }
    return strcmp(row->status, "missing") == 0 ? "not run yet" : "no reason was recorded";
}

double pq_view_target(const pq_view *v, long long batch)
{
    char          name[64];
    const json_t *most;

    (void)snprintf(name, sizeof name, "latency.b%lld.call_s", batch);
    most = json_object_get(
        json_object_get(json_object_get(v->results, "constraints"), name), "max");
    return json_is_number(most) ? json_number_value(most) : (double)NAN;
}

long long pq_view_least_batch(const pq_view *v)
{
    long long least = 0;

    for (size_t r = 0; r < v->n_rows; r++) {
        const json_t *timings = json_object_get(v->rows[r].cell, "timings"), *record;
        size_t        i;
        json_array_foreach((json_t *)timings, i, record)
        {
            const long long batch = json_integer_value(
                json_object_get(json_object_get(record, "timing"), "batch"));
            least = batch > 0 && (least == 0 || batch < least) ? batch : least;
        }
    }
    return least;
}
