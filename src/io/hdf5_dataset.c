/* Opening a dataset: what it claims is checked, and its chunks are cached. */
#include <string.h>

#include "core/memory.h"
#include "io/hdf5_inside.h"

/* Gzip cannot do better than 1032:1; a dataset that declares more than this than it
 * stores is a trap. */
enum {
    MAX_EXPANSION   = 1100,
    FREE_BYTES      = 1 << 20,
    MIN_CACHE_BYTES = 8 << 20,   /* what is read in its order needs one row of chunks */
    MAX_CACHE_BYTES = 256 << 20, /* in a file that is written */
    RESERVED_BYTES  = 24 << 20   /* of a reader's memory, for all but chunks */
};

static const char *filter_name(H5Z_filter_t id)
{
    static const struct {
        H5Z_filter_t id;
        const char  *name;
    } known[] = {
        {H5Z_FILTER_DEFLATE, "gzip"},
        {H5Z_FILTER_SZIP, "SZIP"},
        {307, "bzip2"},
        {32001, "Blosc"},
        {32004, "LZ4"},
        {32008, "bitshuffle"},
        {32013, "ZFP"},
        {32015, "Zstandard"},
        {32026, "Blosc2"},
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (known[i].id == id) {
            return known[i].name;
        }
    }
    return "unknown";
}

/* Whether the filter LZF knows of whole chunks: it unpacks what its parameters say. */
static bool is_whole(hid_t list, unsigned filter, size_t item_bytes)
{
    unsigned  flags = 0, values[PQ_H5_LZF_VALUES] = {0};
    size_t    n = PQ_H5_LZF_VALUES, bytes = item_bytes;
    hsize_t   dims[H5S_MAX_RANK];
    const int rank = H5Pget_chunk(list, H5S_MAX_RANK, dims);

    if (rank <= 0 ||
        H5Pget_filter2(list, filter, &flags, &n, values, 0, NULL, NULL) < 0) {
        return false;
    }
    for (int i = 0; i < rank; i++) {
        bytes = dims[i] <= UINT32_MAX / (bytes > 0 ? bytes : 1) ? bytes * dims[i]
                                                                : (size_t)UINT32_MAX + 1;
    }
    return n >= PQ_H5_LZF_VALUES && values[2] >= bytes;
}

static pq_status check_filters(const pq_h5 *file, const char *path, hid_t list,
                               size_t item_bytes, pq_err *err)
{
    const int n = H5Pget_nfilters(list);
    pq_status st;

    PQ_CHECK(n >= 0, PQ_ERR_FORMAT, "%s: %s: its filters cannot be read", file->path,
             path);
    for (int i = 0; i < n; i++) {
        unsigned           flags = 0;
        size_t             none  = 0;
        const H5Z_filter_t id =
            H5Pget_filter2(list, (unsigned)i, &flags, &none, NULL, 0, NULL, NULL);
        if (id == PQ_H5_LZF) {
            PQ_CHECK(is_whole(list, (unsigned)i, item_bytes), PQ_ERR_FORMAT,
                     "%s: %s: its filter LZF does not say the bytes of a chunk",
                     file->path, path);
            pq_h5_add_lzf();
        }
        if (id >= 0 && H5Zfilter_avail(id) <= 0) {
            st =
                pq_err_set(err, PQ_ERR_UNSUPPORTED, __FILE__, __LINE__,
                           "%s: %s is compressed with filter %d (%s), which this libhdf5 "
                           "does not have",
                           file->path, path, (int)id, filter_name(id));
            pq_err_hint(err,
                        "install the filter's HDF5 plugin and set HDF5_PLUGIN_PATH, or "
                        "where it is installed repack once: h5repack -f GZIP=4 IN OUT");
            return st;
        }
    }
cleanup:
    return st;
}

/* Memory that chunks may take: a process that only reads has a limit of its own. */
static size_t most_cache(const pq_h5 *file)
{
    hsize_t bytes = 0;

    (void)H5Fget_filesize(file->id, &bytes);
    return file->temporary != NULL ? MAX_CACHE_BYTES
                                   : pq_h5_budget((size_t)bytes) - RESERVED_BYTES;
}

