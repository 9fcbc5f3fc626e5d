#include "models.h"

#include "exec/quantize.h"

static pq_quant *random_quant(pq_rng *rng, pq_quant_scheme scheme, int bits,
                              bool is_signed, int axis, size_t n)
{
    pq_quant *q = NULL;

    OK(pq_quant_create(scheme, bits, is_signed, false, axis, n, &q, &err));
    for (size_t i = 0; i < n; i++) {
        const size_t span = (size_t)(pq_quant_hi(q) - pq_quant_lo(q)) + 1;
        q->scale[i]       = (float)(0.001 + 0.1 * pq_rng_uniform(rng));
        q->zero_point[i]  = pq_quant_lo(q) + (int32_t)pq_rng_below(rng, span);
    }
    return q;
}

/* Every value is exactly what pq_quant_round says, also far outside and halfway between.
 */
static void check_quant(pq_quant *q, const pq_shape *shape, pq_rng *rng)
{
    size_t  count = 0;
    float  *a;
    double *b;

    cr_assert(pq_shape_count(shape, &count));
    a                = pq_calloc(2 * count, sizeof *a);
    b                = pq_calloc(2 * count, sizeof *b);
    float  *due      = pq_calloc(2 * count, sizeof *due);
    double *due_real = pq_calloc(2 * count, sizeof *due_real);
    fill_normal(rng, 3.0, 2 * count, a);
    for (size_t i = 0; i < 2 * count; i++) {
        const size_t s = q->n == 0 ? 0 : pq_quant_index(q, shape, i % count);
        if (q->n > 0 && i % 5 == 0) {
            a[i] = q->scale[s] * ((float)(i % 60) - 30.5f);
            a[i] = i % 3 == 0 ? a[i] : nextafterf(a[i], i % 3 == 1 ? 0.0f : a[i] * 2.0f);
        }
        a[i]        = i % 17 == 0 ? a[i] * 1e30f : a[i];
        b[i]        = (double)a[i];
        due[i]      = pq_quant_round(q, s, a[i]);
        due_real[i] = pq_quant_round_real(q, s, b[i]);
    }
    pq_quantize_values(q, shape, 2, sizeof(float), a);
    pq_quantize_values(q, shape, 2, sizeof(double), b);
    for (size_t i = 0; i < 2 * count; i++) {
        cr_assert_eq(a[i], due[i], "float item %zu: %g, not %g", i, (double)a[i],
                     (double)due[i]);
        cr_assert_eq(b[i], due_real[i], "double item %zu", i);
    }
    pq_free(a);
    pq_free(b);
    pq_free(due);
    pq_free(due_real);
    pq_quant_free(&q);
}

Test(quantize, values_are_those_of_the_definition_for_every_scheme_and_axis)
{
    const pq_shape shape = PQ_SHAPE(5, 6, 7);
    pq_rng         rng   = pq_rng_stream(31, "test");

    for (int bits = 2; bits <= 16; bits++) {
        for (int is_signed = 0; is_signed < 2; is_signed++) {
            check_quant(random_quant(&rng, PQ_QUANT_INTEGER, bits, is_signed != 0,
                                     PQ_QUANT_PER_TENSOR, 1),
                        &shape, &rng);
            for (int axis = 0; axis < 3; axis++) {
                check_quant(random_quant(&rng, PQ_QUANT_INTEGER, bits, is_signed != 0,
                                         axis, shape.dim[axis]),
                            &shape, &rng);
            }
        }
    }
    check_quant(random_quant(&rng, PQ_QUANT_FLOAT16, 16, true, PQ_QUANT_PER_TENSOR, 0),
                &shape, &rng);
    check_quant(random_quant(&rng, PQ_QUANT_BFLOAT16, 16, true, PQ_QUANT_PER_TENSOR, 0),
                &shape, &rng);
}
