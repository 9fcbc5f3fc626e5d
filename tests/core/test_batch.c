#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/batch.h"
#include "core/file.h"
#include "core/memory.h"

static void enter_folder(void)
{
    char folder[] = "/tmp/pq-batch-XXXXXX";

    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(chdir(folder), 0);
}

static void expect_text(const char *path, const char *due)
{
    char  *bytes = NULL;
    size_t n     = 0;

    cr_assert_eq(pq_file_read(path, 1 << 24, &bytes, &n, NULL), PQ_OK, "%s", path);
    cr_expect_eq(n, strlen(due));
    cr_expect_str_eq(bytes, due);
    pq_free(bytes);
}

/* Files of the folder, temporary ones too. */
static size_t count_files(void)
{
    char **names = NULL;
    size_t n     = 0;

    cr_assert_eq(pq_folder_list(".", "", &names, &n, NULL), PQ_OK);
    for (size_t i = 0; i < n; i++) {
        pq_free(names[i]);
    }
    pq_free(names);
    return n;
}

Test(batch, files_get_their_names_together)
{
    pq_batch_files b    = {0};
    char          *text = NULL, name[16];

    enter_folder();
    text = pq_calloc(700001, 1);
    memset(text, 'x', 700000); /* more than one piece */
    cr_assert_eq(pq_file_write("source", text, 700000, NULL), PQ_OK);
    cr_assert_eq(pq_file_write("f3", "old", 3, NULL), PQ_OK);
    for (int i = 0; i < 100; i++) { /* enough to wait for the file system at once */
        (void)snprintf(name, sizeof name, "f%d", i);
        cr_assert_eq(pq_batch_write(&b, name, name, strlen(name), NULL), PQ_OK);
    }
    cr_assert_eq(pq_batch_copy(&b, "source", "copy", NULL), PQ_OK);
    cr_expect_not(pq_file_exists("f0"));
    cr_expect_not(pq_file_exists("copy"));
    expect_text("f3", "old");
    cr_assert_eq(pq_batch_commit(&b, NULL), PQ_OK);
    cr_expect_eq(b.n, 0);
    expect_text("f0", "f0");
    expect_text("f3", "f3");
    expect_text("f99", "f99");
    expect_text("copy", text);
    cr_expect_eq(count_files(), 102, "and no temporary one");
    pq_free(text);
}

Test(batch, what_is_not_committed_leaves_nothing)
{
    pq_batch_files b = {0};

    enter_folder();
    cr_assert_eq(pq_batch_write(&b, "a", "1", 1, NULL), PQ_OK);
    cr_assert_eq(pq_batch_write(&b, "b", "2", 1, NULL), PQ_OK);
    cr_expect_eq(count_files(), 2, "under other names");
    pq_batch_free(&b);
    cr_expect_eq(count_files(), 0);
    cr_assert_eq(pq_batch_commit(&b, NULL), PQ_OK, "of an empty one");
}

Test(batch, what_cannot_be_replaced_ends_it_and_the_rest_is_gone)
{
    pq_batch_files b   = {0};
    pq_err         err = {0};

    enter_folder();
    cr_assert_eq(pq_batch_write(&b, "a", "1", 1, NULL), PQ_OK);
    cr_assert_eq(pq_batch_write(&b, "folder", "2", 1, NULL), PQ_OK);
    cr_assert_eq(pq_batch_write(&b, "c", "3", 1, NULL), PQ_OK);
    cr_assert_eq(mkdir("folder", 0777), 0);
    cr_expect_eq(pq_batch_commit(&b, &err), PQ_ERR_ACCESS);
    cr_expect_str_eq(err.message,
                     "folder: is there and not a regular file: it is not replaced");
    expect_text("a", "1");
    cr_expect_eq(count_files(), 2);
}

Test(batch, only_regular_files_are_copied)
{
    pq_batch_files b   = {0};
    pq_err         err = {0};

    enter_folder();
    cr_assert_eq(mkfifo("pipe", 0600), 0);
    cr_expect_eq(pq_batch_copy(&b, "pipe", "x", &err), PQ_ERR_FORMAT);
    cr_expect_str_eq(err.message, "pipe: is not a regular file");
    cr_expect_eq(pq_batch_copy(&b, "nowhere", "x", NULL), PQ_ERR_NOT_FOUND);
    cr_expect_eq(b.n, 0);
    pq_batch_free(&b);
}
