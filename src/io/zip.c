#include "io/zip.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "core/file.h"
#include "core/memory.h"
#include "core/pieces.h"

/* Sizes of ZIP's records without names and extras. */
enum { LOCAL_BYTES = 30, ENTRY_BYTES = 46, END_BYTES = 22, COMMENT_MAX = 65535 };

/* Of ZIP64: the record that says where its end is, and that end. */
enum { LOCATOR_BYTES = 20, END64_BYTES = 56, EXTRA64 = 1 };

enum {
    STORED      = 0,
    DEFLATED    = 8,
    ENCRYPTED   = 1,    /* bit of a member's flags */
    VERSION     = 20,   /* 2.0, of what needs nothing special */
    DAY_ZERO    = 0x21, /* 1 January 1980 */
    PIECE       = 1 << 17,
    SMALL_BYTES = 4 << 20 /* that may stay in memory: letting go of pages takes time */
};

/* A fuzzer's members never have their checksums, and would all end there. */
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
static const bool checked = false;
#else
static const bool checked = true;
#endif

bool pq_zip_looks(const uint8_t *bytes, size_t n)
{
    return n >= 4 && memcmp(bytes, "PK\x03\x04", 4) == 0;
}

static uint32_t checksum(const void *bytes, size_t n)
{
    return (uint32_t)crc32_z(crc32_z(0, NULL, 0), bytes, n);
}

/* Of a stored member, in pieces that are let go of where they can be. */
static uint32_t checksum_of(const pq_zip_member *m)
{
    uLong sum = crc32_z(0, NULL, 0);

    for (size_t at = 0; at < m->n; at += PIECE) {
        const size_t n = m->n - at < PIECE ? m->n - at : PIECE;
        sum            = crc32_z(sum, m->bytes + at, n);
        if (m->mapped) {
            pq_map_release(m->bytes + at, n);
        }
    }
    return (uint32_t)sum;
}

static size_t little(const uint8_t *b, size_t count)
{
    size_t value = 0;

    for (size_t i = count; i-- > 0;) {
        value = value << 8 | b[i];
    }
    return value;
}

/* Characters of a member's name that a message shows. */
static int shown(const pq_zip_member *m)
{
    return m->name_bytes < 80 ? (int)m->name_bytes : 80;
}

/* Sizes and the place of a member beyond 4 GiB stand behind its name, those of them that
 * the entry itself has all bits set for, in this order (APPNOTE 4.5.3). */
static pq_status widen(const uint8_t *entry, pq_zip_member *m, size_t *local, pq_err *err)
{
    size_t *const  fields[] = {&m->n, &m->packed, local};
    const uint8_t *at = entry + ENTRY_BYTES + m->name_bytes, *wide = NULL;
    size_t         left = little(entry + 30, 2), room = 0;
    pq_status      st = PQ_OK;

    while (wide == NULL && left >= 4 && little(at + 2, 2) <= left - 4) {
        const size_t size = little(at + 2, 2);
        wide              = little(at, 2) == EXTRA64 ? at + 4 : NULL;
        room              = size;
        left -= 4 + size;
        at += 4 + size;
    }
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (*fields[i] == UINT32_MAX) {
            PQ_CHECK(wide != NULL && room >= 8, PQ_ERR_FORMAT,
                     "member '%.*s' is beyond 4 GiB, and no record of ZIP64 says where",
                     shown(m), m->name);
            *fields[i] = little(wide, 8);
            wide += 8;
            room -= 8;
        }
    }
cleanup:
    return st;
}

