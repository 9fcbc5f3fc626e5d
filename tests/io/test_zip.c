#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "io/zip.h"
#include "scratch.h"

/* One deflated member "a/b.txt" as Python's zipfile writes it. */
static const uint8_t deflated[] = {
    80,  75,  3,   4,   20,  0,   0,  0,   8,   0,   132, 189, 124, 93,  246, 210,
    83,  56,  11,  0,   0,   0,   29, 0,   0,   0,   7,   0,   0,   0,   97,  47,
    98,  46,  116, 120, 116, 203, 72, 205, 201, 201, 87,  200, 192, 78,  2,   0,
    80,  75,  1,   2,   20,  3,   20, 0,   0,   0,   8,   0,   132, 189, 124, 93,
    246, 210, 83,  56,  11,  0,   0,  0,   29,  0,   0,   0,   7,   0,   0,   0,
    0,   0,   0,   0,   0,   0,   0,  0,   128, 1,   0,   0,   0,   0,   97,  47,
    98,  46,  116, 120, 116, 80,  75, 5,   6,   0,   0,   0,   0,   1,   0,   1,
    0,   53,  0,   0,   0,   48,  0,  0,   0,   0,   0};

enum { ENTRY = 48 /* where the directory begins */, SIZE = sizeof deflated };

Test(zip, what_is_written_is_read, .init = setup, .fini = teardown)
{
    const pq_zip_part parts[] = {
        {"a", "one", 3}, {"dir/empty", "", 0}, {"b.bin", "\0\1\2", 3}};
    pq_zip zip   = {0};
    char  *bytes = NULL, *content = NULL;
    size_t n   = 0;
    pq_err err = {0};

    cr_assert_eq(pq_zip_write(path, parts, 3, &err), PQ_OK, "%s", err.message);
    cr_assert_eq(pq_file_read(path, 4096, &bytes, &n, &err), PQ_OK);
    cr_expect(pq_zip_looks((uint8_t *)bytes, n));
    cr_assert_eq(pq_zip_open((uint8_t *)bytes, n, &zip, &err), PQ_OK, "%s", err.message);
    cr_assert_eq(zip.n, 3);
    for (size_t i = 0; i < 3; i++) {
        const pq_zip_member *m = pq_zip_find(&zip, parts[i].name);
        cr_assert_not_null(m);
        cr_assert_eq(m->n, parts[i].n);
        cr_assert_eq(pq_zip_content(m, &content, &err), PQ_OK);
        cr_expect_eq(memcmp(content, parts[i].bytes, parts[i].n), 0);
        pq_free(content);
    }
    cr_expect_null(pq_zip_find(&zip, "dir"));
    pq_zip_free(&zip);
    pq_free(bytes);
}

Test(zip, two_members_of_one_name_are_refused, .init = setup, .fini = teardown)
{
    const pq_zip_part parts[] = {
        {"b", "1", 1}, {"a", "2", 1}, {"bb", "3", 1}, {"b", "4", 1}};
    pq_zip zip   = {0};
    char  *bytes = NULL;
    size_t n     = 0;
    pq_err err   = {0};

    cr_assert_eq(pq_zip_write(path, parts, 4, &err), PQ_OK, "%s", err.message);
    cr_assert_eq(pq_file_read(path, 4096, &bytes, &n, &err), PQ_OK);
    cr_expect_eq(pq_zip_open((uint8_t *)bytes, n, &zip, &err), PQ_ERR_FORMAT);
    cr_expect_str_eq(err.message, "the ZIP has two members 'b'");
    pq_free(bytes);
    cr_assert_eq(pq_zip_write(path, parts, 3, &err), PQ_OK);
    cr_assert_eq(pq_file_read(path, 4096, &bytes, &n, &err), PQ_OK);
    cr_expect_eq(pq_zip_open((uint8_t *)bytes, n, &zip, NULL), PQ_OK);
    pq_zip_free(&zip);
    pq_free(bytes);
}

Test(zip, a_deflated_member_is_unpacked)
{
    pq_zip zip     = {0};
    char  *content = NULL;
    pq_err err     = {0};

    cr_assert_eq(pq_zip_open(deflated, SIZE, &zip, &err), PQ_OK, "%s", err.message);
    cr_expect(zip.members[0].deflated);
    cr_assert_eq(pq_zip_content(&zip.members[0], &content, &err), PQ_OK, "%s",
                 err.message);
    cr_expect_str_eq(content, "hello hello hello hello hello");
    pq_free(content);
    pq_zip_free(&zip);
}

