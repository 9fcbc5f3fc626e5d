/**
 * @file
 * A convolution of bytes as a primitive of oneDNN 2.6, for onednn.c alone.
 */
#ifndef PQ_EXEC_ONEDNN_PRIMITIVE_H
#define PQ_EXEC_ONEDNN_PRIMITIVE_H

#include <oneapi/dnnl/dnnl.h>

#include "exec/units.h"

enum { PQ_DNNL_SETS = 8 /**< runs of one primitive at a time */ };

/** A primitive for a number of samples with its packed weights. {0} is none. */
typedef struct {
    size_t           n; /**< samples */
    dnnl_primitive_t primitive;
    dnnl_memory_t    weights, bias;
    dnnl_memory_t    source[PQ_DNNL_SETS], target[PQ_DNNL_SETS], scratch[PQ_DNNL_SETS];
    size_t           scratch_bytes, weight_bytes;
    uint8_t         *packed; /**< owned */
    char             kernel[64];
} pq_dnnl_variant;

/** What a layer is to oneDNN. */
typedef struct {
    const pq_units *units;
    dnnl_dims_t     source, weights, target, stride, dilation, before, after;
    int             weight_dims;
    int32_t         source_zero, target_zero;
    bool            bytes, relu; /**< target: bytes or floats */
    int32_t         codes;       /**< of bytes */
    float          *scale;       /**< [outputs] */
} pq_dnnl_shape;

/** Whether oneDNN could be started; does so on the first call. */
bool pq_dnnl_start(void);

/** Whether its int8 kernels have VNNI. */
bool pq_dnnl_has_vnni(void);

/** Name of the instruction set it uses: "avx2", "avx512_core_vnni", … */
const char *pq_dnnl_isa(void);

/**
 * Leaves v->primitive NULL where oneDNN has no fast kernel for the layer.
 * @param[in] bias  [outputs], borrowed as long as v lives
 */
pq_status pq_dnnl_make(const pq_dnnl_shape *s, size_t n, float *bias, pq_dnnl_variant *v,
                       pq_err *err);
void      pq_dnnl_free(pq_dnnl_variant *v);

/** Runs v->n samples on the memories of one set, which no other thread may use then. */
void pq_dnnl_run(const pq_dnnl_variant *v, size_t set, const uint8_t *in, uint8_t *out,
                 void *scratch);

#endif
