#include "data/files.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include "core/hash.h"
#include "data/fetch.h"
#include "data/layout.h"
#include "data/untar.h"

#define SETS PQ_TEST_SOURCE_ROOT "/datasets/sets"

enum { BYTES = 200000 };

static char          home[100];
static unsigned char content[BYTES];

static void setup_home(void)
{
    setup();
    snprintf(home, sizeof home, "%s/home", folder);
    setenv("PQUANT_DATA_DIR", home, 1);
    setenv("no_proxy", "*", 1);
    for (size_t i = 0; i < BYTES; i++) {
        content[i] = (unsigned char)(i * 2654435761U >> 24);
    }
}

TestSuite(fetch, .init = setup_home, .fini = teardown);

/* A set of one file; `sum` as in pq_set_file. Texts are borrowed. */
static pq_set one(pq_set_file *file, const char *url, const char *sum, uint64_t bytes)
{
    static char none[] = "", name[] = "s", as[] = "f.bin";

    *file = (pq_set_file){.url      = (char *)(uintptr_t)url,
                          .name     = as,
                          .bytes    = bytes,
                          .checksum = (char *)(uintptr_t)sum};
    return (pq_set){.name    = name,
                    .title   = none,
                    .layout  = none,
                    .licence = none,
                    .source  = none,
                    .path    = none,
                    .files   = file,
                    .n_files = 1,
                    .local   = true};
}

static bool is_content(const char *name)
{
    char   full[200], *bytes = NULL;
    size_t n = 0;
    bool   same;

    snprintf(full, sizeof full, "%s/s/%s", home, name);
    same = pq_file_read(full, 1 << 20, &bytes, &n, NULL) == PQ_OK && n == BYTES &&
           memcmp(bytes, content, BYTES) == 0;
    pq_free(bytes);
    return same;
}

static bool there(const char *name)
{
    char full[200];

    snprintf(full, sizeof full, "%s/s/%s", home, name);
    return pq_file_exists(full);
}

/* sha256, md5 and adler32 of the content, by other code than the one under test where
 * there is some. */
static void sums(char sha[80], char adler[24])
{
    char hex[PQ_HASH_TEXT];

    write_file("origin", content, BYTES);
    snprintf(path, sizeof path, "%s/origin", folder);
    OK(pq_hash_file(path, hex, err));
    snprintf(sha, 80, "sha256:%s", hex);
    snprintf(adler, 24, "adler32:%08lx", adler32(adler32(0, NULL, 0), content, BYTES));
}

Test(fetch, a_file_url_is_refused_unless_asked_for)
{
    static const char *const urls[] = {"file:///etc/hostname", "FILE:///etc/hostname",
                                       "file:/etc/hostname"};

    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        char       *where = NULL;
        pq_set_file file;
        pq_err      err = {0};
        pq_set      set = one(&file, urls[i], NULL, 0);
        set.local       = false;
        cr_expect_eq(pq_set_fetch(&set, NULL, &where, NULL, &err), PQ_ERR_CONFIG);
        cr_expect_not_null(strstr(err.message, "names a file of this computer"));
        cr_expect_not_null(strstr(err.hint, "--local"));
        cr_expect_not(pq_folder_exists(home), "something was made");
    }
}

Test(fetch, a_file_url_is_copied_and_checked)
{
    char        sha[80], adler[24], url[200], *where = NULL;
    pq_set_file file;
    pq_set      set;

    sums(sha, adler);
    snprintf(url, sizeof url, "file://%s/origin", folder);
    set = one(&file, url, sha, BYTES);
    OK(pq_set_fetch(&set, NULL, &where, NULL, err));
    snprintf(path, sizeof path, "%s/s", home);
    cr_expect_str_eq(where, path);
    cr_expect(is_content("f.bin"));
    cr_expect_not(there("f.bin.part"));
    pq_free(where);
    cr_assert_eq(remove(strcat(strcpy(path, folder), "/origin")), 0);
    OK(pq_set_fetch(&set, NULL, &where, NULL, err)); /* not fetched again */
    pq_free(where);
}

