/* Forms of pruned weights: bytes as documented, there and back, and nothing else read. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/rng.h"
#include "tensor/store.h"

#define OK(call)                                                                         \
    do {                                                                                 \
        pq_err err = {0};                                                                \
        cr_assert_eq((call), PQ_OK, "%s: %s", #call, err.message);                       \
    } while (0)

static pq_tensor *zeros(pq_shape shape)
{
    pq_tensor *t = NULL;

    OK(pq_tensor_create(PQ_DTYPE_F32, shape, &t, &err));
    return t;
}

/* 4 bits, codes of values -8 .. 7, stored from 0 on. */
static pq_quant *four_bits(void)
{
    pq_quant *q = NULL;

    OK(pq_quant_create(PQ_QUANT_INTEGER, 4, true, false, -1, 1, &q, &err));
    q->scale[0] = 1.0F;
    return q;
}

/*
 * Two rows of eight:  0 0 0 5 0 0 0 0
 *                     1 0 0 0 0 0 0 -8        codes 13, 9, 0
 */
static pq_tensor *example(void)
{
    pq_tensor *t = zeros(PQ_SHAPE(2, 8));

    pq_f32(t)[3]  = 5.0F;
    pq_f32(t)[8]  = 1.0F;
    pq_f32(t)[15] = -8.0F;
    return t;
}

Test(store, bits_lie_as_documented)
{
    static const struct {
        pq_store_form form;
        size_t        bytes;
        uint8_t       packed[8];
    } cases[] = {
        {PQ_STORE_DENSE, 8, {0x88, 0xd8, 0x88, 0x88, 0x89, 0x88, 0x88, 0x08}},
        {PQ_STORE_BITMAP, 4, {0x08, 0x81, 0x9d, 0x00}},
        /* counts 1, 2 of 4 bits; columns 3, 0, 7 of 3 bits: 011 000 111, a byte's rest */
        {PQ_STORE_CSR, 5, {0x21, 0xc3, 0x01, 0x9d, 0x00}},
        /* 1 of every 4: places 3, 0 (a zero), 0, 3 of 2 bits; codes 13, 8, 9, 0 */
        {PQ_STORE_PATTERN, 5, {1, 4, 0xc3, 0x8d, 0x09}},
        /* blocks of one column and four rows would be [1, 4]: the columns 0, 3, 7 */
        {PQ_STORE_BLOCKS, 6, {1, 4, 0x89, 0xd8, 0x98, 0x08}},
    };
    pq_quant  *q = four_bits();
    pq_tensor *t = example();

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t *packed;
        size_t   bytes;
        cr_expect_eq(pq_store_bytes(q, t, cases[i].form), cases[i].bytes, "%s: %zu",
                     pq_store_names[cases[i].form], pq_store_bytes(q, t, cases[i].form));
        OK(pq_store_pack(q, t, cases[i].form, &packed, &bytes, &err));
        cr_assert_eq(bytes, cases[i].bytes);
        for (size_t k = 0; k < bytes; k++) {
            cr_expect_eq(packed[k], cases[i].packed[k], "%s: byte %zu is %02x",
                         pq_store_names[cases[i].form], k, packed[k]);
        }
        pq_free(packed);
    }
    pq_tensor_free(&t);
    pq_quant_free(&q);
}

