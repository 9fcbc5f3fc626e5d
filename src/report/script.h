/**
 * @file
 * The gnuplot script of a plot: its body once for each picture format.
 */
#ifndef PQ_REPORT_SCRIPT_H
#define PQ_REPORT_SCRIPT_H

#include "report/plot.h"

/** PNG, SVG, PDF. */
enum { PQ_N_FORMATS = 3 };

/** A picture format: its terminal, the sizes that suit it, and how a whole file ends:
 * gnuplot does not say when the disk was full. */
typedef struct {
    const char *suffix, *terminal;
    int         small; /**< font of keys and ticks */
    double      point_size;
    const char *end;
} pq_picture_format;

extern const pq_picture_format pq_picture_formats[PQ_N_FORMATS];

/** Appends the script that draws `<name>.<suffix>.tmp` in the first formats. */
void pq_script_add(const pq_plot *p, size_t n_formats, const char *name, pq_text *out);

#endif