Test(fetch, a_download_goes_on_where_it_broke_off)
{
    char        sha[80], adler[24], url[200], part[200], *where = NULL;
    pq_set_file file;
    pq_set      set;

    sums(sha, adler);
    snprintf(url, sizeof url, "file://%s/origin", folder);
    snprintf(part, sizeof part, "%s/s", home);
    OK(pq_folder_make(part, err));
    strcat(part, "/f.bin.part");
    OK(pq_file_write(part, content, 77777, err));
    set = one(&file, url, adler, BYTES);
    OK(pq_set_fetch(&set, NULL, &where, NULL, err));
    cr_expect(is_content("f.bin"));
    pq_free(where);
}

Test(fetch, what_differs_from_the_manifest_is_refused_and_not_kept)
{
    static const char *const bad[] = {
        "sha256:0000000000000000000000000000000000000000000000000000000000000000",
        "md5:00000000000000000000000000000000", "adler32:00000000"};
    char        sha[80], adler[24], url[200], want[400], *where = NULL;
    pq_set_file file;
    pq_set      set;
    pq_err      err = {0};

    sums(sha, adler);
    snprintf(url, sizeof url, "file://%s/origin", folder);
    for (size_t i = 0; i < 3; i++) {
        err = (pq_err){0};
        set = one(&file, url, bad[i], BYTES);
        cr_expect_eq(pq_set_fetch(&set, NULL, &where, NULL, &err), PQ_ERR_FORMAT);
        cr_expect_not_null(strstr(err.message, ", the manifest says 0000000"), "%s",
                           err.message);
        cr_expect_not(there("f.bin"));
        cr_expect_not(there("f.bin.part"));
    }
    snprintf(want, sizeof want, "%s: has adler32 %s, the manifest says 00000000", url,
             adler + 8);
    cr_expect_str_eq(err.message, want);
    err = (pq_err){0};
    set = one(&file, url, sha, BYTES + 1);
    cr_expect_eq(pq_set_fetch(&set, NULL, &where, NULL, &err), PQ_ERR_FORMAT);
    snprintf(want, sizeof want, "%s: has 200000 bytes, the manifest says 200001", url);
    cr_expect_str_eq(err.message, want);
    cr_expect_null(where);
}

Test(fetch, md5_is_that_of_the_standard)
{
    char        url[200], *where = NULL;
    pq_set_file file;
    pq_set      set;

    write_file("abc", "abc", 3); /* RFC 1321, appendix A.5 */
    snprintf(url, sizeof url, "file://%s/abc", folder);
    set = one(&file, url, "md5:900150983cd24fb0d6963f7d28e17f72", 3);
    OK(pq_set_fetch(&set, NULL, &where, NULL, err));
    pq_free(where);
}

Test(fetch, without_network_or_file_the_error_says_what_to_do)
{
    char        want[300], *where = NULL;
    pq_set_file file;
    pq_set      set = one(&file, "http://127.0.0.1:1/f.bin", NULL, 0);
    pq_err      err = {0};

    cr_expect_eq(pq_set_fetch(&set, NULL, &where, NULL, &err), PQ_ERR_IO);
    cr_expect_not_null(
        strstr(err.message, "http://127.0.0.1:1/f.bin: cannot be reached: "));
    snprintf(want, sizeof want,
             "get it where there is a network and put it to %s/s/f.bin", home);
    cr_expect_str_eq(err.hint, want);
    err = (pq_err){0};
    set = one(&file, "file:///no/such/file", NULL, 0);
    cr_expect_eq(pq_set_fetch(&set, NULL, &where, NULL, &err), PQ_ERR_IO);
    cr_expect_not_null(
        strstr(err.message, "file:///no/such/file: the download failed: "));
    err = (pq_err){0};
    set = one(&file, "ftp://127.0.0.1/f.bin", NULL, 0);
    cr_expect_eq(pq_set_fetch(&set, NULL, &where, NULL, &err), PQ_ERR_IO);
    set.n_files = 0;
    set.path    = set.name; /* inside its folder, and not there */
    err         = (pq_err){0};
    cr_expect_eq(pq_set_fetch(&set, NULL, &where, NULL, &err), PQ_ERR_UNSUPPORTED);
    cr_expect_not_null(strstr(err.message, "the set 's' has no known address; see "));
}

/* A server of the content: breaks off after `limit` bytes of an answer; may ignore
 * ranges. */
