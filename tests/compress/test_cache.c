#include "nets.h"

#include <unistd.h>

#include "core/file.h"

static const char key[] =
    "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/* [any, 2] twice. */
static const pq_shape pairs[2] = {{2, {0, 2}}, {2, {0, 2}}};

static pq_tensor *numbers(size_t n, double first)
{
    pq_tensor *t = NULL;

    OK(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(n, 2), &t, &err));
    for (size_t i = 0; i < t->count; i++) {
        pq_f64(t)[i] = first + (double)i / 3.0;
    }
    return t;
}

/* Puts, gets back the same bits, and does not find what is not there. */
static void check(const char *folder)
{
    pq_tensor *in[2] = {numbers(3, 1.0), numbers(5, -2.0)}, *out[2] = {NULL, NULL};
    pq_cache  *cache = NULL;

    OK(pq_cache_open(folder, &cache, &err));
    cr_expect_not(pq_cache_get(cache, key, 2, pairs, out));
    pq_cache_put(cache, key, 2, in);
    pq_cache_put(cache, key, 2, in);
    cr_assert(pq_cache_get(cache, key, 2, pairs, out));
    for (size_t i = 0; i < 2; i++) {
        cr_expect(pq_shape_equal(&in[i]->shape, &out[i]->shape));
        cr_expect_eq(memcmp(in[i]->data, out[i]->data, in[i]->count * sizeof(double)), 0);
        pq_tensor_free(&out[i]);
    }
    cr_expect_not(pq_cache_get(cache, "ff", 2, pairs, out));
    cr_expect_null(out[0]);
    pq_cache_close(&cache);
    pq_tensor_free(&in[0]);
    pq_tensor_free(&in[1]);
}

static char *make_folder(void)
{
    char *path = pq_format("cache-test-%d", (int)getpid());

    return path;
}

static void remove_folder(char *folder)
{
    char *file = pq_format("%s/%s.bin", folder, key);

    unlink(file);
    cr_expect_eq(rmdir(folder), 0);
    pq_free(file);
    pq_free(folder);
}

Test(cache, gives_back_the_same_bits_from_memory)
{
    const size_t live = pq_memory_live();

    check(NULL);
    cr_expect_eq(pq_memory_live(), live);
}

Test(cache, gives_back_the_same_bits_from_disk)
{
    char *folder = make_folder();

    check(folder);
    remove_folder(folder);
}

Test(cache, damaged_and_truncated_entries_count_as_not_there)
{
    char *folder = make_folder(), *file = pq_format("%s/%s.bin", folder, key),
         *bytes   = NULL;
    pq_tensor *in = numbers(200, 1.0), *out = NULL;
    pq_cache  *cache = NULL;
    size_t     n;

    OK(pq_cache_open(folder, &cache, &err));
    pq_cache_put(cache, key, 1, &in);
    OK(pq_file_read(file, 1 << 24, &bytes, &n, &err));
    for (size_t place = 0; place < n; place += place < 96 || place > n - 96 ? 1 : 37) {
        bytes[place] ^= 1;
        OK(pq_file_write(file, bytes, n, &err));
        cr_expect_not(pq_cache_get(cache, key, 1, pairs, &out), "byte %zu", place);
        bytes[place] ^= 1;
    }
    for (size_t cut = 1; cut <= n; cut += n / 53 + 1) {
        OK(pq_file_write(file, bytes, n - cut, &err));
        cr_expect_not(pq_cache_get(cache, key, 1, pairs, &out), "cut by %zu", cut);
    }
    OK(pq_file_write(file, bytes, n + 1, &err)); /* its NUL */
    cr_expect_not(pq_cache_get(cache, key, 1, pairs, &out));
    OK(pq_file_write(file, bytes, n, &err));
    cr_expect(pq_cache_get(cache, key, 1, pairs, &out));
    pq_cache_close(&cache);
    pq_tensor_free(&in);
    pq_tensor_free(&out);
    pq_free(bytes);
    pq_free(file);
    remove_folder(folder);
}

Test(cache, a_folder_that_cannot_be_made_only_costs_the_work)
{
    pq_tensor *in = numbers(3, 1.0), *out = NULL;
    pq_cache  *cache = NULL;

    OK(pq_cache_open("/proc/no/such/folder", &cache, &err));
    pq_cache_put(cache, key, 1, &in);
    cr_expect_not(pq_cache_get(cache, key, 1, pairs, &out));
    pq_cache_close(&cache);
    pq_tensor_free(&in);
}

Test(cache, survives_every_failed_allocation)
{
    pq_tensor *in = numbers(3, 1.0);

    for (size_t n = 0; n < 12; n++) {
        const size_t live  = pq_memory_live();
        pq_cache    *cache = NULL;
        pq_tensor   *out   = NULL;

        pq_memory_fail_after(n);
        if (pq_cache_open(NULL, &cache, NULL) == PQ_OK) {
            pq_cache_put(cache, key, 1, &in);
            (void)pq_cache_get(cache, key, 1, pairs, &out);
        }
        pq_memory_fail_after(SIZE_MAX);
        pq_tensor_free(&out);
        pq_cache_close(&cache);
        cr_assert_eq(pq_memory_live(), live);
    }
    pq_tensor_free(&in);
}

/* Puts arrays of given shapes in a cache's place and asks for what is due. */
static bool found_instead(const char *folder, const pq_shape *stored, double item,
                          const pq_shape *due)
{
    pq_tensor *in = NULL, *out = NULL;
    pq_cache  *cache = NULL;
    bool       found;

    OK(pq_cache_open(folder, &cache, &err));
    OK(pq_tensor_create(PQ_DTYPE_F64, *stored, &in, &err));
    pq_f64(in)[in->count - 1] = item;
    pq_cache_put(cache, key, 1, &in);
    found = pq_cache_get(cache, key, 1, due, &out);
    pq_tensor_free(&in);
    pq_tensor_free(&out);
    pq_cache_close(&cache);
    return found;
}

Test(cache, whole_entries_of_other_shapes_or_not_finite_count_as_not_there)
{
    char          *folder   = make_folder();
    const pq_shape due      = PQ_SHAPE(6, 4);
    const pq_shape others[] = {PQ_SHAPE(4, 6), PQ_SHAPE(6, 3), PQ_SHAPE(24),
                               PQ_SHAPE(6, 4, 1), PQ_SHAPE(1)};

    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        cr_expect_not(found_instead(folder, &others[i], 1.0, &due), "shape %zu", i);
    }
    cr_expect_not(found_instead(folder, &due, (double)NAN, &due));
    cr_expect_not(found_instead(folder, &due, (double)INFINITY, &due));
    cr_expect(found_instead(folder, &due, 1.0, &due));
    remove_folder(folder);
}