/* What a byte changed makes of it: refused when opened, or when unpacked. */
static const struct {
    size_t      at;
    uint8_t     to;
    const char *message;
} damaged[] = {
    {ENTRY, 0, "the ZIP's directory is damaged at byte 48"},
    {ENTRY + 8, 1, "member 'a/b.txt' is encrypted"},
    {ENTRY + 10, 12,
     "member 'a/b.txt' is packed by method 12; 0 (stored) and 8 (deflate) are read"},
    {ENTRY + 10, 0, "member 'a/b.txt' is stored in 11 bytes and said to have 29"},
    {ENTRY + 16, 0, "member 'a/b.txt' is damaged: its checksum differs"},
    {ENTRY + 20, 200, "member 'a/b.txt' reaches beyond the end of the file"},
    {ENTRY + 24, 28, "member 'a/b.txt' is damaged: it does not unpack to its 28 bytes"},
    {ENTRY + 25, 1, "member 'a/b.txt' is damaged: it does not unpack to its 285 bytes"},
    {ENTRY + 26, 1,
     "member 'a/b.txt' of 11 bytes would unpack to 65565, more than 100 times as many"},
    {ENTRY + 28, 200, "the ZIP's directory is truncated at byte 48"},
    {ENTRY + 42, 1, "member 'a/b.txt' is not where the ZIP's directory says"},
    {40, 0, "member 'a/b.txt' is damaged: it does not unpack to its 29 bytes"},
    {SIZE - 22, 0, "the ZIP has no directory at its end: it is truncated"},
    {SIZE - 12, 2, "the ZIP's directory is damaged at byte 101"},
};

Test(zip, damage_is_one_sentence)
{
    for (size_t k = 0; k < sizeof damaged / sizeof *damaged; k++) {
        uint8_t   bytes[SIZE];
        pq_zip    zip     = {0};
        char     *content = NULL;
        pq_err    err     = {0};
        pq_status st;

        memcpy(bytes, deflated, SIZE);
        bytes[damaged[k].at] = damaged[k].to;
        st                   = pq_zip_open(bytes, SIZE, &zip, &err);
        if (st == PQ_OK) {
            st = pq_zip_content(&zip.members[0], &content, &err);
        }
        cr_expect_neq(st, PQ_OK, "case %zu", k);
        cr_expect_str_eq(err.message, damaged[k].message, "case %zu: %s", k, err.message);
        pq_free(content);
        pq_zip_free(&zip);
    }
}

Test(zip, any_cut_is_refused)
{
    for (size_t n = 0; n < SIZE; n++) {
        pq_zip zip = {0};
        cr_expect_neq(pq_zip_open(deflated, n, &zip, NULL), PQ_OK, "%zu bytes", n);
    }
}

/* The same archive as ZIP64 has it: each size and place in 64 bits, none in 32. */
enum { NAME = 7, EXTRA = 4 + 3 * 8, END64 = ENTRY + 46 + NAME + EXTRA };
enum { LOCATOR = END64 + 56, END = LOCATOR + 20, WIDE = END + 22 };

static void put(uint8_t *at, uint64_t value, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        at[i] = (uint8_t)(value >> 8 * i);
    }
}

static void make_wide(uint8_t bytes[WIDE])
{
    uint8_t *entry = bytes + ENTRY, *extra = entry + 46 + NAME;

    memset(bytes, 0, WIDE);
    memcpy(bytes, deflated, ENTRY + 46 + NAME);
    put(entry + 20, UINT32_MAX, 4);
    put(entry + 24, UINT32_MAX, 4);
    put(entry + 30, EXTRA, 2);
    put(entry + 42, UINT32_MAX, 4);
    put(extra, 1, 2);
    put(extra + 2, 24, 2);
    put(extra + 4, 29, 8);
    put(extra + 12, 11, 8);
    put(bytes + END64, 0x06064b50, 4);
    put(bytes + END64 + 4, 44, 8);
    put(bytes + END64 + 24, 1, 8);
    put(bytes + END64 + 32, 1, 8);
    put(bytes + END64 + 40, END64 - ENTRY, 8);
    put(bytes + END64 + 48, ENTRY, 8);
    put(bytes + LOCATOR, 0x07064b50, 4);
    put(bytes + LOCATOR + 8, END64, 8);
    put(bytes + LOCATOR + 16, 1, 4);
    put(bytes + END, 0x06054b50, 4);
    put(bytes + END + 8, UINT16_MAX, 2);
    put(bytes + END + 10, UINT16_MAX, 2);
    put(bytes + END + 12, UINT32_MAX, 4);
    put(bytes + END + 16, UINT32_MAX, 4);
}