typedef struct {
    int    socket;
    size_t limit;
    bool   ranges;
    int    answers; /* requests to serve */
    int    refusal; /* status given instead of the content, 0 = none */
    size_t claims;  /* bytes that it says it sends, 0 = as many as it does */
} server;

static void *serve(void *context)
{
    server *s = context;

    for (int i = 0; i < s->answers; i++) {
        const int client = accept(s->socket, NULL, NULL);
        char      text[2048];
        ssize_t   got  = recv(client, text, sizeof text - 1, 0);
        size_t    from = 0, n;
        char     *range;

        text[got > 0 ? got : 0] = '\0';
        range                   = strstr(text, "Range: bytes=");
        if (range != NULL && s->ranges) {
            from = (size_t)strtoull(range + 13, NULL, 10);
        }
        if (s->refusal != 0) {
            n = (size_t)snprintf(text, sizeof text,
                                 "HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n",
                                 s->refusal);
            (void)!send(client, text, n, MSG_NOSIGNAL);
            (void)close(client);
            s->refusal = s->refusal == 416 ? 0 : s->refusal;
            continue;
        }
        n = snprintf(text, sizeof text,
                     from > 0 ? "HTTP/1.1 206 Partial Content\r\nContent-Length: %zu\r\n"
                                "Content-Range: bytes %zu-%d/%d\r\n\r\n"
                              : "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n",
                     s->claims > 0 ? s->claims : (size_t)BYTES - from, from, BYTES - 1,
                     BYTES);
        (void)!send(client, text, n, MSG_NOSIGNAL);
        n = BYTES - from < s->limit ? BYTES - from : s->limit;
        for (size_t at = 0; at < n;) {
            const ssize_t sent = send(client, content + from + at, n - at, MSG_NOSIGNAL);
            if (sent <= 0) {
                break;
            }
            at += (size_t)sent;
        }
        (void)shutdown(client, SHUT_WR);
        while (recv(client, text, sizeof text, 0) > 0) {
        }
        (void)close(client);
    }
    return NULL;
}

static void start(server *s, pthread_t *thread, char url[64])
{
    struct sockaddr_in at   = {.sin_family      = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t          size = sizeof at;

    s->socket = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(s->socket, (struct sockaddr *)&at, size), 0);
    cr_assert_eq(listen(s->socket, 4), 0);
    cr_assert_eq(getsockname(s->socket, (struct sockaddr *)&at, &size), 0);
    cr_assert_eq(pthread_create(thread, NULL, serve, s), 0);
    snprintf(url, 64, "http://127.0.0.1:%d/f.bin", ntohs(at.sin_port));
}

/* The manifest says `bytes: unknown`, and the server that it is more than that may be. */
Test(fetch, a_file_of_unknown_size_is_not_endless)
{
    server      s = {.limit = BYTES, .answers = 1, .claims = PQ_FETCH_UNKNOWN_MAX + 1};
    char        url[64], *where = NULL;
    pthread_t   thread;
    pq_set_file file;
    pq_err      err = {0};

    start(&s, &thread, url);
    pq_set set = one(&file, url, NULL, 0);
    cr_expect_eq(pq_set_fetch(&set, NULL, &where, NULL, &err), PQ_ERR_FORMAT);
    cr_expect_not_null(strstr(err.message, "sends more than the 16000000000 bytes that a "
                                           "file may have whose manifest says bytes: "
                                           "unknown"),
                       "%s", err.message);
    cr_expect_not(there("f.bin"));
    cr_expect_not(there("f.bin.part"));
    cr_assert_eq(pthread_join(thread, NULL), 0);
    (void)close(s.socket);
}

