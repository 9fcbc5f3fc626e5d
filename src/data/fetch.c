#include "data/fetch.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <unistd.h>

#include "core/file.h"
#include "core/memory.h"
#include "data/untar.h"
#include "data/verify.h"

/* One download. */
typedef struct {
    const pq_set_file *file;
    bool               local; /* file URLs are followed */
    const pq_progress *progress;
    FILE              *out;
    uint64_t           had; /* bytes of an earlier attempt, at most file->bytes */
    uint64_t           got; /* bytes of this one */
    bool               too_much;
    long               answer; /* of the server, e.g. 416; 0 = none */
    char               why[CURL_ERROR_SIZE];
} transfer;

static uint64_t most_bytes(const pq_set_file *file)
{
    return file->bytes > 0 ? file->bytes : PQ_FETCH_UNKNOWN_MAX;
}

static size_t receive(char *bytes, size_t one, size_t n, void *context)
{
    transfer *t = context;

    (void)one; /* always 1 */
    t->got += n;
    if (t->had > most_bytes(t->file) || t->got > most_bytes(t->file) - t->had) {
        t->too_much = true;
        return 0; /* ends the transfer */
    }
    return fwrite(bytes, 1, n, t->out);
}

static int report(void *context, curl_off_t total, curl_off_t now, curl_off_t up_total,
                  curl_off_t up)
{
    const transfer *t = context;
    const size_t    all =
        t->file->bytes > 0 ? (size_t)t->file->bytes : (size_t)t->had + (size_t)total;

    (void)up_total;
    (void)up;
    pq_progress_report(t->progress, "bytes", (size_t)t->had + (size_t)now, all,
                       t->file->name);
    return 0;
}

static void set_options(CURL *curl, transfer *t)
{
    (void)curl_easy_setopt(curl, CURLOPT_URL, t->file->url);
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR,
                           t->local ? "http,https,file" : "http,https");
    (void)curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_MAXREDIRS, 10L);
    (void)curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 30L);
    (void)curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 100L);
    (void)curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, 60L);
    (void)curl_easy_setopt(curl, CURLOPT_USERAGENT, "pquant");
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, t->why);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
    (void)curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    (void)curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, report);
    (void)curl_easy_setopt(curl, CURLOPT_XFERINFODATA, t);
    /* where the server says how much comes */
    (void)curl_easy_setopt(curl, CURLOPT_MAXFILESIZE_LARGE,
                           (curl_off_t)most_bytes(t->file));
    (void)curl_easy_setopt(curl, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)t->had);
}

/* Appends to the part that is there. */
static CURLcode attempt(CURL *curl, transfer *t, const char *part)
{
    CURLcode code;
    int      fd;

    t->had    = pq_file_bytes(part);
    t->why[0] = '\0';
    t->got    = 0;
    fd        = open(part, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
    t->out    = fd >= 0 ? fdopen(fd, "ab") : NULL;
    if (t->out == NULL) {
        return CURLE_WRITE_ERROR;
    }
    set_options(curl, t);
    code = curl_easy_perform(curl);
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &t->answer);
    if (fflush(t->out) != 0 || fsync(fileno(t->out)) != 0) {
        code = CURLE_WRITE_ERROR;
    }
    (void)fclose(t->out);
    return code;
}

static pq_status failed(const transfer *t, CURLcode code, const char *part, pq_err *err)
{
    const char *why = t->why[0] != '\0' ? t->why : curl_easy_strerror(code);

    if (t->too_much || code == CURLE_FILESIZE_EXCEEDED) {
        (void)unlink(part);
        return pq_err_set(err, PQ_ERR_FORMAT, __FILE__, __LINE__,
                          "%s: sends more than the %llu bytes that %s", t->file->url,
                          (unsigned long long)most_bytes(t->file),
                          t->file->bytes > 0
                              ? "the manifest says"
                              : "a file may have whose manifest says bytes: unknown");
    }
    if (code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_CONNECT ||
        code == CURLE_COULDNT_RESOLVE_PROXY) {
        (void)pq_err_set(err, PQ_ERR_IO, __FILE__, __LINE__, "%s: cannot be reached: %s",
                         t->file->url, why);
        pq_err_hint(err, "get it where there is a network and put it to %.*s",
                    (int)(strlen(part) - strlen(".part")), part);
        return PQ_ERR_IO;
    }
    if (code == CURLE_WRITE_ERROR) {
        return pq_err_set(err, PQ_ERR_IO, __FILE__, __LINE__, "%s: cannot be written: %s",
                          part, strerror(errno));
    }
    (void)pq_err_set(err, PQ_ERR_IO, __FILE__, __LINE__, "%s: the download failed: %s",
                     t->file->url, why);
    if (pq_file_bytes(part) > 0) {
        pq_err_hint(err, "%zu bytes are kept: the same command goes on from there",
                    pq_file_bytes(part));
    }
    return PQ_ERR_IO;
}

/* The server does not go on from the part we have; other refusals may pass. libcurl takes
 * an answer of 416 for a whole file. */
static bool refuses_range(const transfer *t, CURLcode code)
{
    enum { RANGE_NOT_SATISFIABLE = 416 };

    return t->had > 0 &&
           (code == CURLE_RANGE_ERROR || code == CURLE_BAD_DOWNLOAD_RESUME ||
            t->answer == RANGE_NOT_SATISFIABLE);
}

