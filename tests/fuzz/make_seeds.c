/* Writes first inputs for the fuzz targets: make_seeds FOLDER. */
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "formats/model.h"
#include "io/hdf5.h"

static const char yaml[] =
    "schema: pquant/1\nlist: [1, 2, {a: 'b'}]\nmap:\n  x: \"y\\n\"\n  z: |\n"
    "    text\n";

static const char arch[] =
    "{\"class_name\":\"Functional\",\"config\":{\"layers\":[{\"class_name\":"
    "\"InputLayer\","
    "\"name\":\"in\",\"config\":{\"name\":\"in\",\"batch_input_shape\":[null,4,4,2]},"
    "\"inbound_nodes\":[]},{\"class_name\":\"Conv2D\",\"name\":\"c\",\"config\":{"
    "\"name\":\"c\","
    "\"filters\":4,\"kernel_size\":[3,3],\"strides\":[1,1],\"padding\":\"same\","
    "\"activation\":"
    "\"relu\"},\"inbound_nodes\":[[[\"in\",0,0,{}]]]},{\"class_name\":"
    "\"GlobalAveragePooling2D\","
    "\"name\":\"g\",\"config\":{\"name\":\"g\"},\"inbound_nodes\":[[[\"c\",0,0,{}]]]}],"
    "\"output_layers\":[[\"g\",0,0]]}}";

static const char csv[] = "pt,eta,class\n1.5,-2,b\n2,0.5,c\n";
static const char arff[] =
    "@relation r\n@attribute 'a b' real\n@attribute class {g,q}\n@data\n1,g\n";

/* {"w": tensor [2]} of storage "a", as torch.save pickles it. */
#define OBJECT                                                                           \
    "\x80\x02}X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storage"           \
    "ctorch\nFloatStorage\nX\1\0\0\0aX\3\0\0\0cpuJ\2\0\0\0tQK\0(J\2\0\0\0t(J\1\0\0\0"    \
    "t\x89"                                                                              \
    "ccollections\nOrderedDict\n)RtRs."
enum { OBJECT_BYTES = sizeof OBJECT - 1 };

/* Magic number, protocol 1001, machine, object, keys; then each storage. */
static const char legacy[] =
    "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
    "\x80\x02M\xe9\x03."
    "\x80\x02}(X\x0d\0\0\0little_endian\x88u." OBJECT "\x80\x02](X\1\0\0\0"
    "ae.\2\0\0\0\0\0\0\0\0\0\x80\x3f\0\0\0\x40";

/* Two stored entries and their directory, as one record after the other. */
typedef struct {
    uint8_t bytes[1024];
    size_t  n;
} writer;

static void put(writer *w, const void *bytes, size_t n)
{
    memcpy(w->bytes + w->n, bytes, n);
    w->n += n;
}

static void number(writer *w, uint64_t value, size_t bytes)
{
    put(w, &value, bytes); /* little-endian, as this machine */
}

static void zip_seed(writer *w)
{
    static const char *const names[] = {"m/data.pkl", "m/data/a"};
    static const char        data[]  = "\0\0\x80\x3f\0\0\0\x40";
    const size_t             sizes[] = {OBJECT_BYTES, 8};
    size_t                   at[2], directory;

    for (size_t i = 0; i < 2; i++) {
        at[i] = w->n;
        put(w, "PK\3\4", 4);
        for (size_t zero = 0; zero < 22; zero += 2) {
            number(w, 0, 2); /* stands in the directory */
        }
        number(w, strlen(names[i]), 2);
        number(w, 0, 2);
        put(w, names[i], strlen(names[i]));
        put(w, i == 0 ? OBJECT : data, sizes[i]);
    }
    directory = w->n;
    for (size_t i = 0; i < 2; i++) {
        put(w, "PK\1\2\0\0\0\0\0\0\0\0\0\0\0", 16);
        number(w, 0, 4); /* the checksum, which a fuzzing build does not look at */
        number(w, sizes[i], 4);
        number(w, sizes[i], 4);
        number(w, strlen(names[i]), 2);
        number(w, 0, 8);
        number(w, 0, 4);
        number(w, at[i], 4);
        put(w, names[i], strlen(names[i]));
    }
    put(w, "PK\5\6\0\0\0", 8);
    number(w, 2, 2);
    number(w, 2, 2);
    number(w, w->n - 12 - directory, 4);
    number(w, directory, 4);
    number(w, 0, 2);
}

