/* Content of a member, piece by piece. */
#include <string.h>
#include <zlib.h>

#include "core/memory.h"
#include "io/zip.h"

enum {
    MOST_BLOWUP = 100,
    PIECE       = 1 << 17,
    MOST_INPUT  = 1 << 30 /* that zlib is given at once: it counts in 32 bits */
};

/* A fuzzer's members never have their checksums, and would all end there. */
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
static const bool checked = false;
#else
static const bool checked = true;
#endif

struct pq_zip_stream {
    const pq_zip_member *member;
    size_t               at;   /* bytes handed out */
    size_t               left; /* packed ones that zlib was not given yet */
    uLong                sum;  /* of them */
    bool                 ready;
    z_stream             z;
};

/* Characters of a member's name that a message shows. */
static int shown(const pq_zip_member *m)
{
    return m->name_bytes < 80 ? (int)m->name_bytes : 80;
}

pq_status pq_zip_stream_open(const pq_zip_member *m, size_t fine, pq_zip_stream **out,
                             pq_err *err)
{
    pq_zip_stream *s = NULL;
    pq_status      st;

    PQ_CHECK(m->n <= fine || m->n / MOST_BLOWUP <= m->packed, PQ_ERR_FORMAT,
             "member '%.*s' of %zu bytes would unpack to %zu, more than %d times as many",
             shown(m), m->name, m->packed, m->n, MOST_BLOWUP);
    PQ_NEW(s, 1);
    s->member    = m;
    s->left      = m->packed;
    s->sum       = crc32_z(0, NULL, 0);
    s->z.next_in = (Bytef *)(uintptr_t)m->bytes; /* only read */
    if (m->deflated) {
        s->ready = inflateInit2(&s->z, -MAX_WBITS) == Z_OK;
        PQ_CHECK(s->ready, PQ_ERR_NOMEM, "cannot start unpacking");
    }
    *out = s;
    s    = NULL;
cleanup:
    pq_zip_stream_close(&s);
    return st;
}

void pq_zip_stream_close(pq_zip_stream **s)
{
    if (*s != NULL && (*s)->ready) {
        (void)inflateEnd(&(*s)->z);
    }
    pq_free(*s);
    *s = NULL;
}

/* The next n bytes of a deflated member. */
static bool unpack(pq_zip_stream *s, void *out, size_t n)
{
    const bool   last   = s->at + n == s->member->n;
    const Bytef *before = s->z.next_in;
    int          code;

    s->z.next_out  = out;
    s->z.avail_out = (uInt)n;
    do {
        if (s->z.avail_in == 0) {
            s->z.avail_in = (uInt)(s->left < MOST_INPUT ? s->left : MOST_INPUT);
            s->left -= s->z.avail_in;
        }
        code = inflate(&s->z, last ? Z_FINISH : Z_SYNC_FLUSH);
    } while (s->z.avail_in == 0 && s->left > 0 && (code == Z_OK || code == Z_BUF_ERROR) &&
             (last || s->z.avail_out > 0));
    if (s->member->mapped) {
        pq_map_release(before, (size_t)(s->z.next_in - before));
    }
    return s->z.avail_out == 0 && code == (last ? Z_STREAM_END : Z_OK);
}

pq_status pq_zip_stream_read(pq_zip_stream *s, void *out, size_t n, pq_err *err)
{
    const pq_zip_member *m  = s->member;
    uint8_t             *to = out;
    pq_status            st = PQ_OK;

    PQ_CHECK(n <= m->n - s->at, PQ_ERR_FORMAT,
             "member '%.*s' ends after %zu bytes, where %zu more are due", shown(m),
             m->name, m->n, n);
    while (n > 0) {
        const size_t part = n < PIECE ? n : PIECE;
        if (m->deflated) {
            PQ_CHECK(unpack(s, to, part), PQ_ERR_FORMAT,
                     "member '%.*s' is damaged: it does not unpack to its %zu bytes",
                     shown(m), m->name, m->n);
            s->sum = crc32_z(s->sum, to, part);
        } else { /* whose checksum was compared when the archive was opened */
            memcpy(to, m->bytes + s->at, part);
            if (m->mapped) {
                pq_map_release(m->bytes + s->at, part);
            }
        }
        s->at += part;
        to += part;
        n -= part;
    }
    PQ_CHECK(!m->deflated || s->at < m->n || !checked || s->sum == m->sum, PQ_ERR_FORMAT,
             "member '%.*s' is damaged: its checksum differs", shown(m), m->name);
cleanup:
    return st;
}
