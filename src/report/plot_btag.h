/**
 * @file
 * What plots of b taggers share: the models that are drawn, and panels.
 */
#ifndef PQ_REPORT_PLOT_BTAG_H
#define PQ_REPORT_PLOT_BTAG_H

#include "io/hdf5.h"
#include "report/plot.h"

/** Models that are drawn at most (reference, best, strongest), and flavours. */
enum { PQ_TAGGERS = 3, PQ_TAG_FLAVOURS = 4 };

/** Owns arrays and labels. {0} is empty. */
typedef struct {
    size_t      n;
    size_t      rows[PQ_TAGGERS];
    pq_tensor  *arrays[PQ_TAGGERS]; /**< [points, columns] */
    const char *names[PQ_TAGGERS];
    char      **labels;
} pq_taggers;

/** Names and colours of flavours, as puma has them, in the order b, c, light, tau. */
extern const char *const pq_tag_flavours[], *const pq_tag_colors[];

/** The models, at most `most`, whose files have an array "/btag/…" of so many columns. */
pq_status pq_taggers_find(const pq_plot *p, const char *array, size_t columns,
                          size_t most, pq_taggers *out, pq_err *err);
void      pq_taggers_free(pq_taggers *m);

/** Appends the arrays as blocks; with `ratios`, columns 1 and 4 over the first model's
 * stand behind each row. */
void pq_taggers_add_blocks(const pq_taggers *m, bool ratios, pq_text *out);

/** Appends the lines of a histogram by flavour, whose columns begin with `column`, and
 * the key; models differ by their dashes. */
void pq_tag_add_steps(pq_plot *p, const pq_taggers *m, size_t column);

/** Begins several panels below each other: the key of so many entries stands beside the
 * first, of such a height, in one column as wide as the widest of these labels needs. */
void pq_tag_begin(pq_text *out, double height, size_t entries, char *const *labels,
                  size_t n);

/** Appends one of these panels, from `bottom` to `top` of the screen. */
void pq_tag_panel(pq_text *out, double bottom, double top, bool last);

#endif
