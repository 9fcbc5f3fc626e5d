/**
 * @file
 * dense and conv2d in whole numbers: words of 16 bits, sums of 32, exact, with the
 * kernels of this processor. Rounding to codes is that of pq_quant_code_real, bit by bit.
 */
#ifndef PQ_EXEC_WORDS_H
#define PQ_EXEC_WORDS_H

#include "exec/units.h"
#include "kernels/kernels.h"

/** Values on both sides of the layer. */
typedef enum {
    PQ_WORDS_CODES, /**< as pq_code_grid(): int32 codes, or doubles */
    PQ_WORDS_BYTES, /**< as pq_byte_grid(): bytes, or floats */
} pq_words_form;

/** Whether words and sums of these sizes are exact. */
bool pq_words_fit(const pq_units *units);

/**
 * An operation for units that fit.
 *
 * @param[in] units    borrowed, read now
 * @param[in] from     grid of the input
 * @param[in] to       grid of the output, or NULL: real numbers
 */
pq_status pq_words_prepare(const pq_step *step, const pq_units *units,
                           const pq_kernels *kernels, pq_words_form form,
                           const pq_quant *from, const pq_quant *to, pq_op **out,
                           pq_err *err);

#endif
