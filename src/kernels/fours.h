/**
 * @file
 * One event times weights of which few are not 0: of every four neighbours along the
 * inputs at most one or two of each output, as N:M pruning leaves them (2:4, 1:4, 2:8,
 * 1:8, …). Values and places of two bits are stored for those alone; a permutation of the
 * four inputs, which all lanes share, brings each output its own.
 *
 *   y[j] = clip(bias[j] + sum_{g < groups} sum_{s < few} x[at(g) + place] weight +
 * add[j])
 *
 * with at(g) = min(4 g, inputs - 4), so that nothing beyond x is read. Inputs are summed
 * as by pq_matmul, in their order and in one chain, but one of half or a quarter the
 * length: that is what a single event waits for. Many events wait for arithmetic, and
 * there permutations cost as much as the products they save. The sums are those of
 * pq_matmul but for inputs that are not finite, which meet no 0 here, and the sign of a
 * 0.
 */
#ifndef PQ_KERNELS_FOURS_H
#define PQ_KERNELS_FOURS_H

#include "core/err.h"
#include "kernels/kernels.h"

enum { PQ_FOURS_VECTORS = 4 /**< of a panel, at most */ };

/** Such a product; owns the arrays that pq_fours_pack makes. {0} is none. */
struct pq_fours {
    size_t         n, inputs; /**< outputs; inputs, at least 4 */
    size_t         few;       /**< 1 or 2 of every four; 0: none */
    size_t         panel;     /**< columns: 1 .. PQ_FOURS_VECTORS vectors */
    float         *weight;    /**< [panels, groups, few, panel], owned */
    int32_t       *places;    /**< [panels, words, panel], owned; first in lowest bits */
    float         *bias;      /**< [panels, panel], owned */
    const float   *x;         /**< [inputs] */
    const float   *add;       /**< [n], or NULL */
    const pq_clip *clip;
    float         *y; /**< [n] */
};

/** Groups of four of so many inputs. */
static inline size_t pq_fours_groups(size_t inputs)
{
    return (inputs + 3) / 4;
}

/** Words of 32 bits for the places of one column. */
static inline size_t pq_fours_words(size_t inputs, size_t few)
{
    return (pq_fours_groups(inputs) * few + 15) / 16;
}

/**
 * Most weights of four neighbours that are not 0, of any output, if that is one or two
 * and leaving out the others pays with these kernels; 0 if not.
 *
 * @param[in] kernels  of the instruction set
 * @param[in] outputs  of the layer
 * @param[in] inputs   of the layer
 * @param[in] kernel   [outputs, inputs]
 */
size_t pq_fours_few(const pq_kernels *kernels, size_t outputs, size_t inputs,
                    const float *kernel);

/**
 * Packs all weights.
 *
 * @param[in]     kernels  of the instruction set
 * @param[in]     outputs  of the layer
 * @param[in]     inputs   of the layer, at least 4
 * @param[in]     kernel   [outputs, inputs], at most out->few of four are not 0
 * @param[in,out] out      with `few`; its sizes, weights, places and a bias of 0; caller
 *                         frees with pq_fours_free, also on failure
 * @param[out]    err      details of a failure, or NULL
 * @retval PQ_ERR_NOMEM    Out of memory.
 */
pq_status pq_fours_pack(const pq_kernels *kernels, size_t outputs, size_t inputs,
                        const float *kernel, pq_fours *out, pq_err *err);

/** Bytes of its arrays. */
size_t pq_fours_bytes(const pq_fours *f);
void   pq_fours_free(pq_fours *f);

#endif
