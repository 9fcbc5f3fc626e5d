/*
 * The filter LZF of h5py (`compression='lzf'`), which libhdf5 does not come with: reading
 * only. A byte below 32 says how many bytes follow as they are, less one; any other
 * starts a copy of what was unpacked before: three bits of its length and five of its
 * distance, where the length is 7 a byte more of it, and a byte more of the distance.
 *
 * Source: LibLZF (M. Lehmann), format of lzf_d.c; h5py's lzf_filter.c for the parameters.
 */
#include <stdint.h>
#include <string.h>

#include "io/hdf5_inside.h"

enum {
    LZF_LITERAL = 32, /* first byte of a copy */
    LZF_LONG    = 7,  /* length that goes on in the next byte */
    LZF_LEAST   = 2   /* bytes that every copy has beside its length */
};

/* Unpacks into out, or only counts where out is NULL. @return bytes, 0 where the input is
 * damaged */
static size_t unpack(const uint8_t *in, size_t n, uint8_t *out)
{
    size_t at = 0, made = 0;

    while (at < n) {
        const unsigned first  = in[at++];
        size_t         length = first >> 5, distance = (size_t)(first & 31U) << 8;

        if (first < LZF_LITERAL) {
            length = first + 1U;
            if (length > n - at) {
                return 0;
            }
            if (out != NULL) {
                memcpy(out + made, in + at, length);
            }
            at += length;
            made += length;
            continue;
        }
        if (length == LZF_LONG && at < n) {
            length += in[at++];
        }
        if (at == n) {
            return 0;
        }
        distance += in[at++] + 1U;
        length += LZF_LEAST;
        if (distance > made) {
            return 0;
        }
        for (size_t i = 0; out != NULL && i < length; i++) { /* may overlap itself */
            out[made + i] = out[made + i - distance];
        }
        made += length;
    }
    return made;
}

/* What H5Zregister calls, with libhdf5's own memory; 0 is a failure. libhdf5 reads a
 * whole chunk of what it gets, however little that is: all of it has to be there. */
static size_t filter(unsigned flags, size_t n_values, const unsigned values[],
                     size_t bytes, size_t *room, void **buffer)
{
    const size_t chunk = n_values >= PQ_H5_LZF_VALUES ? values[2] : 0;
    size_t       made  = 0;
    uint8_t     *out   = NULL;

    if ((flags & H5Z_FLAG_REVERSE) != 0) {
        made = unpack(*buffer, bytes, NULL);
    }
    if (made > 0 && made == chunk) {
        out = H5allocate_memory(made, false);
    }
    if (out == NULL) {
        return 0;
    }
    (void)unpack(*buffer, bytes, out);
    (void)H5free_memory(*buffer);
    *buffer = out;
    *room   = made;
    return made;
}

void pq_h5_add_lzf(void)
{
    static const H5Z_class2_t lzf = {
        H5Z_CLASS_T_VERS, PQ_H5_LZF, 0, 1, "lzf", NULL, NULL, filter};

    if (H5Zfilter_avail(PQ_H5_LZF) <= 0) { /* h5py's own can write, too */
        (void)H5Zregister(&lzf);
    }
}
