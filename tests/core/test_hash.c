#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/hash.h"

Test(hash, is_sha_256)
{
    pq_hash h;
    char    out[PQ_HASH_TEXT];

    pq_hash_start(&h);
    pq_hash_bytes(&h, "abc", 3);
    pq_hash_end(&h, out);
    cr_expect_str_eq(out,
                     "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

Test(hash, texts_do_not_run_together)
{
    pq_hash a, b;
    char    x[PQ_HASH_TEXT], y[PQ_HASH_TEXT];

    pq_hash_start(&a);
    pq_hash_text(&a, "ab");
    pq_hash_text(&a, "c");
    pq_hash_end(&a, x);
    pq_hash_start(&b);
    pq_hash_text(&b, "a");
    pq_hash_text(&b, "bc");
    pq_hash_end(&b, y);
    cr_expect_str_neq(x, y);
}

Test(hash, of_a_file_is_that_of_its_bytes_and_a_missing_one_is_named)
{
    char   path[] = "/tmp/pq-hash-XXXXXX", out[PQ_HASH_TEXT];
    pq_err err    = {0};

    cr_assert_neq(mkstemp(path), -1);
    cr_assert_eq(pq_file_write(path, "abc", 3, NULL), PQ_OK);
    cr_assert_eq(pq_hash_file(path, out, NULL), PQ_OK);
    cr_expect_str_eq(out,
                     "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    cr_assert_eq(remove(path), 0);
    cr_expect_eq(pq_hash_file(path, out, &err), PQ_ERR_NOT_FOUND);
    cr_expect_eq(strncmp(err.message, path, strlen(path)), 0);
}
