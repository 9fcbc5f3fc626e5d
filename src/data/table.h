/**
 * @file
 * Tables in text: one event a line, values between commas. What CSV and ARFF
 * share. For the data room only.
 */
#ifndef PQ_DATA_TABLE_H
#define PQ_DATA_TABLE_H

#include "data/lines.h"

enum { PQ_TABLE_COLUMNS = 4096, PQ_TABLE_CLASSES = 1000 };

/** What the header says and which columns are what; {0} is empty. Owns everything. */
typedef struct {
    pq_lines lines;
    size_t   n;        /**< columns */
    char   **names;    /**< [n] */
    bool     numbered; /**< the file gives no names: they are "0", "1", … */
    size_t   label;    /**< column of the class */
    bool     named;    /**< the label was found by its name: the last column is a guess */
    size_t   weight;   /**< column of the weight, or SIZE_MAX */
    size_t   n_inputs;
    size_t  *inputs; /**< [n_inputs] columns of the features */
    size_t   n_classes;
    char   **classes;   /**< [n_classes] as the rows write them, in the file's order */
    bool     sorted;    /**< classes are met in the rows, not declared: sort them */
    char     separator; /**< between cells; ' ' stands for blanks, however many */
    char     comment;   /**< lines that start with it are skipped, or NUL */
    char   **cells;     /**< [n] of the current row, into lines.text */
    bool    *wanted;    /**< [n] columns of inputs and weight */
    double  *values;    /**< [n] numbers of the current row, where they were read */
    size_t   kept_first, kept_n; /**< rows whose numbers are in source.aux_numbers */
} pq_table;

/**
 * Chooses the columns once `names` is set: the class is what options->label names, else
 * called class, label, target or y, else the last; features are what options->inputs
 * names, else all but class, weight and event number.
 */
pq_status pq_table_choose(pq_source *s, pq_table *t, const pq_dataset_options *options,
                          pq_err *err);

/** Goes over all rows once: counts them, checks their width, and meets the classes. */
pq_status pq_table_scan(pq_source *s, pq_table *t, pq_err *err);

/** Cuts a line at its separators, quotes taken off (two in a row are one inside), in
 * place; false when there are more than `room` cells. */
bool pq_table_cut(char *line, char separator, char **cells, size_t room, size_t *n);

/**
 * Reads the current line, which stays as it is.
 *
 * @param[in]  wanted  [n] columns whose numbers go into t->values
 * @param[out] class   or NULL
 * @return  false where it has quotes, other values there than decimal numbers, another
 *          number of columns, or a class that is not known.
 */
bool pq_table_read_plain(pq_table *t, const bool *wanted, size_t *class);

/** The last cell of the current line, cut out in place, or NULL where the line has quotes
 * or another number of columns. */
char *pq_table_last_cell(const pq_table *t);

/** Column of a name. @retval PQ_ERR_NOT_FOUND  With the nearest name. */
pq_status pq_table_find(const pq_source *s, const pq_table *t, const char *name,
                        size_t *out, pq_err *err);

/** Next line that is a row, and where it begins. */
pq_status pq_table_next(pq_table *t, z_off_t *place, bool *there, pq_err *err);

/** Cuts the line at hand into t->cells. @retval PQ_ERR_FORMAT  It has not n of them. */
pq_status pq_table_cut_row(pq_table *t, pq_err *err);

/** The label of the row at hand, cut. Whole numbers that a program wrote as reals, "1.0"
 * and "1.000e+00", are the class "1"; declared classes are taken by their letters. */
const char *pq_table_label(const pq_table *t);

/** Class of a label, or SIZE_MAX. */
size_t pq_table_class(const pq_table *t, const char *text);

/* Functions of a layout whose state is a pq_table. */
pq_status pq_table_read(pq_source *s, size_t split, size_t first, size_t n,
                        const pq_raw *out, pq_err *err);
pq_status pq_table_read_aux(pq_source *s, size_t split, const pq_aux *aux, size_t first,
                            size_t n, void *out, pq_err *err);
pq_status pq_table_list_aux(pq_source *s, size_t split, char ***names, size_t *n,
                            pq_err *err);
void      pq_table_close(pq_source *s);

#endif
