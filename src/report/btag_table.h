/**
 * @file
 * Working points x models x backgrounds of flavour taggers as one table: btag.md,
 * btag.csv and btag.tex of a results folder.
 */
#ifndef PQ_REPORT_BTAG_TABLE_H
#define PQ_REPORT_BTAG_TABLE_H

#include "report/sheet.h"
#include "report/view.h"

/**
 * A row for each model, working point (an efficiency of b or of c jets, or a mistag rate)
 * and background, in the order of the view: the efficiency reached, the rejection, what
 * it is over the reference's on the same jets, and what the model does at the reference's
 * cut.
 *
 * @param[in]  v    whose columns metric btag made
 * @param[out] out  caller frees with pq_sheet_free(); without rows where there are none
 */
void pq_tagging_table(const pq_view *v, pq_sheet *out);

#endif