Test(fetch, a_broken_connection_is_resumed_by_range_or_from_the_start)
{
    for (int ranges = 0; ranges < 2; ranges++) {
        /* One answer breaks off; then a range, or a refused range and the whole. */
        server      s = {.limit = 120000, .ranges = ranges == 1, .answers = 1};
        char        sha[80], adler[24], url[64], full[200], *where = NULL;
        pthread_t   thread;
        pq_set_file file;
        pq_set      set;
        pq_err      err = {0};

        sums(sha, adler);
        start(&s, &thread, url);
        set = one(&file, url, sha, BYTES);
        cr_expect_eq(pq_set_fetch(&set, NULL, &where, NULL, &err), PQ_ERR_IO);
        cr_expect_not_null(strstr(err.message, ": the download failed: "), "%s",
                           err.message);
        cr_expect_str_eq(err.hint,
                         "120000 bytes are kept: the same command goes on from there");
        cr_expect_not(there("f.bin"));
        pthread_join(thread, NULL);
        s.limit   = BYTES;
        s.answers = ranges == 1 ? 1 : 2;
        cr_assert_eq(pthread_create(&thread, NULL, serve, &s), 0);
        OK(pq_set_fetch(&set, NULL, &where, NULL, err));
        cr_expect(is_content("f.bin"));
        pthread_join(thread, NULL);
        pq_free(where);
        close(s.socket);
        snprintf(full, sizeof full, "%s/s/f.bin", home);
        cr_assert_eq(remove(full), 0);
    }
}

/* Puts the first n bytes of the content where a download that broke off is. */
static void put_in_set(const char *name, const void *bytes, size_t n)
{
    char full[200];

    snprintf(full, sizeof full, "%s/s", home);
    OK(pq_folder_make(full, err));
    snprintf(full, sizeof full, "%s/s/%s", home, name);
    OK(pq_file_write(full, bytes, n, err));
}

Test(fetch, only_a_refused_range_costs_the_part_that_is_there)
{
    static const int refusals[] = {503, 403, 416};

    for (size_t i = 0; i < 3; i++) {
        const bool  range = refusals[i] == 416;
        server      s     = {.limit   = BYTES,
                             .ranges  = false,
                             .answers = range ? 2 : 1,
                             .refusal = refusals[i]};
        char        sha[80], adler[24], url[64], *where = NULL;
        pthread_t   thread;
        pq_set_file file;
        pq_set      set;
        pq_err      err = {0};

        sums(sha, adler);
        put_in_set("f.bin.part", content, 77777);
        start(&s, &thread, url);
        set = one(&file, url, sha, BYTES);
        cr_expect_eq(pq_set_fetch(&set, NULL, &where, NULL, &err),
                     range ? PQ_OK : PQ_ERR_IO, "%s", err.message);
        cr_expect_eq(is_content("f.bin"), range);
        cr_expect_eq(there("f.bin.part"), !range);
        if (!range) {
            cr_expect_str_eq(err.hint,
                             "77777 bytes are kept: the same command goes on from there");
        }
        pthread_join(thread, NULL);
        close(s.socket);
        pq_free(where);
    }
}

Test(fetch, a_file_put_there_by_hand_is_checked_and_kept)
{
    char        sha[80], adler[24], want[400], *where = NULL;
    pq_set_file file;
    pq_set      set;
    pq_err      err = {0};

    sums(sha, adler);
    put_in_set("f.bin", content, BYTES - 1);
    set = one(&file, "file:///no/such/file", sha, 0);
    cr_expect_eq(pq_set_fetch(&set, NULL, &where, NULL, &err), PQ_ERR_FORMAT);
    snprintf(want, sizeof want, "%s/s/f.bin: has sha256 ", home);
    cr_expect_eq(strncmp(err.message, want, strlen(want)), 0, "%s", err.message);
    cr_expect_str_eq(err.hint, "remove it, and the same command downloads it");
    cr_expect(there("f.bin"));
    put_in_set("f.bin", content, BYTES);
    OK(pq_set_fetch(&set, NULL, &where, NULL, err));
    pq_free(where);
    /* Changed after it was checked: checked again. */
    content[0] ^= 1;
    put_in_set("f.bin", content, BYTES);
    cr_expect_eq(pq_set_fetch(&set, NULL, &where, NULL, &err), PQ_ERR_FORMAT);
}

/* Fetches one file of unknown size and checksum. */
static pq_status fetch_unknown(const char *name, const char *url, char **notes,
                               pq_err *err)
{
    char        as[32], *where = NULL;
    pq_set_file file;
    pq_set      set  = one(&file, url, NULL, 0);
    pq_text     text = {0};
    pq_status   st;

    strcpy(as, name);
    file.name = as;
    st        = pq_set_fetch(&set, NULL, &where, &text, err);
    *notes    = text.text;
    pq_free(where);
    return st;
}