/* Both containers of PyTorch. */
static pq_status write_torch(const char *folder, pq_err *err)
{
    char     *zip = pq_path_join(folder, "a.pt"), *old = pq_path_join(folder, "a.th");
    writer    w = {{0}, 0};
    pq_status st;

    zip_seed(&w);
    PQ_TRY(pq_folder_make(folder, err));
    PQ_TRY(pq_file_write(zip, w.bytes, w.n, err));
    PQ_TRY(pq_file_write(old, legacy, sizeof legacy - 1, err));
cleanup:
    pq_free(zip);
    pq_free(old);
    return st;
}

static pq_status add_dense(pq_graph *g, const char *name, const char *input, pq_err *err)
{
    pq_layer  *layer = NULL;
    pq_tensor *t     = NULL;
    pq_status  st;

    PQ_TRY(pq_layer_create("dense", &layer, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(3, 3), &t, err));
    st = pq_layer_add_weight(layer, "kernel", t, err);
    if (st == PQ_OK) {
        st    = pq_graph_add(g, name, layer, 1, &input, err);
        layer = NULL;
    }
cleanup:
    pq_layer_free(&layer);
    return st;
}

/* One float32 and one quantized, pruned layer. */
static pq_status write_model(const char *path, pq_err *err)
{
    pq_graph  *g     = NULL;
    pq_layer  *input = NULL, *taken;
    pq_weight *w;
    pq_status  st;

    PQ_TRY(pq_graph_create(&g, err));
    PQ_TRY(pq_layer_create("input", &input, err));
    PQ_TRY(pq_layer_set(input, "shape", "3", err));
    taken = input;
    input = NULL;
    PQ_TRY(pq_graph_add(g, "in", taken, 0, NULL, err));
    PQ_TRY(add_dense(g, "a", "in", err));
    PQ_TRY(add_dense(g, "b", "a", err));
    w = pq_layer_weight(g->nodes[2].layer, "kernel");
    PQ_TRY(pq_quant_create(PQ_QUANT_INTEGER, 8, true, true, 0, 3, &w->quant, err));
    for (size_t i = 0; i < 3; i++) {
        w->quant->scale[i] = 0.5F;
    }
    PQ_TRY(pq_weight_prune_zeros(w, err));
    w->pruned[0] = 0x55; /* the other zeros are rounded ones */
    PQ_TRY(pq_model_save(g, path, err));
cleanup:
    pq_layer_free(&input);
    pq_graph_free(&g);
    return st;
}

/* Bytes behind the one that chooses the layout: see fuzz_events.c. */
static pq_status write_chosen(const char *folder, const char *name, char choice,
                              const void *bytes, size_t n, pq_err *err)
{
    char     *path = pq_path_join(folder, name);
    char     *all  = NULL;
    pq_status st;

    PQ_NEW(all, n + 1);
    all[0] = choice;
    memcpy(all + 1, bytes, n);
    PQ_TRY(pq_file_write(path, all, n + 1, err));
cleanup:
    pq_free(path);
    pq_free(all);
    return st;
}

