/**
 * @file
 * What training does class by class: weights in the loss, and floors under the
 * recalls on the validation events; for the files of this room.
 */
#ifndef PQ_TRAIN_CLASSES_H
#define PQ_TRAIN_CLASSES_H

#include "train/trainer.h"

/** A parameter with a value for each class: "0.9" for all, or "b=0.8,c=0.3". */
typedef struct {
    const char *name;    /**< of the parameter */
    double      lo, hi;  /**< allowed values */
    bool        by_name; /**< one number for all classes has no meaning */
    const char *word;    /**< stands for values that are found elsewhere, or NULL */
} pq_class_row;

extern const pq_class_row pq_min_recall_row, pq_class_weights_row;

/**
 * Reads such a text; the row's word changes nothing in `out`; `|` may stand for the
 * comma, brackets may stand around it.
 *
 * @param[in]     classes  [n] names, or NULL: they are not looked at
 * @param[in,out] out      [n] or NULL; classes that are not named keep their value
 * @retval PQ_ERR_CONFIG  Unknown class, one twice, or not of this form.
 * @retval PQ_ERR_RANGE   A value outside its range.
 */
pq_status pq_class_values(const pq_class_row *row, const char *text, size_t n,
                          const char *const *classes, double *out, pq_err *err);

/** Whether class_weights says "balanced": by inverse frequency. */
bool pq_class_weights_balanced(const char *text);

/** Fills t->class_weight by class_weights; what holds floors comes later (hold.h). */
pq_status pq_classes_weigh(pq_trainer *t, pq_err *err);

/**
 * Fills t->floors: NULL when no class has one. With preserve_rare_classes, and
 * neither floor given, a recall may fall by 0.05 and by a tenth below that of the
 * reference, whichever is less, or where there is none, to 0.5. The reference may take
 * other features than the graph.
 *
 * @retval PQ_ERR_CONFIG  A floor that cannot be watched, or has nothing to compare with.
 */
pq_status pq_classes_floors(pq_trainer *t, const pq_train_data *data, pq_err *err);

/** Accuracy, recalls and what they lack to their floors, from t->hits and t->seen. */
void pq_classes_score(const pq_trainer *t, pq_train_epoch *out);

#endif