static pq_status download(const pq_set_file *file, bool local, const char *part,
                          const pq_progress *progress, pq_err *err)
{
    transfer  t    = {.file = file, .local = local, .progress = progress};
    CURL     *curl = NULL;
    CURLcode  code = CURLE_OK;
    pq_status st;

    if (file->bytes > 0 && pq_file_bytes(part) == file->bytes) {
        return PQ_OK; /* broke off just before it was checked */
    }
    if (file->bytes > 0 && pq_file_bytes(part) > file->bytes) {
        (void)unlink(part);
    }
    curl = curl_easy_init();
    PQ_CHECK(curl != NULL, PQ_ERR_NOMEM, "cannot start libcurl");
    code = attempt(curl, &t, part);
    if (refuses_range(&t, code)) {
        (void)unlink(part); /* from the start, once */
        code = attempt(curl, &t, part);
    }
    st = code == CURLE_OK ? PQ_OK : failed(&t, code, part, err);
cleanup:
    curl_easy_cleanup(curl);
    return st;
}

/* What nobody vouches for is said, with the sum that a later run can be compared by. */
static void note_sum(const pq_set_file *file, const char *sum, pq_text *notes)
{
    if (file->checksum == NULL && notes != NULL) {
        pq_text_add(notes,
                    "%s: not verified, the manifest has no checksum; sha256 is %s\n",
                    file->name, sum);
    }
}

/* A file that somebody put there: it is checked where it is, and never removed. */
static pq_status take_file(const pq_set_file *file, const char *path, pq_text *notes,
                           pq_err *err)
{
    char      sum[PQ_HASH_TEXT] = "";
    pq_status st;

    st = pq_set_file_verify(file, path, path, sum, err);
    if (st != PQ_OK) {
        pq_err_hint(err, "remove it, and the same command downloads it");
        goto cleanup;
    }
    note_sum(file, sum, notes);
cleanup:
    return st;
}

static pq_status get_file(const pq_set_file *file, bool local, const char *path,
                          const pq_progress *progress, pq_text *notes, pq_err *err)
{
    char      sum[PQ_HASH_TEXT] = "";
    char     *part              = pq_format("%s.part", path);
    pq_status st;

    PQ_CHECK(part != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_TRY(download(file, local, part, progress, err));
    st = pq_set_file_verify(file, part, file->url, sum, err);
    if (st != PQ_OK) {
        (void)unlink(part);
        goto cleanup;
    }
    note_sum(file, sum, notes);
    PQ_TRY(pq_file_commit(part, path, err));
cleanup:
    pq_free(part);
    return st;
}

/* Downloaded, checked, unpacked, and stamped when all that is done. */
static pq_status fetch_file(const pq_set_file *file, bool local, const char *folder,
                            const pq_progress *progress, pq_text *notes, pq_err *err)
{
    char     *path = pq_path_join(folder, file->name);
    pq_status st   = PQ_OK;

    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    if (pq_set_file_stamped(file, path)) {
        goto cleanup;
    }
    if (pq_file_exists(path)) {
        PQ_TRY(take_file(file, path, notes, err));
    } else {
        PQ_TRY(get_file(file, local, path, progress, notes, err));
    }
    if (file->unpack) {
        PQ_TRY(pq_untar(path, folder, err));
    }
    PQ_TRY(pq_set_file_stamp(file, path, err));
cleanup:
    pq_free(path);
    return st;
}

/* One fetch of a set at a time: a second waits, and then finds everything there. */
static pq_status lock_folder(const char *folder, int *lock, pq_err *err)
{
    char     *path = pq_path_join(folder, ".lock");
    int       got;
    pq_status st;

    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    *lock = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
    PQ_CHECK(*lock >= 0, pq_status_of_errno(errno), "%s: %s", path, strerror(errno));
    do {
        got = flock(*lock, LOCK_EX);
    } while (got != 0 && errno == EINTR);
    PQ_CHECK(got == 0, pq_status_of_errno(errno), "%s: cannot be locked: %s", path,
             strerror(errno));
cleanup:
    pq_free(path);
    return st;
}

/* A manifest of somebody else copies no file of this computer into the cache unasked. */
static pq_status check_urls(const pq_set *set, pq_err *err)
{
    for (size_t i = 0; i < set->n_files && !set->local; i++) {
        if (strncasecmp(set->files[i].url, "file:", strlen("file:")) == 0) {
            (void)pq_err_set(err, PQ_ERR_CONFIG, __FILE__, __LINE__,
                             "%s: the manifest names a file of this computer",
                             set->files[i].url);
            pq_err_hint(err, "if you trust the manifest, --local lets it");
            return PQ_ERR_CONFIG;
        }
    }
    return PQ_OK;
}

pq_status pq_set_fetch(const pq_set *set, const pq_progress *progress, char **path,
                       pq_text *notes, pq_err *err)
{
    char     *home = NULL, *folder = NULL;
    int       lock = -1;
    pq_status st;

    if ((set->n_places > 0 || set->n_files == 0) &&
        pq_set_where(set, path, NULL) == PQ_OK) {
        return PQ_OK;
    }
    if (set->n_files == 0) {
        st = pq_err_set(err, PQ_ERR_UNSUPPORTED, __FILE__, __LINE__,
                        "the set '%s' has no known address; see %s", set->name,
                        set->source);
        pq_err_hint(err, "%s", set->note != NULL ? set->note : set->title);
        goto cleanup;
    }
    PQ_TRY(check_urls(set, err));
    PQ_TRY(pq_data_home(&home, err));
    folder = pq_path_join(home, set->name);
    PQ_CHECK(folder != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_TRY(pq_folder_make(folder, err));
    PQ_TRY(lock_folder(folder, &lock, err));
    for (size_t i = 0; i < set->n_files; i++) {
        PQ_TRY(fetch_file(&set->files[i], set->local, folder, progress, notes, err));
    }
    PQ_TRY(pq_set_where(set, path, err));
cleanup:
    if (lock >= 0) {
        (void)close(lock);
    }
    pq_free(home);
    pq_free(folder);
    return st;
}
