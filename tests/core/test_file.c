#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/file.h"
#include "core/memory.h"
#include "core/text.h"

static char *scratch(void)
{
    static char folder[64];

    strcpy(folder, "/tmp/pq-file-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    return folder;
}

Test(file, appears_whole_and_replaces_the_old_one)
{
    char *path = pq_path_join(scratch(), "a/b/c.txt"), *folder = pq_path_join(path, "..");
    char *bytes;
    size_t n;

    cr_assert_eq(pq_folder_make("/tmp", NULL), PQ_OK);
    *strrchr(path, '/') = '\0';
    cr_assert_eq(pq_folder_make(path, NULL), PQ_OK);
    path[strlen(path)] = '/';
    cr_assert_eq(pq_file_write(path, "one", 3, NULL), PQ_OK);
    cr_assert_eq(pq_file_write(path, "second", 6, NULL), PQ_OK);
    cr_assert_eq(pq_file_read(path, 100, &bytes, &n, NULL), PQ_OK);
    cr_expect_eq(n, 6);
    cr_expect_str_eq(bytes, "second");
    pq_free(bytes);
    pq_free(path);
    pq_free(folder);
}

Test(file, a_full_disk_leaves_the_old_file_and_no_rubbish)
{
    char  *folder = scratch(), *path = pq_path_join(folder, "x");
    char **names;
    size_t n;
    pq_err err = {0};

    if (access("/dev/full", W_OK) != 0) {
        pq_free(path);
        cr_skip_test("skipped: no /dev/full");
    }
    cr_assert_eq(symlink("/dev/full", path), 0);
    cr_expect_eq(pq_file_write("/dev/full/x", "y", 1, &err), PQ_ERR_IO);
    cr_expect_neq(strstr(err.message, "/dev/full/x: cannot be written"), NULL);
    cr_assert_eq(pq_folder_list(folder, "", &names, &n, NULL), PQ_OK);
    cr_expect_eq(n, 1);
    for (size_t i = 0; i < n; i++) {
        pq_free(names[i]);
    }
    pq_free(names);
    pq_free(path);
}

Test(file, too_large_missing_and_folders_are_refused)
{
    char  *folder = scratch(), *path = pq_path_join(folder, "big"), *bytes;
    size_t n;
    pq_err err = {0};

    cr_assert_eq(pq_file_write(path, "0123456789", 10, NULL), PQ_OK);
    cr_expect_eq(pq_file_read(path, 9, &bytes, &n, &err), PQ_ERR_FORMAT);
    cr_expect_neq(strstr(err.message, "has 10 bytes; at most 9 are read"), NULL);
    cr_expect_eq(pq_file_read("/nonexistent/x", 9, &bytes, &n, NULL), PQ_ERR_NOT_FOUND);
    cr_expect_eq(pq_file_read(folder, 9, &bytes, &n, NULL), PQ_ERR_FORMAT);
    pq_free(path);
}

Test(file, paths_join_and_split)
{
    char *a = pq_path_join("x", "y"), *b = pq_path_join("x/", "y"),
         *c = pq_path_join("x", "/y");

    cr_expect_str_eq(a, "x/y");
    cr_expect_str_eq(b, "x/y");
    cr_expect_str_eq(c, "/y");
    cr_expect_str_eq(pq_path_base("a/b/c.h5"), "c.h5");
    cr_expect_str_eq(pq_path_base("c.h5"), "c.h5");
    pq_free(a);
    pq_free(b);
    pq_free(c);
}

Test(file, only_what_dead_processes_of_this_host_left_is_tidied_up)
{
    char       *folder = scratch(), *path = pq_path_join(folder, "x.h5");
    char       *mine  = pq_file_temporary(path), *dead, *other, *dot;
    const pid_t child = fork();
    int         status;

    if (child == 0) {
        _exit(0);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    dot   = strrchr(mine, '.');
    dead  = pq_format("%.*s.%d", (int)(dot - mine), mine, (int)child);
    other = pq_format("%s.tmp.elsewhere.%d", path, (int)child);
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(pq_file_write((char *[]){path, mine, dead, other}[i], "x", 1, NULL),
                     PQ_OK);
    }
    pq_folder_tidy(folder);
    pq_folder_tidy("/no/such/folder");
    cr_expect(pq_file_exists(path) && pq_file_exists(mine) && pq_file_exists(other));
    cr_expect_not(pq_file_exists(dead));
    pq_free(path);
    pq_free(mine);
    pq_free(dead);
    pq_free(other);
}