/* A dataset of our own: all HDF5 layouts start from its bytes. */
static pq_status write_own(const char *folder, pq_err *err)
{
    static const char *const names[] = {"a", "b"};
    char                    *path = pq_path_join(folder, "own.tmp"), *bytes = NULL;
    pq_tensor               *x = NULL, *y = NULL;
    pq_h5                   *file = NULL;
    size_t                   n    = 0;
    pq_status                st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(4, 2), &x, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_U8, PQ_SHAPE(4), &y, err));
    PQ_TRY(pq_h5_create(path, &file, err));
    PQ_TRY(pq_h5_write(file, "/train/x", x, 0, err));
    PQ_TRY(pq_h5_write(file, "/train/y", y, 0, err));
    PQ_TRY(pq_h5_write(file, "/train/aux/event", y, 0, err));
    PQ_TRY(pq_h5_set_texts(file, "/", "class_names", names, 2, err));
    PQ_TRY(pq_h5_set_text(file, "/", "format", "pquant-dataset", err));
    PQ_TRY(pq_h5_commit(&file, err));
    PQ_TRY(pq_file_read(path, 1 << 20, &bytes, &n, err));
    PQ_TRY(write_chosen(folder, "own", 1, bytes, n, err));
    (void)remove(path);
cleanup:
    pq_h5_close(&file);
    pq_tensor_free(&x);
    pq_tensor_free(&y);
    pq_free(bytes);
    pq_free(path);
    return st;
}

static pq_status write_events(const char *folder, pq_err *err)
{
    static const char guest[] = "[1.0,2.0,5,[1,2,3,4,5,6,7,NaN],[1,2,3,4,5,-Infinity]]\n"
                                "[1.0,2.0,0,[1,2,3,4,5,6,7,8],[1,2,3,4,5,6]]\n";
    /* Ten bytes of labels; two pictures of one pixel; two labels. */
    static const char idx[]       = "\x0a"
                                    "\0\0\x08\x03\0\0\0\2\0\0\0\1\0\0\0\1\x10\x20"
                                    "\0\0\x08\x01\0\0\0\2\1\0";
    static const char cifar[3073] = {7};
    pq_status         st;

    PQ_TRY(pq_folder_make(folder, err));
    PQ_TRY(write_chosen(folder, "guest", 4, guest, sizeof guest - 1, err));
    PQ_TRY(write_chosen(folder, "idx", 7, idx, sizeof idx - 1, err));
    PQ_TRY(write_chosen(folder, "cifar", 2, cifar, sizeof cifar, err));
    PQ_TRY(write_chosen(folder, "csv", 8, csv, sizeof csv - 1, err));
    PQ_TRY(write_chosen(folder, "arff", 9, arff, sizeof arff - 1, err));
    PQ_TRY(write_own(folder, err));
cleanup:
    return st;
}

static pq_status write_seed(const char *folder, const char *name, const char *text,
                            pq_err *err)
{
    char     *path = pq_path_join(folder, name);
    pq_status st   = pq_folder_make(folder, err);

    if (st == PQ_OK) {
        st = text != NULL ? pq_file_write(path, text, strlen(text), err)
                          : write_model(path, err);
    }
    pq_free(path);
    return st;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *folder, *name, *text;
    } seeds[] = {
        {"yaml", "a.yaml", yaml}, {"keras", "a.json", arch}, {"model", "a.h5", NULL}};
    pq_err err = {0};

    for (size_t i = 0; argc == 2 && i < sizeof seeds / sizeof *seeds; i++) {
        char *folder = pq_path_join(argv[1], seeds[i].folder);
        (void)write_seed(folder, seeds[i].name, seeds[i].text, &err);
        pq_free(folder);
    }
    if (argc == 2) {
        char *folder = pq_path_join(argv[1], "torch");
        (void)write_torch(folder, &err);
        pq_free(folder);
        folder = pq_path_join(argv[1], "events");
        (void)write_events(folder, &err);
        pq_free(folder);
    }
    if (argc != 2 || err.code != PQ_OK) {
        (void)fprintf(stderr, "make_seeds FOLDER: %s\n", err.message);
        return 1;
    }
    return 0;
}