Test(zip, sizes_and_places_of_64_bits_are_read)
{
    uint8_t bytes[WIDE];
    pq_zip  zip     = {0};
    char   *content = NULL;
    pq_err  err     = {0};

    make_wide(bytes);
    cr_assert_eq(pq_zip_open(bytes, WIDE, &zip, &err), PQ_OK, "%s", err.message);
    cr_assert_eq(zip.n, 1);
    cr_expect_eq(zip.members[0].n, 29);
    cr_expect_eq(zip.members[0].packed, 11);
    cr_assert_eq(pq_zip_content(&zip.members[0], &content, &err), PQ_OK, "%s",
                 err.message);
    cr_expect_str_eq(content, "hello hello hello hello hello");
    pq_free(content);
    pq_zip_free(&zip);
    for (size_t n = 0; n < WIDE; n++) {
        cr_expect_neq(pq_zip_open(bytes, n, &zip, NULL), PQ_OK, "%zu bytes", n);
    }
}

static const struct {
    size_t      at;
    uint64_t    to; /* 8 bytes, or 2 of a record's kind or size */
    size_t      n;
    const char *message;
} damaged_wide[] = {
    {ENTRY + 46 + NAME, 2, 2,
     "member 'a/b.txt' is beyond 4 GiB, and no record of ZIP64 says where"},
    {ENTRY + 46 + NAME + 2, 16, 2,
     "member 'a/b.txt' is beyond 4 GiB, and no record of ZIP64 says where"},
    {ENTRY + 46 + NAME + 2, 25, 2,
     "member 'a/b.txt' is beyond 4 GiB, and no record of ZIP64 says where"},
    {ENTRY + 46 + NAME + 4, UINT64_MAX, 8,
     "member 'a/b.txt' of 11 bytes would unpack to 18446744073709551615, more than 100 "
     "times as many"},
    {ENTRY + 46 + NAME + 12, UINT64_MAX, 8,
     "member 'a/b.txt' reaches beyond the end of the file"},
    {ENTRY + 46 + NAME + 20, UINT64_MAX, 8,
     "member 'a/b.txt' is not where the ZIP's directory says"},
    {END64 + 32, UINT64_MAX, 8,
     "the ZIP's directory of 18446744073709551615 entries is longer than the file"},
    {END64 + 48, UINT64_MAX - 45, 8,
     "the ZIP's directory is damaged at byte 18446744073709551570"},
    {LOCATOR + 8, UINT64_MAX, 8,
     "the end of a ZIP64 is not at byte 18446744073709551615, where it should be"},
    {LOCATOR + 8, END64 + 1, 8,
     "the end of a ZIP64 is not at byte 130, where it should be"},
};

Test(zip, damage_of_64_bits_is_one_sentence)
{
    for (size_t k = 0; k < sizeof damaged_wide / sizeof *damaged_wide; k++) {
        uint8_t   bytes[WIDE];
        pq_zip    zip     = {0};
        char     *content = NULL;
        pq_err    err     = {0};
        pq_status st;

        make_wide(bytes);
        put(bytes + damaged_wide[k].at, damaged_wide[k].to, damaged_wide[k].n);
        st = pq_zip_open(bytes, WIDE, &zip, &err);
        if (st == PQ_OK) {
            st = pq_zip_content(&zip.members[0], &content, &err);
        }
        cr_expect_neq(st, PQ_OK, "case %zu", k);
        cr_expect_str_eq(err.message, damaged_wide[k].message, "case %zu: %s", k,
                         err.message);
        pq_free(content);
        pq_zip_free(&zip);
    }
}