static void refused_unknown(const char *name, const void *bytes, size_t n,
                            const char *text)
{
    char   url[200], want[300], *notes = NULL;
    pq_err err = {0};

    write_file("origin", bytes, n);
    snprintf(url, sizeof url, "file://%s/origin", folder);
    cr_expect_eq(fetch_unknown(name, url, &notes, &err), PQ_ERR_FORMAT);
    snprintf(want, sizeof want, "%s%s", url, text);
    cr_expect_str_eq(err.message, want);
    cr_expect_null(notes);
    cr_expect_not(there(name));
}

Test(fetch, an_unknown_checksum_is_said_and_the_file_must_at_least_be_whole)
{
    char   url[200], want[200], hex[PQ_HASH_TEXT], *notes = NULL, *bytes = NULL;
    size_t n = 0;
    gzFile gz;
    pq_h5 *file = NULL;

    snprintf(path, sizeof path, "%s/whole.gz", folder);
    gz = gzopen(path, "wb");
    gzwrite(gz, content, BYTES);
    cr_assert_eq(gzclose(gz), Z_OK);
    OK(pq_file_read(path, 1 << 20, &bytes, &n, err));
    refused_unknown("f.gz", bytes, n - 1, ": is truncated or damaged");
    refused_unknown("f.gz", bytes, n / 2, ": is truncated or damaged");
    refused_unknown("f.gz", "<html>", 6, ": is no gzip file");
    write_file("origin", bytes, n);
    pq_free(bytes);
    snprintf(url, sizeof url, "file://%s/whole.gz", folder);
    OK(fetch_unknown("f.gz", url, &notes, err));
    OK(pq_hash_file(path, hex, err));
    snprintf(want, sizeof want,
             "f.gz: not verified, the manifest has no checksum; sha256 is %s\n", hex);
    cr_expect_str_eq(notes, want);
    pq_free(notes);

    snprintf(path, sizeof path, "%s/whole.h5", folder);
    OK(pq_h5_create(path, &file, err));
    put(file, "x", PQ_DTYPE_F32, PQ_SHAPE(1), (const float[]){1.0F});
    OK(pq_h5_commit(&file, err));
    OK(pq_file_read(path, 1 << 20, &bytes, &n, err));
    refused_unknown("f.h5", bytes, n - 8, ": is truncated or damaged");
    refused_unknown("f.h5", "<html>", 6, ": is no HDF5 file");
    pq_free(bytes);
    snprintf(url, sizeof url, "file://%s", path);
    OK(fetch_unknown("f.h5", url, &notes, err));
    pq_free(notes);
}

typedef struct {
    const pq_set *set;
    pq_status     st;
} fetcher;

static void *fetch_it(void *context)
{
    fetcher *f     = context;
    char    *where = NULL;

    f->st = pq_set_fetch(f->set, NULL, &where, NULL, NULL);
    pq_free(where);
    return NULL;
}

