#define _GNU_SOURCE /* memmem */
#include "core/foreign.h"

#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/memory.h"

enum { TAIL = 1 << 16 /**< bytes at the end of a ZIP in which members are looked for */ };

static const struct {
    const char *start;
    size_t      bytes;
    const char *model, *events;
} kinds[] = {
    {"\x93NUMPY", 6,
     "an array of NumPy is no model: give all of them as an .npz (numpy.savez)",
     "an array of NumPy, beside which x.npy, y.npy, … are looked for "
     "(docs/file-formats.md)"},
    {"root", 4, "a file of ROOT is no model",
     "a file of ROOT: write an .npz of x and y by two lines of Python "
     "(docs/file-formats.md)"},
    {"PAR1", 4, "a file of Parquet is no model",
     "a file of Parquet: write an .npz of x and y by two lines of Python "
     "(docs/file-formats.md)"},
    {"PK\x03\x04", 4,
     "a ZIP archive that holds no model of Keras, no arrays of NumPy and no state dict "
     "of "
     "PyTorch",
     "a ZIP archive without arrays of NumPy: unpack it"},
    {"\x89HDF\r\n", 6,
     "an HDF5 without a model: Keras writes one by model.save('x.h5'), pquant one with "
     "format = 'pquant-model'",
     "an HDF5 of another layout: name its arrays with --x and --y "
     "(docs/file-formats.md)"},
};

/* The last n bytes of a file, or all that it has; how many. */
static size_t read_end(const char *path, char *out, size_t n)
{
    FILE  *f    = pq_file_stream(path);
    size_t have = 0;

    if (f != NULL) {
        if (fseek(f, -(long)n, SEEK_END) != 0) {
            rewind(f);
        }
        have = fread(out, 1, n, f);
        (void)fclose(f);
    }
    return have;
}

const char *pq_foreign_way(const char *path, bool model)
{
    char         start[8];
    const size_t n = pq_file_start(path, start, sizeof start);

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (n >= kinds[i].bytes && memcmp(start, kinds[i].start, kinds[i].bytes) == 0) {
            return model ? kinds[i].model : kinds[i].events;
        }
    }
    return NULL;
}

bool pq_foreign_zip_has(const char *path, const char *end)
{
    char        *tail  = pq_calloc(TAIL, 1);
    const size_t n     = tail != NULL ? read_end(path, tail, TAIL) : 0;
    const bool   found = n > 0 && memmem(tail, n, end, strlen(end)) != NULL;

    pq_free(tail);
    return found;
}