/* Finds what the entry at `at` of the directory tells of, and checks it. */
static pq_status locate(const uint8_t *zip, size_t n, const uint8_t *entry,
                        pq_zip_member *m, pq_err *err)
{
    size_t    local = little(entry + 42, 4);
    pq_status st;

    PQ_TRY(widen(entry, m, &local, err));
    PQ_CHECK((little(entry + 8, 2) & ENCRYPTED) == 0, PQ_ERR_UNSUPPORTED,
             "member '%.*s' is encrypted", shown(m), m->name);
    PQ_CHECK(little(entry + 10, 2) == STORED || little(entry + 10, 2) == DEFLATED,
             PQ_ERR_UNSUPPORTED,
             "member '%.*s' is packed by method %zu; 0 (stored) and 8 (deflate) are read",
             shown(m), m->name, little(entry + 10, 2));
    PQ_CHECK(local <= n && n - local >= LOCAL_BYTES &&
                 little(zip + local, 4) == 0x04034b50,
             PQ_ERR_FORMAT, "member '%.*s' is not where the ZIP's directory says",
             shown(m), m->name);
    local += LOCAL_BYTES + little(zip + local + 26, 2) + little(zip + local + 28, 2);
    PQ_CHECK(local <= n && m->packed <= n - local, PQ_ERR_FORMAT,
             "member '%.*s' reaches beyond the end of the file", shown(m), m->name);
    m->bytes    = zip + local;
    m->deflated = little(entry + 10, 2) == DEFLATED;
    PQ_CHECK(m->deflated || m->packed == m->n, PQ_ERR_FORMAT,
             "member '%.*s' is stored in %zu bytes and said to have %zu", shown(m),
             m->name, m->packed, m->n);
    PQ_CHECK(m->deflated || !checked || checksum_of(m) == m->sum, PQ_ERR_FORMAT,
             "member '%.*s' is damaged: its checksum differs", shown(m), m->name);
cleanup:
    return st;
}

/* Reads the entry at `at`, and moves on to the next. */
static pq_status read_entry(const uint8_t *zip, size_t n, size_t *at, bool mapped,
                            pq_zip_member *m, pq_err *err)
{
    const uint8_t *entry = zip + *at;
    size_t         skip;
    pq_status      st;

    PQ_CHECK(*at <= n && n - *at >= ENTRY_BYTES && little(entry, 4) == 0x02014b50,
             PQ_ERR_FORMAT, "the ZIP's directory is damaged at byte %zu", *at);
    *m   = (pq_zip_member){.name       = (const char *)entry + ENTRY_BYTES,
                           .name_bytes = little(entry + 28, 2),
                           .packed     = little(entry + 20, 4),
                           .n          = little(entry + 24, 4),
                           .mapped     = mapped,
                           .sum        = (uint32_t)little(entry + 16, 4)};
    skip = m->name_bytes + little(entry + 30, 2) + little(entry + 32, 2);
    PQ_CHECK(skip <= n - *at - ENTRY_BYTES, PQ_ERR_FORMAT,
             "the ZIP's directory is truncated at byte %zu", *at);
    PQ_TRY(locate(zip, n, entry, m, err));
    *at += ENTRY_BYTES + skip;
cleanup:
    return st;
}

/* Where the directory is, and of how many entries. */
typedef struct {
    size_t at, count;
} directory;

/* The end of ZIP64 before the one at `end`, where that has no room for the numbers. */
static pq_status find_wide(const uint8_t *zip, size_t end, directory *out, pq_err *err)
{
    const uint8_t *locator = zip + end - LOCATOR_BYTES;
    size_t         at;
    pq_status      st;

    if (end < LOCATOR_BYTES || little(locator, 4) != 0x07064b50) {
        return PQ_OK;
    }
    at = little(locator + 8, 8);
    PQ_CHECK(at <= end && end - at >= END64_BYTES && little(zip + at, 4) == 0x06064b50,
             PQ_ERR_FORMAT, "the end of a ZIP64 is not at byte %zu, where it should be",
             at);
    out->count = little(zip + at + 32, 8);
    out->at    = little(zip + at + 48, 8);
cleanup:
    return st;
}

