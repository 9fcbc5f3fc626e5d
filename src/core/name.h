/**
 * @file
 * What is made of names that users give, where several rooms must make the same: classes
 * can be called anything, what is made of them stays unique.
 */
#ifndef PQ_CORE_NAME_H
#define PQ_CORE_NAME_H

/** "auc.b" of metric "auc" and class "b". "macro" is the mean over the classes, so a
 * class of that name, or one that begins with "class.", gets "class." in front. NULL when
 * out of memory; caller frees with pq_free. */
char *pq_name_metric(const char *metric, const char *class_name);

/** "/roc/b/signal_efficiency" of class "b" and what = "signal_efficiency": where its
 * curve lies in HDF5. "/" and "%" in the class, "." at its start and an empty name are
 * written as "%2F", "%25", "%2E" and "%". NULL when out of memory; caller frees with
 * pq_free. */
char *pq_name_curve(const char *class_name, const char *what);

#endif
