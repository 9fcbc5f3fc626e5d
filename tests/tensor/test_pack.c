#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "core/rng.h"
#include "tensor/quant.h"

static pq_tensor *vector(size_t n)
{
    pq_tensor *t = NULL;

    cr_assert_eq(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(n), &t, NULL), PQ_OK);
    return t;
}

static pq_quant *unit_scale(int bits, bool is_signed)
{
    pq_quant *q = NULL;

    cr_assert_eq(
        pq_quant_create(PQ_QUANT_INTEGER, bits, is_signed, false, -1, 1, &q, NULL),
        PQ_OK);
    q->scale[0] = 1.0f;
    return q;
}

Test(pack, bits_lie_as_documented)
{
    pq_quant  *q = unit_scale(3, true); /* codes -4 .. 3 */
    pq_tensor *t = vector(4);
    uint8_t   *packed;
    size_t     bytes;

    memcpy(t->data, (float[]){-4, 0, 3, -1}, 16); /* 000 100 111 011 */
    cr_assert_eq(pq_quant_pack(q, t, false, &packed, &bytes, NULL), PQ_OK);
    cr_assert_eq(bytes, 2);
    cr_expect_eq(packed[0], 0xe0, "%02x", packed[0]); /* 11 100 000 */
    cr_expect_eq(packed[1], 0x07, "%02x", packed[1]); /* 011 1 */
    pq_free(packed);

    cr_assert_eq(pq_quant_pack(q, t, true, &packed, &bytes, NULL), PQ_OK);
    cr_assert_eq(bytes, 3); /* bitmap 1011, codes 000 111 011 */
    cr_expect_eq(packed[0], 0x0d);
    cr_expect_eq(packed[1], 0xf8);
    cr_expect_eq(packed[2], 0x00);
    pq_free(packed);
    pq_tensor_free(&t);
    pq_quant_free(&q);
}

/* Random values on the grid, about half of them zero, both forms, there and back. */
static void round_trip(const pq_quant *q, size_t n, pq_rng *rng)
{
    pq_tensor *t = vector(n), *back = vector(n);

    for (size_t i = 0; i < n; i++) {
        pq_f32(t)[i] = pq_rng_uniform(rng) < 0.5 ? 0.0f : (float)pq_rng_normal(rng);
    }
    if (q != NULL) {
        cr_assert_eq(pq_quant_apply(q, t, NULL), PQ_OK);
    }
    for (int sparse = 0; sparse < 2; sparse++) {
        uint8_t *packed;
        size_t   bytes;
        cr_assert_eq(pq_quant_pack(q, t, sparse != 0, &packed, &bytes, NULL), PQ_OK);
        cr_expect_eq(bytes, pq_quant_packed_bytes(q, t, sparse != 0));
        memset(back->data, 0x55, n * sizeof(float));
        cr_assert_eq(pq_quant_unpack(q, packed, bytes, sparse != 0, back, NULL), PQ_OK);
        for (size_t i = 0; i < n; i++) {
            cr_assert_eq(pq_f32(back)[i], pq_f32(t)[i]);
        }
        cr_expect_eq(pq_quant_unpack(q, packed, bytes + 1, sparse != 0, back, NULL),
                     PQ_ERR_FORMAT);
        cr_expect(bytes == 0 || pq_quant_unpack(q, packed, bytes - 1, sparse != 0, back,
                                                NULL) == PQ_ERR_FORMAT);
        pq_free(packed);
    }
    pq_tensor_free(&t);
    pq_tensor_free(&back);
}

Test(pack, what_goes_in_comes_out_for_every_width_and_form)
{
    static const size_t sizes[] = {0, 1, 7, 8, 9, 255, 1000};
    pq_rng              rng     = pq_rng_stream(3, "pack");

    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        for (int bits = 2; bits <= 16; bits++) {
            pq_quant *q = unit_scale(bits, bits % 2 == 0);
            pq_quant_set_range(q, 0, -2.0, 2.5, bits % 3 == 0);
            round_trip(q, sizes[s], &rng);
            pq_quant_free(&q);
        }
        for (int scheme = PQ_QUANT_FLOAT16; scheme <= PQ_QUANT_BFLOAT16; scheme++) {
            pq_quant *q = NULL;
            cr_assert_eq(pq_quant_create((pq_quant_scheme)scheme, 16, true, false, -1, 0,
                                         &q, NULL),
                         PQ_OK);
            round_trip(q, sizes[s], &rng);
            pq_quant_free(&q);
        }
        round_trip(NULL, sizes[s], &rng);
    }
}

Test(pack, a_code_outside_the_range_is_refused)
{
    pq_quant  *q   = NULL;
    pq_tensor *t   = vector(2);
    pq_err     err = {0};

    cr_assert_eq(pq_quant_create(PQ_QUANT_INTEGER, 8, true, true, -1, 1, &q, NULL),
                 PQ_OK);
    q->scale[0] = 1.0f;
    cr_expect_eq(pq_quant_unpack(q, (uint8_t[]){254, 255}, 2, false, t, &err),
                 PQ_ERR_FORMAT);
    cr_expect_str_eq(err.message, "code 255 of item 1 is not in 0..254");
    err = (pq_err){0};
    cr_expect_eq(pq_quant_unpack(q, (uint8_t[]){3}, 1, true, t, &err), PQ_ERR_FORMAT);
    cr_expect_str_eq(err.message, "packed weight has 1 bytes where 3 are due");
    err = (pq_err){0};
    cr_expect_eq(pq_quant_unpack(q, NULL, 0, true, t, &err), PQ_ERR_FORMAT);
    cr_expect_str_eq(err.message, "packed weight has 0 bytes, its bitmap alone 1");
    pq_tensor_free(&t);
    pq_quant_free(&q);
}

Test(pack, without_a_quantizer_floats_are_kept_bit_by_bit)
{
    pq_tensor *t = vector(3), *back = vector(3);
    uint8_t   *packed;
    size_t     bytes;

    memcpy(t->data, (float[]){-0.0f, 1e-45f, -INFINITY}, 12);
    cr_assert_eq(pq_quant_pack(NULL, t, false, &packed, &bytes, NULL), PQ_OK);
    cr_expect_eq(bytes, 12);
    cr_assert_eq(pq_quant_unpack(NULL, packed, bytes, false, back, NULL), PQ_OK);
    cr_expect_arr_eq(back->data, t->data, 12);
    pq_free(packed);
    pq_tensor_free(&t);
    pq_tensor_free(&back);
}