/* The record at the end, behind which only a comment may stand. */
static pq_status find_directory(const uint8_t *zip, size_t n, directory *out, pq_err *err)
{
    const size_t reach = (size_t)END_BYTES + COMMENT_MAX;
    const size_t first = n > reach ? n - reach : 0;
    size_t       i     = n < END_BYTES ? 0 : n - END_BYTES + 1;
    bool         found = false;
    pq_status    st;

    while (!found && i-- > first) {
        found = little(zip + i, 4) == 0x06054b50;
    }
    PQ_CHECK(found, PQ_ERR_FORMAT,
             "the ZIP has no directory at its end: it is truncated");
    *out = (directory){.at = little(zip + i + 16, 4), .count = little(zip + i + 10, 2)};
    PQ_TRY(find_wide(zip, i, out, err));
    PQ_CHECK(out->count <= n / ENTRY_BYTES, PQ_ERR_FORMAT,
             "the ZIP's directory of %zu entries is longer than the file", out->count);
cleanup:
    return st;
}

static int by_name(const void *a, const void *b)
{
    const pq_zip_member *const *x = a, *const *y = b;
    const size_t                least =
        (*x)->name_bytes < (*y)->name_bytes ? (*x)->name_bytes : (*y)->name_bytes;
    const int order = memcmp((*x)->name, (*y)->name, least);

    return order != 0 ? order
                      : ((*x)->name_bytes > (*y)->name_bytes) -
                            ((*x)->name_bytes < (*y)->name_bytes);
}

/* Of two members of one name some programs take the first and others the last. */
static pq_status check_names(const pq_zip *zip, pq_err *err)
{
    const pq_zip_member **sorted = NULL;
    pq_status             st;

    PQ_NEW(sorted, zip->n);
    for (size_t i = 0; i < zip->n; i++) {
        sorted[i] = &zip->members[i];
    }
    qsort(sorted, zip->n, sizeof *sorted, by_name);
    for (size_t i = 1; i < zip->n; i++) {
        PQ_CHECK(by_name(&sorted[i - 1], &sorted[i]) != 0, PQ_ERR_FORMAT,
                 "the ZIP has two members '%.*s'",
                 sorted[i]->name_bytes < 80 ? (int)sorted[i]->name_bytes : 80,
                 sorted[i]->name);
    }
cleanup:
    pq_free(sorted);
    return st;
}

static pq_status open_bytes(const uint8_t *bytes, size_t n, bool mapped, pq_zip *out,
                            pq_err *err)
{
    pq_zip    zip   = {0};
    directory d     = {0};
    size_t    total = 0;
    pq_status st;

    PQ_TRY(find_directory(bytes, n, &d, err));
    PQ_NEW(zip.members, d.count);
    for (size_t i = 0; i < d.count; i++) {
        PQ_TRY(read_entry(bytes, n, &d.at, mapped, &zip.members[i], err));
        zip.n++;
        total += zip.members[i].packed;
        PQ_CHECK(total <= n, PQ_ERR_FORMAT,
                 "the ZIP's members lie over each other: %zu bytes are in its directory "
                 "up to here, but it has %zu",
                 total, n);
    }
    PQ_TRY(check_names(&zip, err));
    *out = zip;
    zip  = (pq_zip){0};
cleanup:
    pq_zip_free(&zip);
    return st;
}

pq_status pq_zip_open(const uint8_t *bytes, size_t n, pq_zip *out, pq_err *err)
{
    return open_bytes(bytes, n, false, out, err);
}

pq_status pq_zip_open_map(const pq_map *map, pq_zip *out, pq_err *err)
{
    return open_bytes(map->at, map->n, map->n > SMALL_BYTES, out, err);
}

void pq_zip_free(pq_zip *zip)
{
    pq_free(zip->members);
    *zip = (pq_zip){0};
}

const pq_zip_member *pq_zip_find(const pq_zip *zip, const char *name)
{
    const size_t length = strlen(name);

    for (size_t i = 0; i < zip->n; i++) {
        if (zip->members[i].name_bytes == length &&
            memcmp(zip->members[i].name, name, length) == 0) {
            return &zip->members[i];
        }
    }
    return NULL;
}

