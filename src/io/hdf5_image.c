/* The bytes of a file itself: its signature, and small files read in memory, as libhdf5
 * asks for hundreds of parts of some bytes, each of them a call of the system else. */
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "io/hdf5_inside.h"

enum { IMAGE_BYTES = 4 << 20 /* of a file that is read in memory, at most */ };

/* The signature stands at 0, or behind a block of the user's at 512 or a power of two
 * beyond. */
bool pq_h5_is_file(const char *path)
{
    static const char signature[] = "\x89HDF\r\n\x1a\n";
    const size_t      n           = sizeof signature - 1;
    const size_t      bytes       = pq_file_bytes(path);
    const int         fd          = pq_file_open(path);
    char              start[sizeof signature];
    bool              found = false;

    for (size_t at = 0; fd >= 0 && !found && at < bytes && n <= bytes - at;
         at        = at == 0 ? 512 : 2 * at) {
        found = pread(fd, start, n, (off_t)at) == (ssize_t)n &&
                memcmp(start, signature, n) == 0;
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return found;
}

/* What libhdf5 would copy stays where it is mapped. */
static void *image_at(size_t n, H5FD_file_image_op_t op, void *at)
{
    (void)n;
    (void)op;
    return at;
}

static void *image_same(void *to, const void *from, size_t n, H5FD_file_image_op_t op,
                        void *at)
{
    (void)from;
    (void)n;
    (void)op;
    (void)at;
    return to;
}

static herr_t image_keep(void *image, H5FD_file_image_op_t op, void *at)
{
    (void)image;
    (void)op;
    (void)at;
    return 0;
}

static void *image_share(void *at)
{
    return at;
}

static herr_t image_leave(void *at)
{
    (void)at;
    return 0;
}

const char *pq_h5_map_image(pq_h5 *file, hid_t list)
{
    H5FD_file_image_callbacks_t calls = {.image_malloc = image_at,
                                         .image_memcpy = image_same,
                                         .image_free   = image_keep,
                                         .udata_copy   = image_share,
                                         .udata_free   = image_leave};
    const size_t                n     = pq_file_bytes(file->path);

    if (n == 0 || n > IMAGE_BYTES ||
        pq_map_open(file->path, &file->image, NULL) != PQ_OK) {
        return file->path;
    }
    calls.udata = (void *)(uintptr_t)file->image.at;
    if (H5Pset_fapl_core(list, 1 << 16, false) < 0 ||
        H5Pset_file_image_callbacks(list, &calls) < 0 ||
        H5Pset_file_image(list, calls.udata, file->image.n) < 0) {
        (void)H5Pset_fapl_sec2(list);
        return file->path;
    }
    return "/dev/null/image"; /* of an image no file may have the name */
}
