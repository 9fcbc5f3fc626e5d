/*
 * The original five-class jets: HDF5 with the compound `t_allpar_new`, one row a
 * particle, in which the jet's quantities (j_…) repeat. A jet is the first row
 * of its kind: rows are told apart by a 64-bit hash over the 16 features and the
 * labels, as drop_duplicates does by value (a chance of 3e-8 of losing a jet of
 * a million).
 *
 * Source: github.com/nhanvtran/trackObservables; hls4ml's keras-training.
 */
#include <string.h>

#include "core/memory.h"
#include "data/layout.h"
#include "io/hdf5.h"

enum { N_HLF = 16, N_CLASSES = 5, N_COLUMNS = N_HLF + N_CLASSES, BLOCK = 65536 };

#define TABLE "t_allpar_new"

static const char *const columns[N_COLUMNS] = {"j_zlogz",
                                               "j_c1_b0_mmdt",
                                               "j_c1_b1_mmdt",
                                               "j_c1_b2_mmdt",
                                               "j_c2_b1_mmdt",
                                               "j_c2_b2_mmdt",
                                               "j_d2_b1_mmdt",
                                               "j_d2_b2_mmdt",
                                               "j_d2_a1_b1_mmdt",
                                               "j_d2_a1_b2_mmdt",
                                               "j_m2_b1_mmdt",
                                               "j_m2_b2_mmdt",
                                               "j_n2_b1_mmdt",
                                               "j_n2_b2_mmdt",
                                               "j_mass_mmdt",
                                               "j_multiplicity",
                                               "j_g",
                                               "j_q",
                                               "j_w",
                                               "j_z",
                                               "j_t"};

typedef struct {
    pq_h5    *file;
    uint32_t *rows; /* [n] first row of each jet */
    size_t    n, room;
    uint64_t *seen; /* open addressing, 0 = free */
    size_t    slots;
    float    *block; /* [BLOCK, N_COLUMNS] */
} cernbox;

static bool recognises(const char *path)
{
    pq_h5 *file = NULL;
    bool   yes;

    yes = pq_h5_is_file(path) && pq_h5_open(path, &file, NULL) == PQ_OK &&
          pq_h5_has(file, TABLE);
    pq_h5_close(&file);
    return yes;
}

/* FNV-1a with a final mix. Source: Fowler, Noll, Vo; Appleby, MurmurHash3 (fmix64). */
static uint64_t hash_row(const float *row)
{
    uint64_t h = 0xcbf29ce484222325U;

    for (size_t i = 0; i < N_COLUMNS; i++) {
        uint32_t bits;
        memcpy(&bits, &row[i], sizeof bits);
        h = (h ^ bits) * 0x100000001b3U;
        h ^= h >> 29;
    }
    h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdU;
    h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53U;
    h ^= h >> 33;
    return h == 0 ? 1 : h;
}

/* Puts a hash into the table; false when it was there. */
static bool insert(cernbox *c, uint64_t h)
{
    size_t at = (size_t)h & (c->slots - 1);

    while (c->seen[at] != 0) {
        if (c->seen[at] == h) {
            return false;
        }
        at = (at + 1) & (c->slots - 1);
    }
    c->seen[at] = h;
    return true;
}

static pq_status grow(cernbox *c, pq_err *err)
{
    uint64_t    *old   = c->seen;
    const size_t slots = c->slots;
    uint32_t    *rows;
    pq_status    st;

    c->seen = NULL;
    rows    = pq_recalloc(c->rows, c->n, c->room == 0 ? 1024 : 2 * c->room, sizeof *rows);
    PQ_CHECK(rows != NULL, PQ_ERR_NOMEM, "cannot allocate the rows of jets");
    c->rows = rows;
    c->room = c->room == 0 ? 1024 : 2 * c->room;
    PQ_NEW(c->seen, 4 * c->room);
    c->slots = 4 * c->room;
    for (size_t i = 0; i < slots; i++) {
        if (old[i] != 0) {
            (void)insert(c, old[i]);
        }
    }
cleanup:
    pq_free(old);
    return st;
}

static pq_status read_block(cernbox *c, pq_rows rows, pq_err *err)
{
    return pq_h5_read_columns(c->file, TABLE, rows, columns, N_COLUMNS, PQ_DTYPE_F32,
                              c->block, err);
}

