#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/file.h"
#include "core/memory.h"
#include "core/temporary.h"
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
    cr_assert_eq(pq_file_write_unsynced(path, "3rd", 3, NULL), PQ_OK);
    cr_assert_eq(pq_file_read(path, 100, &bytes, &n, NULL), PQ_OK);
    cr_expect_str_eq(bytes, "3rd");
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
    cr_expect_eq(pq_file_write("/dev/full/x", "y", 1, &err), PQ_ERR_ACCESS);
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

Test(file, temporary_folders_go_with_what_is_in_them)
{
    char  *folder = NULL, *none = NULL, *path;
    char   kept[64];
    pq_err err = {0};

    cr_assert_eq(setenv("TMPDIR", scratch(), 1), 0);
    cr_assert_eq(pq_folder_temporary(&folder, NULL), PQ_OK);
    cr_expect_eq(strncmp(folder, getenv("TMPDIR"), strlen(getenv("TMPDIR"))), 0);
    path = pq_path_join(folder, "a");
    cr_assert_eq(pq_file_write(path, "0", 1, NULL), PQ_OK);
    (void)snprintf(kept, sizeof kept, "%s", folder);
    pq_folder_drop(&folder);
    cr_expect_null(folder);
    cr_expect_neq(access(kept, F_OK), 0);
    pq_folder_drop(&none);
    cr_assert_eq(setenv("TMPDIR", "/nonexistent", 1), 0);
    cr_expect_eq(pq_folder_temporary(&folder, &err), PQ_ERR_IO);
    cr_expect_neq(strstr(err.message, "/nonexistent/pquant-"), NULL);
    cr_expect_null(folder);
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
    char       *mine  = NULL, *dead, *other, *dot;
    const pid_t child = fork();
    int         status;

    if (child == 0) {
        _exit(0);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(pq_file_temporary(path, &mine, NULL), PQ_OK);
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

static char *link_to_secret(const char *folder, const char *name)
{
    char *secret = pq_path_join(folder, "secret"), *path = pq_path_join(folder, name);

    cr_assert_eq(pq_file_write(secret, "kept", 4, NULL), PQ_OK);
    (void)unlink(path);
    cr_assert_eq(symlink(secret, path), 0);
    pq_free(secret);
    return path;
}

static void expect_kept(const char *folder)
{
    char  *secret = pq_path_join(folder, "secret"), *bytes = NULL;
    size_t n = 0;

    cr_assert_eq(pq_file_read(secret, 100, &bytes, &n, NULL), PQ_OK);
    cr_expect_str_eq(bytes, "kept");
    pq_free(bytes);
    pq_free(secret);
}

Test(file, nothing_is_written_through_a_link)
{
    char  *folder = scratch(), *path = pq_path_join(folder, "x.csv"), *own = NULL, *link;
    pq_err err = {0};

    cr_assert_eq(pq_file_temporary(path, &own, NULL), PQ_OK);
    link = link_to_secret(folder, pq_path_base(own));
    cr_expect_eq(pq_file_write(path, "new", 3, &err), PQ_OK, "%s", err.message);
    expect_kept(folder);
    pq_free(link);
    link = link_to_secret(folder, "y.csv");
    cr_expect_eq(pq_file_write(link, "new", 3, &err), PQ_ERR_ACCESS);
    cr_expect(strstr(err.message, "is there and not a regular file") != NULL);
    expect_kept(folder);
    const int fd = pq_file_new(link);
    cr_assert_geq(fd, 0);
    cr_expect_eq(write(fd, "new", 3), 3);
    (void)close(fd);
    expect_kept(folder);
    pq_free(link);
    pq_free(own);
    pq_free(path);
}

Test(file, pipes_and_devices_are_refused_without_waiting)
{
    char  *pipe = pq_path_join(scratch(), "pipe.h5"), *bytes = NULL;
    size_t n   = 0;
    pq_err err = {0};

    cr_assert_eq(mkfifo(pipe, 0600), 0);
    cr_expect_eq(pq_file_check(pipe, &err), PQ_ERR_FORMAT);
    cr_expect(strstr(err.message, "is a pipe, a device or a socket, not a file") != NULL);
    cr_expect_eq(pq_file_open(pipe), -1);
    cr_expect_null(pq_file_stream("/dev/zero"));
    err = (pq_err){0};
    cr_expect_eq(pq_file_read(pipe, 10, &bytes, &n, &err), PQ_ERR_FORMAT);
    cr_expect(strstr(err.message, "is not a regular file") != NULL);
    pq_free(pipe);
}

Test(file, only_names_of_one_file_become_paths)
{
    static const char *const good[] = {"a.h5", "cifar-10", "Größe.bin", "a b", "x..y"};
    static const char *const bad[]  = {"",       ".",    "..",           "../x", "/etc/x",
                                       "a/b",    ".ssh", "a\\b",         "-rf",  "a\nb",
                                       "a\x1b[", "\xff", "a\xe2\x80\xae"};

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        cr_expect(pq_is_file_name(good[i]), "%s", good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_expect_not(pq_is_file_name(bad[i]), "case %zu", i);
    }
}

Test(file, paths_inside_a_folder_lead_through_no_link)
{
    static const char *const bad[] = {"",       "/x",   "../x", "a/../../x",
                                      "link/x", "a//x", "./x"};
    char  *folder = scratch(), *link = pq_path_join(folder, "link"), *path = NULL;
    pq_err err = {0};

    cr_assert_eq(symlink("/tmp", link), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_expect_not(pq_path_is_inside(folder, bad[i]), "%s", bad[i]);
    }
    cr_expect(pq_path_is_inside(folder, "a/b.h5"));
    cr_expect_eq(pq_folder_make_inside(folder, "link", NULL, &err), PQ_ERR_ACCESS);
    cr_expect(strstr(err.message, "is a link") != NULL);
    cr_expect_eq(pq_folder_make_inside(folder, "plots", &path, NULL), PQ_OK);
    cr_expect(pq_folder_exists(path));
    pq_free(path);
    pq_free(link);
}

Test(file, shipped_folders_are_not_those_of_the_current_folder)
{
    char  *found = NULL, *here = scratch(), *fake = pq_path_join(here, "datasets/sets");
    char   at[4096] = "";
    pq_err err      = {0};

    cr_assert_eq(pq_folder_make(fake, NULL), PQ_OK);
    cr_assert_eq(chdir(here), 0);
    cr_assert_eq(pq_folder_shipped("datasets/sets", "sets", &found, &err), PQ_OK, "%s",
                 err.message);
    cr_assert_not_null(realpath(found, at));
    cr_expect_str_eq(at, PQ_TEST_SOURCE_ROOT "/datasets/sets");
    cr_expect_eq(pq_folder_shipped("no/such", "none", &found, &err), PQ_ERR_NOT_FOUND);
    pq_free(found);
    pq_free(fake);
}
