#include "data/fetch.h"

#include <curl/curl.h>
#include <errno.h>
#include <nettle/md5.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "core/file.h"
#include "core/hash.h"
#include "core/memory.h"
#include "data/untar.h"

/* One download. */
typedef struct {
    const pq_set_file *file;
    const pq_progress *progress;
    FILE              *out;
    uint64_t           had; /* bytes of an earlier attempt */
    char               why[CURL_ERROR_SIZE];
} transfer;

static size_t receive(char *bytes, size_t one, size_t n, void *context)
{
    transfer *t = context;

    (void)one; /* always 1 */
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
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https,file");
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
    (void)curl_easy_setopt(curl, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)t->had);
}

/* Appends to the part that is there. */
static CURLcode attempt(CURL *curl, transfer *t, const char *part)
{
    CURLcode code;

    t->had    = pq_file_bytes(part);
    t->why[0] = '\0';
    t->out    = fopen(part, "ab");
    if (t->out == NULL) {
        return CURLE_WRITE_ERROR;
    }
    set_options(curl, t);
    code = curl_easy_perform(curl);
    if (fflush(t->out) != 0 || fsync(fileno(t->out)) != 0) {
        code = CURLE_WRITE_ERROR;
    }
    (void)fclose(t->out);
    return code;
}

static pq_status failed(const transfer *t, CURLcode code, const char *part, pq_err *err)
{
    const char *why = t->why[0] != '\0' ? t->why : curl_easy_strerror(code);

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

static pq_status download(const pq_set_file *file, const char *part,
                          const pq_progress *progress, pq_err *err)
{
    transfer  t    = {.file = file, .progress = progress};
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
    if (t.had > 0 && (code == CURLE_RANGE_ERROR || code == CURLE_BAD_DOWNLOAD_RESUME ||
                      code == CURLE_HTTP_RETURNED_ERROR)) {
        (void)unlink(part); /* the server cannot resume: from the start, once */
        code = attempt(curl, &t, part);
    }
    st = code == CURLE_OK ? PQ_OK : failed(&t, code, part, err);
cleanup:
    curl_easy_cleanup(curl);
    return st;
}

/* MD5 or Adler-32 of a file as hexadecimal text. */
static pq_status other_sum(const char *path, bool is_md5, char out[PQ_HASH_TEXT],
                           pq_err *err)
{
    struct md5_ctx md5;
    uint8_t        sum[MD5_DIGEST_SIZE];
    uLong          adler = adler32(0L, Z_NULL, 0);
    FILE          *file  = fopen(path, "rb");
    unsigned char *block = NULL;
    size_t         n;
    pq_status      st;

    enum { BLOCK = 1 << 16 };
    md5_init(&md5);
    PQ_CHECK(file != NULL, PQ_ERR_IO, "%s: %s", path, strerror(errno));
    PQ_NEW(block, BLOCK);
    while ((n = fread(block, 1, BLOCK, file)) > 0) {
        md5_update(&md5, n, block);
        adler = adler32(adler, block, (uInt)n);
    }
    PQ_CHECK(ferror(file) == 0, PQ_ERR_IO, "%s: %s", path, strerror(errno));
    md5_digest(&md5, sizeof sum, sum);
    if (is_md5) {
        for (size_t i = 0; i < sizeof sum; i++) {
            (void)snprintf(out + 2 * i, 3, "%02x", sum[i]);
        }
    } else {
        (void)snprintf(out, PQ_HASH_TEXT, "%08lx", adler);
    }
cleanup:
    if (file != NULL) {
        (void)fclose(file);
    }
    pq_free(block);
    return st;
}

/* Size and checksum must be the manifest's. */
static pq_status verify(const pq_set_file *file, const char *part, pq_err *err)
{
    char        sum[PQ_HASH_TEXT] = "";
    const char *due;
    pq_status   st;

    PQ_CHECK(file->bytes == 0 || pq_file_bytes(part) == file->bytes, PQ_ERR_FORMAT,
             "%s: has %zu bytes, the manifest says %llu", file->url, pq_file_bytes(part),
             (unsigned long long)file->bytes);
    if (file->checksum == NULL) {
        return PQ_OK;
    }
    due = strchr(file->checksum, ':') + 1;
    if (strncmp(file->checksum, "sha256:", 7) == 0) {
        PQ_TRY(pq_hash_file(part, sum, err));
    } else {
        PQ_TRY(other_sum(part, strncmp(file->checksum, "md5:", 4) == 0, sum, err));
    }
    PQ_CHECK(strcmp(sum, due) == 0, PQ_ERR_FORMAT,
             "%s: has %.*s %s, the manifest says %s", file->url,
             (int)(due - file->checksum - 1), file->checksum, sum, due);
cleanup:
    if (st != PQ_OK) {
        (void)unlink(part);
    }
    return st;
}

/* A file that is there under its own name has been checked. */
static pq_status fetch_file(const pq_set_file *file, const char *folder,
                            const pq_progress *progress, pq_err *err)
{
    char     *path = pq_path_join(folder, file->name);
    char     *part = path == NULL ? NULL : pq_format("%s.part", path);
    pq_status st;

    PQ_CHECK(part != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    if (pq_file_exists(path)) {
        goto cleanup;
    }
    PQ_TRY(download(file, part, progress, err));
    PQ_TRY(verify(file, part, err));
    if (file->unpack) {
        PQ_TRY(pq_untar(part, folder, err));
    }
    PQ_TRY(pq_file_commit(part, path, err));
cleanup:
    pq_free(path);
    pq_free(part);
    return st;
}

pq_status pq_set_fetch(const pq_set *set, const pq_progress *progress, char **path,
                       pq_err *err)
{
    char     *home = NULL, *folder = NULL;
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
    PQ_TRY(pq_data_home(&home, err));
    folder = pq_path_join(home, set->name);
    PQ_CHECK(folder != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_TRY(pq_folder_make(folder, err));
    for (size_t i = 0; i < set->n_files; i++) {
        PQ_TRY(fetch_file(&set->files[i], folder, progress, err));
    }
    PQ_TRY(pq_set_where(set, path, err));
cleanup:
    pq_free(home);
    pq_free(folder);
    return st;
}