Test(fetch, two_at_a_time_get_the_set_once)
{
    server      s = {.limit = BYTES, .ranges = true, .answers = 1}; /* one request only */
    char        sha[80], adler[24], url[64];
    pthread_t   serving, fetching[4];
    fetcher     fetchers[4];
    pq_set_file file;
    pq_set      set;

    sums(sha, adler);
    start(&s, &serving, url);
    set = one(&file, url, sha, BYTES);
    for (int i = 0; i < 4; i++) {
        fetchers[i] = (fetcher){&set, PQ_ERR_IO};
        cr_assert_eq(pthread_create(&fetching[i], NULL, fetch_it, &fetchers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(fetching[i], NULL);
        cr_expect_eq(fetchers[i].st, PQ_OK);
    }
    pthread_join(serving, NULL);
    close(s.socket);
    cr_expect(is_content("f.bin"));
}

/* A tar header with its checksum. */
static void tar_header(char block[512], const char *name, size_t size, char type)
{
    unsigned sum = 0;

    memset(block, 0, 512);
    snprintf(block, 100, "%s", name);
    snprintf(block + 124, 12, "%011zo", size);
    memset(block + 148, ' ', 8);
    block[156] = type;
    memcpy(block + 257,
           "ustar\0"
           "00",
           8);
    for (int i = 0; i < 512; i++) {
        sum += (unsigned char)block[i];
    }
    snprintf(block + 148, 8, "%06o", sum);
}

/* An archive of one member named so, gzipped. */
static void write_tar(const char *name, char type, bool ended)
{
    char   block[512];
    gzFile file;

    snprintf(path, sizeof path, "%s/a.tar.gz", folder);
    file = gzopen(path, "wb");
    tar_header(block, name, 700, type);
    gzwrite(file, block, 512);
    gzwrite(file, content, ended ? 1024 : 600);
    memset(block, 0, 512);
    for (int i = 0; ended && i < 2; i++) {
        gzwrite(file, block, 512);
    }
    cr_assert_eq(gzclose(file), Z_OK);
}

static void refused_tar(const char *name, char type, bool ended, pq_status status,
                        const char *text)
{
    pq_err err = {0};
    char   want[400];

    write_tar(name, type, ended);
    cr_expect_eq(pq_untar(path, home, &err), status);
    snprintf(want, sizeof want, "%s: %s", path, text);
    cr_expect_str_eq(err.message, want);
}

Test(fetch, archives_are_unpacked_inside_their_folder_only)
{
    char   full[200], *bytes = NULL;
    size_t n   = 0;
    pq_err err = {0};

    write_tar("in/side/f", '0', true);
    OK(pq_untar(path, home, err));
    write_tar("in/side/g", '0', true); /* beside what is there */
    OK(pq_untar(path, home, err));
    write_tar("in/side/f", '0', false);
    cr_expect_eq(pq_untar(path, home, NULL), PQ_ERR_FORMAT);
    snprintf(full, sizeof full, "%s/.unpacking", home);
    cr_expect_not(pq_file_exists(full));
    snprintf(full, sizeof full, "%s/in/side/g", home);
    cr_expect_eq(pq_file_bytes(full), 700);
    snprintf(full, sizeof full, "%s/in/side/f", home);
    OK(pq_file_read(full, 4096, &bytes, &n, err));
    cr_assert_eq(n, 700);
    cr_expect_arr_eq((unsigned char *)bytes, content, 700);
    pq_free(bytes);
    refused_tar("../out", '0', true, PQ_ERR_FORMAT,
                "would unpack '../out' outside its folder");
    refused_tar("a/../../out", '0', true, PQ_ERR_FORMAT,
                "would unpack 'a/../../out' outside its folder");
    refused_tar("/etc/out", '0', true, PQ_ERR_FORMAT,
                "would unpack '/etc/out' outside its folder");
    refused_tar("link", '2', true, PQ_ERR_UNSUPPORTED,
                "'link' is a link or a device; only files are unpacked");
    refused_tar("f", '0', false, PQ_ERR_FORMAT, "is truncated or no tar archive");
    OK(pq_file_write(path, content, 2000, err));
    cr_expect_eq(pq_untar(path, home, &err), PQ_ERR_FORMAT);
    cr_expect_not_null(strstr(err.message, "a.tar.gz: is damaged or no tar archive"));
}

/* 100,001 folders, which are not made; and what a few bytes of gzip become. */
Test(fetch, archives_of_too_many_files_or_bytes_are_refused)
{
    static const char zeros[1 << 20];
    gzFile            f;
    char              block[512];
    pq_err            err = {0};

    snprintf(path, sizeof path, "%s/a.tar.gz", folder);
    f = gzopen(path, "wb1");
    tar_header(block, "x", 0, '5');
    for (int i = 0; i < 100001; i++) {
        cr_assert_eq(gzwrite(f, block, sizeof block), (int)sizeof block);
    }
    cr_assert_eq(gzclose(f), Z_OK);
    cr_expect_eq(pq_untar(path, home, &err), PQ_ERR_FORMAT);
    cr_expect_not_null(strstr(err.message, ": holds more than 100000 files"), "%s",
                       err.message);
    f = gzopen(path, "wb9");
    tar_header(block, "x", 100 * sizeof zeros, '0');
    cr_assert_eq(gzwrite(f, block, sizeof block), (int)sizeof block);
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(gzwrite(f, zeros, sizeof zeros), (int)sizeof zeros);
    }
    cr_assert_eq(gzclose(f), Z_OK);
    err = (pq_err){0};
    cr_expect_eq(pq_untar(path, home, &err), PQ_ERR_FORMAT);
    cr_expect_not_null(strstr(err.message, "it is not unpacked"), "%s", err.message);
    cr_expect_not(there("x"));
}

Test(fetch, every_manifest_of_the_project_is_valid)
{
    pq_set *sets = NULL;
    size_t  n    = 0;

    OK(pq_sets_read(SETS, &sets, &n, err));
    cr_expect_geq(n, 15);
    for (size_t i = 0; i < n; i++) {
        char *where = NULL;
        bool  known = strcmp(sets[i].layout, "none") == 0;
        for (size_t k = 0; pq_layouts[k] != NULL; k++) {
            known = known || strcmp(pq_layouts[k]->name, sets[i].layout) == 0;
        }
        cr_expect(known, "%s: layout %s", sets[i].name, sets[i].layout);
        cr_expect(sets[i].licence[0] != '\0', "%s", sets[i].name);
        cr_expect(sets[i].checksum != NULL || strncmp(sets[i].source, "http", 4) == 0,
                  "%s", sets[i].name);
        for (size_t k = 0; k < sets[i].n_places; k++) {
            pq_free(sets[i].places[k]);
            sets[i].places[k] = pq_strdup("/no/such/place");
        }
        cr_expect_eq(pq_set_where(&sets[i], &where, NULL), PQ_ERR_NOT_FOUND);
        pq_set_free(&sets[i]);
    }
    pq_free(sets);
}

/* Our own samples: where they are, and that they are what the manifest says. */
Test(fetch, shipped_samples_are_what_their_manifests_say)
{
    static const char *const names[] = {"jets-hlf", "jets-btag", "jets-btag-tracks"};

    for (size_t i = 0; i < 3; i++) {
        char  *where = NULL, due[160], hex[PQ_HASH_TEXT], sum[80];
        pq_set set   = {0};
        OK(pq_set_find(SETS, names[i], &set, err));
        OK(pq_set_where(&set, &where, err));
        snprintf(due, sizeof due, PQ_TEST_SOURCE_ROOT "/datasets/%s.h5", names[i]);
        cr_expect_str_eq(where, due);
        OK(pq_hash_file(where, hex, err));
        snprintf(sum, sizeof sum, "sha256:%s", hex);
        cr_expect_str_eq(set.checksum, sum);
        cr_expect_str_eq(set.licence, "CC-BY-4.0");
        pq_free(where);
        pq_set_free(&set);
    }
}

/* A name is a set's wherever a file may be given; its manifest says how to read it. */
Test(fetch, a_set_is_opened_by_its_name_with_the_layout_and_classes_of_its_manifest)
{
    static const char arff[] = "@relation r\n@attribute a numeric\n"
                               "@attribute class {0,1,2,3,4}\n@data\n1,0\n2,4\n";
    pq_dataset       *d      = NULL;
    pq_err            err    = {0};
    char              full[200];

    cr_assert_eq(chdir(PQ_TEST_SOURCE_ROOT), 0);
    OK(pq_dataset_open("jets-btag-tracks", NULL, &d, err));
    cr_expect_str_eq(pq_dataset_describe(d)->layout, "ftag");
    pq_dataset_close(&d);
    cr_expect_eq(pq_dataset_open("jsc-openml", NULL, &d, &err), PQ_ERR_NOT_FOUND);
    cr_expect_not_null(strstr(err.hint, "put the file into this set's folder"));
    err = (pq_err){0};
    cr_expect_eq(pq_dataset_open("jetset-small", NULL, &d, &err), PQ_ERR_NOT_FOUND);
    cr_expect_str_eq(err.hint, "`pquant data fetch jetset-small` gets it");
    snprintf(full, sizeof full, "%s/jsc-openml", home);
    OK(pq_folder_make(full, err));
    strcat(full, "/hls4ml_lhc_jets_hlf.arff");
    OK(pq_file_write(full, arff, sizeof arff - 1, err));
    OK(pq_dataset_open("jsc-openml", NULL, &d, err));
    cr_expect_str_eq(pq_dataset_describe(d)->layout, "arff");
    cr_expect_str_eq(pq_dataset_describe(d)->class_names[2], "t");
    pq_dataset_close(&d);
    err = (pq_err){0};
    cr_expect_eq(pq_dataset_open("jsc-openm", NULL, &d, &err), PQ_ERR_NOT_FOUND);
    cr_expect_str_eq(err.message, "jsc-openm: no such file or folder");
    cr_expect_str_eq(err.hint,
                     "no public set is called 'jsc-openm'; did you mean 'jsc-openml'? "
                     "(`pquant data list` names them)");
    snprintf(full, sizeof full, "%s/vertexing", home);
    OK(pq_folder_make(full, err));
    err = (pq_err){0};
    cr_expect_eq(pq_dataset_open("vertexing", NULL, &d, &err), PQ_ERR_UNSUPPORTED);
    cr_expect_not_null(strstr(err.message, "the set 'vertexing' is not read in place"));
    cr_expect_not_null(strstr(err.hint, "ROOT files"));
}

Test(fetch, a_set_that_debian_packages_says_so)
{
    static char place[]  = "/usr/share/datasets/no-such-set";
    char       *places[] = {place}, *where = NULL;
    pq_set_file file;
    pq_set      set = one(&file, "file:///no/such/file", NULL, 0);
    pq_err      err = {0};

    set.places   = places;
    set.n_places = 1;
    cr_expect_eq(pq_set_where(&set, &where, &err), PQ_ERR_NOT_FOUND);
    cr_expect_str_eq(err.hint, "`pquant data fetch s` gets it, and so does Debian's "
                               "package dataset-s");
}

Test(fetch, sets_are_found_by_name_with_advice)
{
    pq_set set = {0};
    pq_err err = {0};

    OK(pq_set_find(SETS, "cifar-10", &set, err));
    cr_expect_str_eq(
        set.files[0].checksum,
        "sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd");
    cr_expect_eq(set.files[0].bytes, 170052171);
    cr_expect_str_eq(set.files[0].name, "cifar-10-binary.tar.gz");
    cr_expect(set.files[0].unpack);
    cr_expect_str_eq(set.classes[9], "truck");
    pq_set_free(&set);
    cr_expect_eq(pq_set_find(SETS, "cifar10", &set, &err), PQ_ERR_NOT_FOUND);
    cr_expect_str_eq(err.message,
                     "no public set is called 'cifar10'; did you mean 'cifar-10'?");
}

static void refused_manifest(const char *text, const char *message)
{
    const size_t live = pq_memory_live();
    pq_set       set  = {0};
    pq_err       err  = {0};
    char         want[400];

    write_file("m.yaml", text, strlen(text));
    snprintf(path, sizeof path, "%s/m.yaml", folder);
    cr_expect_eq(pq_set_read(path, &set, &err), PQ_ERR_CONFIG);
    snprintf(want, sizeof want, "%s:%s", path, message);
    cr_expect_str_eq(err.message, want);
    cr_expect_eq(pq_memory_live(), live);
}

#define HEAD "name: a\ntitle: b\nlayout: c\nlicence: d\nsource: e\n"

Test(fetch, broken_manifests_are_refused_with_the_place)
{
    refused_manifest("- a\n", "1:1: the manifest is a list, not a map");
    refused_manifest("name: a\n", "1:1: 'title' is missing");
    refused_manifest("name: a\ntitel: b\n",
                     "2:1: unknown key 'titel'; did you mean 'title'?");
    refused_manifest(HEAD, "1:1: 'files' is not a list of files");
    refused_manifest(HEAD "files:\n  - url: http://x/y\n", "7:5: 'bytes' is missing");
    refused_manifest(HEAD "files:\n  - {url: http://x/y, bytes: many}\n",
                     "7:30: bytes 'many' is neither a whole number nor unknown");
    refused_manifest(
        HEAD "files:\n  - {url: http://x/y, bytes: 5}\n",
        "7:5: a file needs sha256, md5 or adler32, or says `checksum: unknown`");
    refused_manifest(HEAD "files:\n  - {url: http://x/y, bytes: 5, md5: ABC}\n",
                     "7:38: md5 is not 32 hexadecimal digits in lower case");
    refused_manifest(HEAD "files:\n  - {url: http://x/, bytes: 5, checksum: unknown}\n",
                     "7:5: as: '' is no name for a file");
    refused_manifest(
        HEAD "files:\n  - {url: http://x/y, as: ../z, bytes: 5, checksum: unknown}\n",
        "7:27: as: '../z' is no name for a file");
}