static pq_status find_jets(pq_source *s, size_t total, pq_err *err)
{
    cernbox  *c = s->state;
    pq_status st;

    PQ_CHECK(total > 0 && total <= UINT32_MAX, PQ_ERR_FORMAT,
             "%s: " TABLE " has %zu rows, not 1..%u", s->path, total, UINT32_MAX);
    for (size_t first = 0; first < total; first += BLOCK) {
        const size_t n = total - first < BLOCK ? total - first : BLOCK;
        PQ_TRY(read_block(c, (pq_rows){first, n}, err));
        for (size_t i = 0; i < n; i++) {
            if (c->n == c->room) {
                PQ_TRY(grow(c, err));
            }
            if (insert(c, hash_row(c->block + i * N_COLUMNS))) {
                c->rows[c->n++] = (uint32_t)(first + i);
            }
        }
    }
    pq_free(c->seen);
    c->seen = NULL;
cleanup:
    return st;
}

static pq_status open_cernbox(pq_source *s, const pq_dataset_options *options,
                              pq_err *err)
{
    static const char *const classes[N_CLASSES] = {"g", "q", "w", "z", "t"};
    const char              *names[N_HLF];
    cernbox                 *c = NULL;
    pq_h5_info               info;
    pq_status                st;

    (void)options;
    PQ_NEW(c, 1);
    s->state = c;
    PQ_NEW(c->block, (size_t)BLOCK * N_COLUMNS);
    PQ_TRY(pq_h5_open(s->path, &c->file, err));
    PQ_TRY(pq_h5_describe(c->file, TABLE, &info, err));
    PQ_CHECK(info.shape.ndim == 1, PQ_ERR_SHAPE,
             "%s: " TABLE " has %zu dimensions, not 1", s->path, info.shape.ndim);
    PQ_TRY(find_jets(s, info.shape.dim[0], err));
    for (size_t i = 0; i < N_HLF; i++) {
        names[i] = columns[i] + 2; /* without j_ */
    }
    s->sample     = PQ_SHAPE(N_HLF);
    s->n_features = N_HLF;
    PQ_TRY(pq_texts_copy(names, N_HLF, &s->feature_names, err));
    PQ_TRY(pq_texts_copy(classes, N_CLASSES, &s->class_names, err));
    s->n_classes = N_CLASSES;
    PQ_TRY(pq_source_add_split(s, "", c->n, err));
cleanup:
    return st;
}

static void fill(const float *row, size_t i, const pq_raw *out)
{
    double label = -1.0;

    for (size_t k = 0; k < N_CLASSES; k++) {
        if (row[N_HLF + k] != 0.0F) {
            label = label < 0.0 ? (double)k : -2.0; /* two classes: none */
        }
    }
    if (out->x != NULL) {
        memcpy(out->x + i * N_HLF, row, N_HLF * sizeof *row);
    }
    if (out->y != NULL) {
        out->y[i] = label;
    }
    if (out->weight != NULL) {
        out->weight[i] = 1.0F;
    }
}

static pq_status read_events(pq_source *s, size_t split, size_t first, size_t n,
                             const pq_raw *out, pq_err *err)
{
    cernbox        *c    = s->state;
    const uint32_t *rows = c->rows + first;
    pq_status       st   = PQ_OK;

    (void)split;
    for (size_t i = 0; i < n;) {
        const size_t from = rows[i];
        size_t       end  = i;
        while (end < n && rows[end] - from < BLOCK) {
            end++;
        }
        PQ_TRY(read_block(c, (pq_rows){from, rows[end - 1] - from + 1}, err));
        for (; i < end; i++) {
            fill(c->block + (rows[i] - from) * N_COLUMNS, i, out);
        }
    }
cleanup:
    return st;
}

static void close_cernbox(pq_source *s)
{
    cernbox *c = s->state;

    if (c != NULL) {
        pq_h5_close(&c->file);
        pq_free(c->rows);
        pq_free(c->seen);
        pq_free(c->block);
        pq_free(c);
    }
}

const pq_layout pq_layout_cernbox = {
    .name       = "cernbox",
    .summary    = "original five-class jets, one row a particle: t_allpar_new",
    .recognises = recognises,
    .open       = open_cernbox,
    .read       = read_events,
    .close      = close_cernbox,
};