/* Bytes of the chunks that one row crosses: to be read again, they must fit the cache. */
static size_t row_of_chunks(hid_t list, hid_t space, size_t item_bytes, size_t most)
{
    hsize_t   chunk[H5S_MAX_RANK], dim[H5S_MAX_RANK];
    size_t    bytes = item_bytes;
    const int n =
        H5Pget_layout(list) == H5D_CHUNKED ? H5Pget_chunk(list, H5S_MAX_RANK, chunk) : 0;

    (void)H5Sget_simple_extent_dims(space, dim, NULL);
    for (int i = 0; i < n && bytes <= most; i++) {
        const hsize_t across = i == 0 ? 1 : (dim[i] + chunk[i] - 1) / chunk[i];
        bytes *= (size_t)(chunk[i] * across);
    }
    return n > 0 ? bytes : 0;
}

/* Chunks that do not fit the cache would be unpacked anew for every block of rows. */
static pq_status check_chunks(const pq_h5 *file, const char *path, size_t row_bytes,
                              size_t most, pq_err *err)
{
    pq_status st = PQ_OK;

    if (file->temporary == NULL && row_bytes > most) {
        st = pq_err_set(err, PQ_ERR_UNSUPPORTED, __FILE__, __LINE__,
                        "%s: the chunks that one row of %s crosses take more than the "
                        "%zu MB that may be unpacked of a file of this size",
                        file->path, path, most >> 20);
        pq_err_hint(err, "cut them smaller once: h5repack -l %s:CHUNK=ROWSx... IN OUT",
                    path);
    }
    return st;
}

/* What a hostile or broken file may claim about a dataset. */
static pq_status check_sizes(const pq_h5 *file, const char *path, hid_t id,
                             const pq_h5_info *info, pq_err *err)
{
    const hsize_t kept  = H5Dget_storage_size(id);
    hsize_t       whole = 0;
    size_t        count = 0, bytes = 0;
    pq_status     st;

    PQ_CHECK(pq_shape_count(&info->shape, &count) &&
                 !__builtin_mul_overflow(count, info->item_bytes, &bytes),
             PQ_ERR_FORMAT, "%s: %s declares more values than any file holds", file->path,
             path);
    PQ_CHECK(file->temporary != NULL ||
                 (H5Fget_filesize(file->id, &whole) >= 0 && kept <= whole),
             PQ_ERR_FORMAT, "%s: %s claims %llu bytes of a file of %llu", file->path,
             path, (unsigned long long)kept, (unsigned long long)whole);
    PQ_CHECK(file->temporary != NULL || bytes <= FREE_BYTES ||
                 bytes / MAX_EXPANSION <= kept,
             PQ_ERR_FORMAT, "%s: %s declares %zu bytes but stores %llu", file->path, path,
             bytes, (unsigned long long)kept);
cleanup:
    return st;
}

/* What the list of a dataset's creation says; it is slow to come by. */
static pq_status check_creation(const pq_h5 *file, const char *path, hid_t id,
                                hid_t space, pq_h5_facts *out, pq_err *err)
{
    const hid_t  list = H5Dget_create_plist(id);
    const size_t most = most_cache(file);
    pq_status    st;

    PQ_CHECK(list > 0, pq_h5_status(PQ_ERR_FORMAT), "%s: %s is damaged", file->path,
             path);
    out->layout = H5Pget_layout(list);
    PQ_CHECK(out->layout != H5D_VIRTUAL && H5Pget_external_count(list) <= 0,
             PQ_ERR_UNSUPPORTED,
             "%s: %s keeps its values in other files; that is not read", file->path,
             path);
    PQ_TRY(check_filters(file, path, list, out->info.item_bytes, err));
    out->row_bytes = row_of_chunks(list, space, out->info.item_bytes, most);
    PQ_TRY(check_chunks(file, path, out->row_bytes, most, err));
cleanup:
    pq_h5_drop(list);
    return st;
}

