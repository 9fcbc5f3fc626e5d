/**
 * @file
 * Which models a report speaks of, by rule: the front, the best, the strongest, and
 * the pipelines that plots name where there are too many for all.
 *
 * Front: no measured model is smaller (stored bytes) and more accurate. Best: the
 * smallest below the reference whose accuracy is within PQ_VIEW_TOLERANCE of the
 * reference's, strong: within ten times that; of equal sizes the more accurate, then the
 * first. Models outside the configuration's constraints are on the front, but neither
 * best nor strong. Named: the pipelines with models on the front, the best or the
 * strongest, then those of the highest accuracy, PQ_NAMED_MAX in all.
 */
#ifndef PQ_REPORT_CHOICE_H
#define PQ_REPORT_CHOICE_H

#include "report/view.h"

/** Chooses; v has its rows, numbers and reference. */
pq_status pq_view_choose(pq_view *v, pq_err *err);

#endif
