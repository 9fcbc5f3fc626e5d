#include "io/hdf5_wire.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

void pq_h5_put_number(pq_text *to, uint64_t value)
{
    pq_text_add_bytes(to, (const char *)&value, sizeof value);
}

void pq_h5_put_text(pq_text *to, const char *text)
{
    const size_t n = strlen(text) + 1;

    pq_h5_put_number(to, n);
    pq_text_add_bytes(to, text, n);
}

const char *pq_h5_take_bytes(pq_h5_cursor *from, size_t n)
{
    const char *bytes = from->bytes;

    if (from->bad || n > from->left) {
        from->bad = true;
        return NULL;
    }
    from->bytes += n;
    from->left -= n;
    return bytes;
}

void pq_h5_put_error(pq_text *to, const pq_err *err)
{
    pq_h5_put_number(to, (uint64_t)err->code);
    pq_h5_put_text(to, err->message);
    pq_h5_put_text(to, err->hint);
}

uint64_t pq_h5_take_number(pq_h5_cursor *from)
{
    uint64_t    value = 0;
    const char *bytes = pq_h5_take_bytes(from, sizeof value);

    if (bytes != NULL) {
        memcpy(&value, bytes, sizeof value);
    }
    return value;
}

const char *pq_h5_take_text(pq_h5_cursor *from)
{
    const size_t n     = (size_t)pq_h5_take_number(from);
    const char  *bytes = pq_h5_take_bytes(from, n);

    if (bytes == NULL || n == 0 || memchr(bytes, '\0', n) != bytes + n - 1) {
        from->bad = true;
        return "";
    }
    return bytes;
}

static bool send_bytes(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        const ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);
        if (sent <= 0 && !(sent < 0 && errno == EINTR)) {
            return false;
        }
        bytes += sent > 0 ? sent : 0;
        n -= sent > 0 ? (size_t)sent : 0;
    }
    return true;
}

bool pq_h5_send(int fd, pq_h5_mark mark, const void *bytes, size_t n)
{
    const pq_h5_head head = {(uint64_t)mark, n};

    return send_bytes(fd, (const char *)&head, sizeof head) && send_bytes(fd, bytes, n);
}

bool pq_h5_read_bytes(int fd, void *bytes, size_t n, size_t seconds)
{
    const int most = 1000000;
    const int wait = seconds == 0 ? -1 : (int)(seconds < 1000 ? seconds * 1000 : most);
    char     *to   = bytes;

    while (n > 0) {
        struct pollfd p   = {.fd = fd, .events = POLLIN};
        const int     got = poll(&p, 1, wait);
        ssize_t       have;

        if (got < 0 && errno == EINTR) {
            continue;
        }
        have = got > 0 ? recv(fd, to, n, 0) : 0;
        if (have < 0 && errno == EINTR) {
            continue;
        }
        if (have <= 0) {
            return false;
        }
        to += have;
        n -= (size_t)have;
    }
    return true;
}