pq_status pq_zip_content(const pq_zip_member *member, char **out, pq_err *err)
{
    pq_zip_stream *stream  = NULL;
    char          *content = NULL;
    pq_status      st;

    PQ_TRY(pq_zip_stream_open(member, 0, &stream, err));
    PQ_NEW(content, member->n + 1);
    PQ_TRY(pq_zip_stream_read(stream, content, member->n, err));
    *out    = content;
    content = NULL;
cleanup:
    pq_zip_stream_close(&stream);
    pq_free(content);
    return st;
}

static uint8_t *put(uint8_t *at, size_t value, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        *at++ = (uint8_t)(value >> 8 * i);
    }
    return at;
}

/* What a member's own record and its entry in the directory have in common. */
static uint8_t *put_facts(uint8_t *at, const pq_zip_part *part)
{
    at = put(at, VERSION, 2);
    at = put(at, 0, 2); /* flags */
    at = put(at, STORED, 2);
    at = put(at, 0, 2); /* midnight: equal contents are equal archives */
    at = put(at, DAY_ZERO, 2);
    at = put(at, checksum(part->bytes, part->n), 4);
    at = put(at, part->n, 4);
    at = put(at, part->n, 4);
    at = put(at, strlen(part->name), 2);
    return put(at, 0, 2); /* extras */
}

/* Where the pieces of an archive are: a record and a name before each member's bytes,
 * then the directory. */
static size_t put_records(const pq_zip_part *parts, size_t n, uint8_t *at,
                          pq_file_piece *pieces)
{
    size_t used = 0;

    for (size_t i = 0; i < n; i++) {
        pieces[used++] = (pq_file_piece){at, LOCAL_BYTES};
        at             = put_facts(put(at, 0x04034b50, 4), &parts[i]);
        pieces[used++] = (pq_file_piece){parts[i].name, strlen(parts[i].name)};
        pieces[used++] = (pq_file_piece){parts[i].bytes, parts[i].n};
    }
    return used;
}

static size_t put_directory(const pq_zip_part *parts, size_t n, uint8_t *at,
                            pq_file_piece *pieces)
{
    size_t used = 0, before = 0, bytes = 0;

    for (size_t i = 0; i < n; i++) {
        const size_t name = strlen(parts[i].name);
        pieces[used++]    = (pq_file_piece){at, ENTRY_BYTES};
        at                = put_facts(put(put(at, 0x02014b50, 4), VERSION, 2), &parts[i]);
        at                = put(put(at, 0, 6), 0, 4); /* comment, volume, attributes */
        at                = put(at, before, 4);
        pieces[used++]    = (pq_file_piece){parts[i].name, name};
        before += LOCAL_BYTES + name + parts[i].n;
        bytes += ENTRY_BYTES + name;
    }
    pieces[used++] = (pq_file_piece){at, END_BYTES};
    at             = put(put(at, 0x06054b50, 4), 0, 4);
    at             = put(put(at, n, 2), n, 2);
    (void)put(put(put(at, bytes, 4), before, 4), 0, 2);
    return used;
}

pq_status pq_zip_write(const char *path, const pq_zip_part *parts, size_t n, pq_err *err)
{
    size_t         size    = END_BYTES, used;
    uint8_t       *records = NULL; /* all but names and bytes */
    pq_file_piece *pieces  = NULL;
    pq_status      st;

    for (size_t i = 0; i < n; i++) {
        size += LOCAL_BYTES + ENTRY_BYTES + 2 * strlen(parts[i].name) + parts[i].n;
    }
    PQ_CHECK(size < UINT32_MAX && n < UINT16_MAX, PQ_ERR_RANGE,
             "%s: %zu bytes in %zu members do not fit into a ZIP without extensions",
             path, size, n);
    PQ_NEW(records, n * (LOCAL_BYTES + ENTRY_BYTES) + END_BYTES);
    PQ_NEW(pieces, 5 * n + 1);
    used = put_records(parts, n, records, pieces);
    used += put_directory(parts, n, records + n * LOCAL_BYTES, pieces + used);
    PQ_TRY(pq_file_write_pieces(path, pieces, used, err));
cleanup:
    pq_free(records);
    pq_free(pieces);
    return st;
}