/* 16 x 64 in float32, by hand: index, padded to a byte, and four bytes an item. */
Test(store, bytes_are_counted_to_the_last_one)
{
    enum { ROWS = 16, COLUMNS = 64 };
    pq_tensor *t = zeros(PQ_SHAPE(ROWS, COLUMNS));

    /* one item a row: CSR has a count of 7 bits a row and 6 bits an item */
    for (size_t r = 0; r < ROWS; r++) {
        pq_f32(t)[r * COLUMNS + 5 * (r % 8)] = 1.0F;
    }
    cr_expect_eq(pq_store_bytes(NULL, t, PQ_STORE_DENSE), 4096);
    cr_expect_eq(pq_store_bytes(NULL, t, PQ_STORE_BITMAP), 128 + 64);
    cr_expect_eq(pq_store_bytes(NULL, t, PQ_STORE_CSR), (16 * 7 + 16 * 6) / 8 + 64);
    cr_expect_eq(pq_store_bytes(NULL, t, PQ_STORE_PATTERN), 2 + 16 * 6 / 8 + 64);
    /* 2 of every 4: as many bits as a bitmap, and two bytes */
    for (size_t i = 0; i < t->count; i++) {
        pq_f32(t)[i] = i % 4 < 2 ? 1.0F : 0.0F;
    }
    cr_expect_eq(pq_store_bytes(NULL, t, PQ_STORE_BITMAP), 128 + 2048);
    cr_expect_eq(pq_store_bytes(NULL, t, PQ_STORE_PATTERN), 2 + 512 * 2 / 8 + 2048);
    cr_expect_eq(pq_store_bytes(NULL, t, PQ_STORE_CSR), 14 + 512 * 6 / 8 + 2048);
    /* 1 of every 4: half of a bitmap's bits */
    for (size_t i = 0; i < t->count; i++) {
        pq_f32(t)[i] = i % 4 == 1 ? 1.0F : 0.0F;
    }
    cr_expect_eq(pq_store_bytes(NULL, t, PQ_STORE_PATTERN), 2 + 256 * 2 / 8 + 1024);
    /* every fourth block of 4 columns by 16 rows: 16 bits and 2 bytes */
    for (size_t i = 0; i < t->count; i++) {
        pq_f32(t)[i] = i % COLUMNS / 4 % 4 == 0 ? 1.0F : 0.0F;
    }
    cr_expect_eq(pq_store_bytes(NULL, t, PQ_STORE_BLOCKS), 2 + 2 + 1024);
    pq_tensor_free(&t);
}

/* What is stored of a random weight: grids, or none; shapes; how the zeros lie. */
static pq_quant *grid(int kind, size_t rows)
{
    static const pq_quant_scheme schemes[] = {PQ_QUANT_INTEGER, PQ_QUANT_FLOAT16,
                                              PQ_QUANT_INTEGER};
    pq_quant                    *q         = NULL;

    if (kind == 0) {
        return NULL;
    }
    const size_t scales = kind == 2 ? 0 : kind == 3 ? rows : 1;
    OK(pq_quant_create(schemes[kind - 1], kind == 2 ? 16 : 5, true, kind != 2,
                       kind == 3 ? 0 : -1, scales, &q, &err));
    for (size_t i = 0; i < q->n; i++) {
        q->scale[i] = 0.125F * (float)(i + 1);
    }
    return q;
}

static pq_tensor *draw(pq_rng *rng, pq_shape shape, size_t pattern, const pq_quant *q)
{
    pq_tensor   *t       = zeros(shape);
    const size_t columns = t->count / shape.dim[0];
    const double density = pq_rng_uniform(rng);

    for (size_t i = 0; i < t->count; i++) {
        const size_t r = i / columns, c = i % columns;
        const bool   kept = pattern == 0   ? pq_rng_uniform(rng) < density
                            : pattern == 1 ? c % 8 == r % 8
                            : pattern == 2 ? (r / 16 + c / 4) % 3 == 0
                                           : pq_rng_uniform(rng) < 0.01;
        pq_f32(t)[i]      = kept ? (float)pq_rng_normal(rng) : 0.0F;
    }
    if (q != NULL) {
        OK(pq_quant_apply(q, t, &err));
    }
    return t;
}

static const pq_shape shapes[] = {{2, {1, 1}},  {2, {5, 7}},   {2, {16, 64}},
                                  {1, {40}},    {2, {64, 33}}, {4, {8, 3, 3, 5}},
                                  {2, {70, 1}}, {2, {1, 300}}};

/* Every form there and back; one byte more or less is refused; and damaged bytes are
 * refused or read as some weight, and touch nothing beyond. */
