#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "kernels/fours.h"

typedef float    vector4 __attribute__((vector_size(16)));
typedef unsigned bits4 __attribute__((vector_size(16)));
typedef int      mask4 __attribute__((vector_size(16)));

#define ISA     PQ_ISA_PORTABLE
#define KERNELS pq_kernels_portable
#define VEC     vector4
#define TARGET
#define ROWS      4
#define ROWS1     8
#define ROWS2     4
#define ROWS3     2
#define INTS      mask4
#define REALS_VEC double
enum { LANES = 4, REALS = 1 };

static inline vector4 load(const float *from)
{
    vector4 v;

    memcpy(&v, from, sizeof v);
    return v;
}

static inline void store(float *to, vector4 v)
{
    memcpy(to, &v, sizeof v);
}

static inline vector4 spread(float x)
{
    return (vector4){x, x, x, x};
}

static inline vector4 multiply_add(vector4 a, vector4 b, vector4 c)
{
    return a * b + c;
}

static inline vector4 choose(mask4 mask, vector4 yes, vector4 no)
{
    return (vector4)((mask & (mask4)yes) | (~mask & (mask4)no));
}

/* A NaN stays one. */
static inline vector4 at_least(float lo, vector4 v)
{
    return choose(v < spread(lo), spread(lo), v);
}

static inline vector4 at_most(float hi, vector4 v)
{
    return choose(v > spread(hi), spread(hi), v);
}

static inline vector4 root(vector4 v)
{
    return (vector4){sqrtf(v[0]), sqrtf(v[1]), sqrtf(v[2]), sqrtf(v[3])};
}

static inline vector4 one_where_less(vector4 a, vector4 b)
{
    return choose(a < b, spread(1.0f), spread(0.0f));
}

/* v where y > 0, else 0. */
static inline vector4 where_positive(vector4 y, vector4 v)
{
    return choose(y > spread(0.0f), v, spread(0.0f));
}

static inline vector4 load_part(const float *from, size_t n)
{
    float buffer[LANES] = {0};

    memcpy(buffer, from, n * sizeof *from);
    return load(buffer);
}

static inline void store_part(float *to, size_t n, vector4 v)
{
    float buffer[LANES];

    store(buffer, v);
    memcpy(to, buffer, n * sizeof *to);
}

static inline vector4 power_of_two(vector4 v)
{
    return (vector4)(((bits4)v + 127U) << 23);
}

static inline mask4 load_ints(const int32_t *from)
{
    mask4 v;

    memcpy(&v, from, sizeof v);
    return v;
}

static inline void store_ints(int32_t *to, mask4 v)
{
    memcpy(to, &v, sizeof v);
}

/* Of four floats, for each lane, the one at the place in its lowest two bits. */
static inline vector4 pick(const float *four, mask4 places)
{
    return (vector4){four[places[0] & 3], four[places[1] & 3], four[places[2] & 3],
                     four[places[3] & 3]};
}

static inline mask4 next_place(mask4 places)
{
    return (mask4)((bits4)places >> 2);
}

static inline mask4 spread_pair(const int16_t *from)
{
    int32_t pair;

    memcpy(&pair, from, sizeof pair);
    return (mask4){pair, pair, pair, pair};
}

/* The products of both halves of each item. */
static inline mask4 add_pairs(mask4 sum, mask4 a, mask4 b)
{
    const mask4 low = ((mask4)((bits4)a << 16) >> 16) * ((mask4)((bits4)b << 16) >> 16);

    return sum + low + (a >> 16) * (b >> 16);
}

static inline double reals_of(const int32_t *from)
{
    return (double)*from;
}

static inline double load_reals(const double *from)
{
    return *from;
}

static inline double spread_real(double x)
{
    return x;
}

static inline double clamp_reals(double x, double lo, double hi)
{
    return x > lo ? (x < hi ? x : hi) : lo;
}

/* Whether a distance to a whole number is `doubt` or more. */
static inline bool in_doubt(double x, double whole, double doubt)
{
    return fabs(x - whole) >= doubt;
}

static inline void store_codes(int32_t *to, double x)
{
    *to = (int32_t)x;
}

static inline void store_byte_codes(uint8_t *to, double x)
{
    *to = (uint8_t)(int32_t)x;
}

static inline vector4 floats_of(const int32_t *from)
{
    return __builtin_convertvector(load_ints(from), vector4);
}

static inline bool floats_in_doubt(vector4 x, vector4 whole, float doubt)
{
    const vector4 apart = (vector4)((mask4)(x - whole) & 0x7fffffff);
    const mask4   far   = apart >= spread(doubt);

    return (far[0] | far[1] | far[2] | far[3]) != 0;
}

/* A NaN becomes lo. */
static inline vector4 number_at_least(float lo, vector4 v)
{
    return choose(v > spread(lo), v, spread(lo));
}

static inline vector4 load_bytes(const uint8_t *from)
{
    return (vector4){(float)from[0], (float)from[1], (float)from[2], (float)from[3]};
}

static inline void store_bytes(uint8_t *to, vector4 v)
{
    for (size_t i = 0; i < LANES; i++) {
        to[i] = (uint8_t)(int32_t)v[i];
    }
}

/* The nearest whole numbers of four vectors, in 0 .. 255. */
static inline void store_four_bytes(uint8_t *to, const vector4 v[4])
{
    for (size_t i = 0; i < 4; i++) {
        store_bytes(to + i * LANES, (v[i] + spread(12582912.0f)) - spread(12582912.0f));
    }
}

#include "kernels/isa.inc"
