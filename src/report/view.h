/**
 * @file
 * What a report shows: cells with numbers, columns that have data, and the few
 * cells that the text and the plots speak of. Every table and plot is made from
 * this, so that they agree.
 */
#ifndef PQ_REPORT_VIEW_H
#define PQ_REPORT_VIEW_H

#include <jansson.h>
#include <stdbool.h>

#include "report/number.h"

/** No such row or column. */
#define PQ_VIEW_NONE SIZE_MAX

/** Pipelines that plots name. */
enum { PQ_NAMED_MAX = 14 };

/** Rows that every table shows; of more a terminal shows PQ_TERMINAL_ROWS_MAX, a page and
 * documents PQ_VIEW_ROWS_MAX; and failed cells with their reasons. */
enum { PQ_VIEW_ROWS_MAX = 200, PQ_TERMINAL_ROWS_MAX = 40, PQ_FAILURES_MAX = 20 };

/** Loss of accuracy (absolute) that still counts as "as good as the reference". */
#define PQ_VIEW_TOLERANCE 0.01

/** Column; owns title and name. */
typedef struct {
    char       *name;   /**< metric, or "delta_accuracy", "size_ratio" */
    char       *title;  /**< "accuracy" */
    const char *unit;   /**< "%", "kB", "" */
    double      scale;  /**< from the metric's unit to `unit` */
    int         digits; /**< significant digits where there is no interval */
    bool        count;  /**< whole numbers */
    int rank; /**< importance, 1 = most; 0 = a further metric, not in the main table */
} pq_view_column;

/** One cell of the plan. Borrows from the results. */
typedef struct {
    const json_t *cell;
    char         *label; /**< with the repeat where there is more than one; owned */
    const char   *pipeline;
    const char   *status;
    bool          done;  /**< has numbers */
    bool          front; /**< no model is smaller and more accurate (choice.h) */
    size_t        color; /**< number of its pipeline among those that plots name, or
                            PQ_VIEW_NONE; the reference has none */
    const char *noise;   /**< why its timing is noisy, or NULL */
    char *engine; /**< that was timed, "float32"; "float32/int8" by batch size where they
                     differ; "" where none was; owned */
} pq_view_row;

typedef struct {
    const json_t *results;  /**< borrowed, must outlive the view */
    const char   *name;     /**< of the experiment */
    char         *dataset;  /**< base name of its file, or ""; owned */
    double        events;   /**< that were evaluated, or NAN */
    double       effective; /**< their effective number where they have weights, or NAN */
    bool         timed;     /**< any row names an engine */
    size_t       n_rows, n_columns;
    pq_view_row *rows;            /**< [n_rows], in the plan's order */
    pq_view_column *columns;      /**< [n_columns], in the table's order */
    pq_number      *numbers;      /**< [n_rows, n_columns] in the metric's own unit */
    bool            borrows;      /**< names, labels and columns: shortened */
    size_t          reference;    /**< uncompressed, done */
    size_t          best, strong; /**< choice.h */
    size_t compared, aside; /**< models with size and accuracy; those of them outside the
                               constraints */
    size_t n_pipelines;     /**< without the reference */
    size_t left_out;        /**< rows with numbers that a shortened view lacks */
    size_t failures_left_out;
} pq_view;

/** Builds the view of pq_results_read()'s answer. */
pq_status pq_view_build(const json_t *results, pq_view *out, pq_err *err);
void      pq_view_free(pq_view *v);

/**
 * A view of fewer rows, in the plan's order: the reference, the best, the strongest and
 * the front (choice.h), then the most accurate, then the smallest; and the first of the
 * failed ones. The same rows where they are no more than PQ_VIEW_ROWS_MAX.
 *
 * @param[in]  v     must outlive the result
 * @param[in]  most  rows with numbers
 * @param[out] out   free with pq_view_free
 */
pq_status pq_view_shorten(const pq_view *v, size_t most, pq_view *out, pq_err *err);

/** Appends which rows a shortened view shows and where the others are, a sentence a line;
 * nothing where it shows all. */
void pq_view_add_left_out(const pq_view *v, pq_text *out);

/** Index of a column, or PQ_VIEW_NONE. */
size_t pq_view_column_of(const pq_view *v, const char *name);

/** Number of a row; NAN where it or the column is not there. */
pq_number pq_view_number(const pq_view *v, size_t row, size_t column);

/** Smallest batch size that was timed, or 0. */
long long pq_view_least_batch(const pq_view *v);

/** What `latency.b<batch>.call_s` may be at most by the constraints, in s, or NAN. */
double pq_view_target(const pq_view *v, long long batch);

/** Appends a number as its column shows it. */
void pq_view_add(const pq_view *v, size_t row, size_t column, pq_style style,
                 pq_text *out);

/** Appends a column's head, "stored / kB". */
void pq_view_add_head(const pq_view_column *column, pq_style style, pq_text *out);

/** Whether a cell was tried and gave no numbers. */
bool pq_view_failed(const pq_view_row *row);

/** Why a cell has no numbers: its error's message, else what its status means. */
const char *pq_view_reason(const pq_view_row *row);

#endif