pq_status pq_h5_check_dataset(const pq_h5 *file, const char *path, hid_t id,
                              pq_h5_facts *out, pq_err *err)
{
    const hid_t space = H5Dget_space(id), type = H5Dget_type(id);
    pq_status   st;

    *out = (pq_h5_facts){.info = {.kind = PQ_H5_OTHER}, .layout = H5D_CONTIGUOUS};
    PQ_CHECK(space > 0 && type > 0, pq_h5_status(PQ_ERR_FORMAT), "%s: %s is damaged",
             file->path, path);
    out->info.kind       = pq_h5_class_of(type);
    out->info.item_bytes = H5Tget_size(type);
    if (H5Dget_offset(id) == HADDR_UNDEF) { /* else it lies in this file, in one piece */
        PQ_TRY(check_creation(file, path, id, space, out, err));
    }
    PQ_TRY(pq_h5_shape(file, path, space, &out->info.shape, err));
    PQ_TRY(check_sizes(file, path, id, &out->info, err));
cleanup:
    pq_h5_drop(space);
    pq_h5_drop(type);
    return st;
}

/* Opens anew, with a cache that holds what one row crosses, so that rows read block by
 * block decompress each chunk once. */
static hid_t with_cache(const pq_h5 *file, const char *path, hid_t id, size_t row_bytes)
{
    const size_t most  = most_cache(file);
    const size_t cache = row_bytes < MIN_CACHE_BYTES ? MIN_CACHE_BYTES : row_bytes;
    hid_t        list;

    if (row_bytes == 0) { /* no chunks */
        return id;
    }
    pq_h5_drop(id); /* one that stays open would lend its small cache to the next */
    list = H5Pcreate(H5P_DATASET_ACCESS);
    (void)H5Pset_chunk_cache(list, 12421, cache < most ? cache : most, 1.0);
    id = H5Dopen2(file->id, path, list);
    pq_h5_drop(list);
    return id;
}

pq_status pq_h5_dataset(pq_h5 *file, const char *path, hid_t *out, pq_err *err)
{
    hid_t       id   = -1;
    char       *copy = NULL;
    H5O_info_t  info;
    pq_h5_facts facts;
    char        why[256];
    pq_status   st = PQ_OK;

    for (size_t i = 0; i < PQ_H5_KEPT; i++) {
        if (file->kept[i].path != NULL && strcmp(file->kept[i].path, path) == 0) {
            *out = file->kept[i].id;
            return PQ_OK;
        }
    }
    PQ_TRY(pq_h5_check_links(file, path, err));
    PQ_CHECK(H5Oget_info_by_name2(file->id, path, &info, H5O_INFO_BASIC, H5P_DEFAULT) >=
                 0,
             pq_h5_status(PQ_ERR_FORMAT), "%s: %s is damaged", file->path, path);
    PQ_CHECK(info.type == H5O_TYPE_DATASET, PQ_ERR_FORMAT,
             "%s: %s is a %s, not a dataset", file->path, path,
             info.type == H5O_TYPE_GROUP ? "group" : "type");
    id = H5Dopen2(file->id, path, H5P_DEFAULT);
    PQ_CHECK(id > 0, pq_h5_status(PQ_ERR_FORMAT), "%s: %s cannot be opened: %s",
             file->path, path, pq_h5_reason(why, sizeof why));
    PQ_TRY(pq_h5_check_dataset(file, path, id, &facts, err));
    id = with_cache(file, path, id, facts.row_bytes);
    PQ_CHECK(id > 0, pq_h5_status(PQ_ERR_FORMAT), "%s: %s cannot be opened: %s",
             file->path, path, pq_h5_reason(why, sizeof why));
    PQ_STRDUP(copy, path);
    file->has_lost |= !pq_h5_drop(file->kept[file->next].id);
    pq_free(file->kept[file->next].path);
    file->kept[file->next].id   = id;
    file->kept[file->next].path = copy;
    file->next                  = (file->next + 1) % PQ_H5_KEPT;
    *out                        = id;
    id                          = -1;
cleanup:
    pq_h5_drop(id);
    return st;
}
