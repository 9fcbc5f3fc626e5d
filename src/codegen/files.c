/* What generated C may be called, and its files. */
#include "codegen/files.h"

#include <ctype.h>
#include <string.h>
#include <unistd.h>

#include "codegen/codegen.h"
#include "codegen/frame.h"
#include "core/file.h"
#include "core/memory.h"

/* Files that a folder of ours must not hold: a compiler told to look there would take
 * them for C's own, or for what those include. */
static const char *const headers[] = {
    "alloca",    "endian",  "features",    "libintl",   "memory", "pthread",   "sched",
    "semaphore", "strings", "syscall",     "syslimits", "unistd", "mm_malloc", "assert",
    "complex",   "ctype",   "errno",       "fenv",      "float",  "inttypes",  "iso646",
    "limits",    "locale",  "math",        "setjmp",    "signal", "stdalign",  "stdarg",
    "stdatomic", "stdbool", "stddef",      "stdint",    "stdio",  "stdlib",    "string",
    "tgmath",    "threads", "stdnoreturn", "time",      "uchar",  "wchar",     "wctype",
    NULL};

/* Targets that CMake keeps for itself, and the library that ours is linked with. */
static const char *const targets[] = {"ALL_BUILD",
                                      "INSTALL",
                                      "PACKAGE",
                                      "RUN_TESTS",
                                      "ZERO_CHECK",
                                      "all",
                                      "clean",
                                      "edit_cache",
                                      "help",
                                      "install",
                                      "list_install_components",
                                      "m",
                                      "package",
                                      "package_source",
                                      "preinstall",
                                      "rebuild_cache",
                                      "test",
                                      NULL};

/* What target_link_libraries() takes for words of its own. */
static const char *const words[] = {"INTERFACE",    "LINK_INTERFACE_LIBRARIES",
                                    "LINK_PRIVATE", "LINK_PUBLIC",
                                    "PRIVATE",      "PUBLIC",
                                    "debug",        "general",
                                    "optimized",    NULL};

static bool is_one_of(const char *const *list, const char *name)
{
    size_t i = 0;

    while (list[i] != NULL && strcmp(list[i], name) != 0) {
        i++;
    }
    return list[i] != NULL;
}

/* Whether a compiler has a header of this name; those of its vectors end in intrin. */
static bool is_header(const char *name)
{
    const size_t n = strlen(name);

    return is_one_of(headers, name) || (n >= 6 && strcmp(name + n - 6, "intrin") == 0);
}

pq_status pq_codegen_check_name(const char *name, pq_err *err)
{
    const size_t n  = strlen(name);
    bool         ok = n > 0 && isalpha((unsigned char)name[0]);
    pq_status    st = PQ_OK;

    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)name[i];
        ok                    = ok && c < 0x80 && (isalnum(c) || c == '_');
    }
    PQ_CHECK(
        ok && n <= PQ_CODEGEN_NAME, PQ_ERR_CONFIG,
        "'%s' is no name for C: a letter, then letters, digits and underscores, at most "
        "%d",
        name, PQ_CODEGEN_NAME);
    PQ_CHECK(!is_header(name), PQ_ERR_CONFIG,
             "'%s' cannot be the name: C has a header %s.h of its own", name, name);
    PQ_CHECK(!is_one_of(targets, name), PQ_ERR_CONFIG,
             "'%s' cannot be the name: CMake has a target of it", name);
    PQ_CHECK(!is_one_of(words, name), PQ_ERR_CONFIG,
             "'%s' cannot be the name: CMake takes it for a keyword where it is linked",
             name);
cleanup:
    return st;
}

/* CMake's file has a name of its own. */
static pq_status path_of(const char *name, const char *folder, const char *ending,
                         char **out, pq_err *err)
{
    char     *file = strcmp(ending, ".txt") == 0 ? pq_strdup("CMakeLists.txt")
                                                 : pq_format("%s%s", name, ending);
    pq_status st   = PQ_OK;

    *out = file != NULL ? pq_path_join(folder, file) : NULL;
    PQ_CHECK(*out != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
cleanup:
    pq_free(file);
    return st;
}

/* What lies there is written over only where it is the same file of an earlier time. */
static pq_status check_place(const char *name, const char *folder, const char *ending,
                             pq_err *err)
{
    pq_text   mark = {0};
    char     *path = NULL, *text = NULL;
    size_t    n = 0;
    pq_status st;

    pq_frame_mark(name, ending, &mark);
    PQ_CHECK(!mark.failed, PQ_ERR_NOMEM, "cannot allocate a text");
    PQ_TRY(path_of(name, folder, ending, &path, err));
    if (pq_file_exists(path)) {
        const pq_status read = pq_file_read(path, SIZE_MAX - 1, &text, &n, NULL);
        const bool      ours =
            read == PQ_OK && n > mark.length && memcmp(text, mark.text, mark.length) == 0;
        PQ_CHECK(read != PQ_ERR_NOMEM, PQ_ERR_NOMEM, "cannot allocate the earlier file");
        PQ_CHECK(ours, PQ_ERR_CONFIG,
                 "%s is there, and is not one that pquant wrote for '%s': give another "
                 "folder, or remove it",
                 path, name);
    }
cleanup:
    pq_text_free(&mark);
    pq_free(path);
    pq_free(text);
    return st;
}

/* A file under its name with ".part" behind it. */
static pq_status write_part(const char *name, const char *folder, const char *ending,
                            const pq_text *text, char **path, char **part, pq_err *err)
{
    pq_status st;

    PQ_CHECK(!text->failed, PQ_ERR_NOMEM, "cannot allocate the source");
    PQ_TRY(path_of(name, folder, ending, path, err));
    *part = pq_format("%s.part", *path);
    PQ_CHECK(*part != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_TRY(pq_file_write(*part, text->text, text->length, err));
cleanup:
    return st;
}

pq_status pq_files_write(const char *name, const char *folder, size_t n,
                         const char *const *endings, const pq_text *text, pq_err *err)
{
    char    **paths = NULL, **parts = NULL;
    pq_status st;

    PQ_NEW(paths, n);
    PQ_NEW(parts, n);
    for (size_t i = 0; i < n; i++) {
        PQ_TRY(check_place(name, folder, endings[i], err));
    }
    PQ_TRY(pq_folder_make(folder, err));
    for (size_t i = 0; i < n; i++) {
        PQ_TRY(write_part(name, folder, endings[i], &text[i], &paths[i], &parts[i], err));
    }
    for (size_t i = 0; i < n; i++) { /* all or none: a full disk has been met by now */
        PQ_TRY(pq_file_commit_unsynced(parts[i], paths[i], err));
    }
cleanup:
    for (size_t i = 0; paths != NULL && parts != NULL && i < n; i++) {
        if (st != PQ_OK && parts[i] != NULL) {
            (void)unlink(parts[i]);
        }
        pq_free(paths[i]);
        pq_free(parts[i]);
    }
    pq_free(paths);
    pq_free(parts);
    return st;
}
