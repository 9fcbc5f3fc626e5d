#include "train/simd_tables.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#define VL 4
#define TARGET
typedef float   vf __attribute__((vector_size(16)));
typedef int32_t vi __attribute__((vector_size(16)));

static inline vf load(const float *p)
{
    vf x;

    memcpy(&x, p, sizeof x);
    return x;
}

static inline void store(float *p, vf x)
{
    memcpy(p, &x, sizeof x);
}

/* Keeps what is not below zero, so that a NaN stays one. */
static inline vf relu(vf x)
{
    return (vf)((vi)x & ~(vi)(x < (vf){0}));
}

static inline vf root(vf x)
{
    return (vf){sqrtf(x[0]), sqrtf(x[1]), sqrtf(x[2]), sqrtf(x[3])};
}

#define LOAD(p)           load(p)
#define STORE(p, x)       store((p), (x))
#define SPLAT(x)          ((vf){(x), (x), (x), (x)})
#define MADD(a, b, c)     ((a) * (b) + (c))
#define RELU(x)           relu(x)
#define ROOT(x)           root(x)
#define SELECT_LESS(a, b) ((vf)((vi)((a) < (b)) & (vi)SPLAT(1.0F)))
#define ROWS1             8
#define ROWS2             4
#define ROWS3             2
#define SIMD_ISA          PQ_ISA_PORTABLE
#define SIMD_TABLE        pq_simd_portable

#include "train/simd_loops.inc"