Test(store, every_form_gives_back_what_it_took)
{
    pq_rng rng                   = pq_rng_stream(1, "store");
    size_t taken[PQ_STORE_FORMS] = {0};

    for (size_t c = 0; c < 8 * 4 * 4; c++) {
        pq_quant  *q = grid((int)(c / 8 % 4), shapes[c % 8].dim[0]);
        pq_tensor *t = draw(&rng, shapes[c % 8], c / 32, q), *back = zeros(shapes[c % 8]);
        size_t     least;
        taken[pq_store_least(q, t, &least)]++;
        for (pq_store_form form = 0; form < PQ_STORE_FORMS; form++) {
            uint8_t *packed;
            size_t   bytes;
            cr_expect_leq(least, pq_store_bytes(q, t, form));
            if (pq_store_bytes(q, t, form) == SIZE_MAX) {
                continue;
            }
            OK(pq_store_pack(q, t, form, &packed, &bytes, &err));
            cr_assert_eq(bytes, pq_store_bytes(q, t, form));
            OK(pq_store_unpack(q, packed, bytes, form, back, &err));
            cr_assert_eq(memcmp(t->data, back->data, t->count * sizeof(float)), 0,
                         "case %zu, %s", c, pq_store_names[form]);
            cr_expect(bytes == 0 || pq_store_unpack(q, packed, bytes - 1, form, back,
                                                    NULL) == PQ_ERR_FORMAT);
            for (size_t k = 0; k < 20 && bytes > 0; k++) {
                uint8_t *damaged = malloc(bytes); /* for the sanitizer: its very end */
                memcpy(damaged, packed, bytes);
                damaged[pq_rng_below(&rng, bytes)] ^=
                    (uint8_t)(1u << pq_rng_below(&rng, 8));
                (void)pq_store_unpack(q, damaged, bytes - pq_rng_below(&rng, 2), form,
                                      back, NULL);
                free(damaged);
            }
            pq_free(packed);
        }
        pq_tensor_free(&t);
        pq_tensor_free(&back);
        pq_quant_free(&q);
    }
    for (pq_store_form form = 0; form < PQ_STORE_FORMS; form++) {
        cr_expect_gt(taken[form], 0, "%s is never the smallest", pq_store_names[form]);
    }
}

Test(store, says_what_an_index_cannot_be)
{
    static const struct {
        pq_store_form form;
        size_t        bytes;
        uint8_t       packed[8];
        const char   *message;
    } cases[] = {
        {PQ_STORE_CSR, 0, {0}, "packed weight has 0 bytes, its index alone 1"},
        {PQ_STORE_CSR, 2, {0x21, 0}, "packed weight has 2 bytes, its index alone 3"},
        {PQ_STORE_CSR,
         5,
         {0x21, 0x7b, 0, 0, 0},
         "item 1 of the index is at 1, not in 8..7"},
        {PQ_STORE_CSR,
         6,
         {0x21, 0xc3, 1, 0x9d, 0, 0},
         "packed weight has 6 bytes where 5 are due"},
        {PQ_STORE_PATTERN, 1, {1}, "packed weight has 1 bytes, its index alone 2"},
        {PQ_STORE_PATTERN,
         5,
         {5, 4},
         "a pattern of 5 of every 4 is not N of every 2..64"},
        {PQ_STORE_PATTERN,
         5,
         {1, 65},
         "a pattern of 1 of every 65 is not N of every 2..64"},
        {PQ_STORE_PATTERN,
         5,
         {2, 4, 0, 0, 0},
         "item 1 of the index is at 0, not in 1..3"},
        {PQ_STORE_BLOCKS, 4, {0, 4}, "blocks of 0 by 4 hold nothing"},
        {PQ_STORE_BLOCKS, 3, {4, 1, 1}, "packed weight has 3 bytes where 5 are due"},
    };
    pq_quant  *q = four_bits();
    pq_tensor *t = zeros(PQ_SHAPE(2, 8));

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pq_err e = {0};
        cr_expect_eq(
            pq_store_unpack(q, cases[i].packed, cases[i].bytes, cases[i].form, t, &e),
            PQ_ERR_FORMAT, "case %zu", i);
        cr_expect_str_eq(e.message, cases[i].message);
    }
    pq_tensor_free(&t);
    pq_quant_free(&q);
}

/* All zeros in few bytes: only as many as a byte may stand for. */
Test(store, a_small_file_makes_no_large_weight)
{
    pq_tensor *t = zeros(PQ_SHAPE(1000, 1000));
    size_t     bytes;

    for (pq_store_form form = PQ_STORE_CSR; form < PQ_STORE_FORMS; form++) {
        bytes = pq_store_bytes(NULL, t, form);
        cr_expect(bytes == SIZE_MAX || bytes >= t->count / PQ_STORE_ITEMS_A_BYTE);
    }
    cr_expect_eq(pq_store_least(NULL, t, &bytes), PQ_STORE_BITMAP);
    cr_expect_eq(bytes, 125000);
    pq_tensor_free(&t);
}
