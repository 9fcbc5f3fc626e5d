/* Arrays without their network: what is written is read again, and damage is told. */
#include "run.h"

#include <math.h>

#include "core/file.h"
#include "core/memory.h"
#include "formats/model.h"
#include "formats/state.h"
#include "formats/zoo.h"
#include "io/zip.h"

static const pq_model_format *format(const char *name)
{
    for (size_t i = 0; pq_formats[i] != NULL; i++) {
        if (strcmp(pq_formats[i]->name, name) == 0) {
            return pq_formats[i];
        }
    }
    cr_assert_fail("no format %s", name);
    return NULL;
}

Test(state, nets_of_the_zoo_come_back_from_arrays, .init = setup, .fini = teardown)
{
    static const char *const nets[]    = {"jsc-mlp", "btag-mlp", "dips",
                                          "resnet8", "resnet20", "garipov-conv"};
    static const char *const formats[] = {"safetensors", "npz"};

    for (size_t k = 0; k < sizeof nets / sizeof *nets; k++) {
        for (size_t f = 0; f < 2; f++) {
            pq_graph *g = NULL, *again = NULL;
            OK(pq_zoo_build(nets[k], 3, &g, err));
            OK(format(formats[f])->save(g, path, err));
            cr_assert(format(formats[f])->recognises(path));
            OK(pq_model_load(path, nets[k], &again, err));
            for (size_t i = 0; i < g->n_nodes; i++) {
                const pq_layer *a = g->nodes[i].layer, *b = again->nodes[i].layer;
                for (size_t w = 0; w < a->n_weights; w++) {
                    cr_expect_eq(
                        memcmp(a->weights[w].value->data, b->weights[w].value->data,
                               a->weights[w].value->count * sizeof(float)),
                        0, "%s in %s: layer %s", nets[k], formats[f], g->nodes[i].name);
                }
            }
            pq_graph_free(&g);
            pq_graph_free(&again);
        }
    }
}

Test(state, a_scaler_goes_along_and_grids_are_refused, .init = setup, .fini = teardown)
{
    static const char *const formats[] = {"safetensors", "npz"};

    for (size_t f = 0; f < 2; f++) {
        pq_graph *g = NULL, *again = NULL;
        pq_err    why = {0};
        OK(pq_zoo_build("jsc-mlp", 3, &g, err));
        OK(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(16), &g->scaler_mean, err));
        OK(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(16), &g->scaler_std, err));
        for (size_t i = 0; i < 16; i++) {
            pq_f32(g->scaler_mean)[i] = (float)i;
            pq_f32(g->scaler_std)[i]  = (float)(i + 1);
        }
        OK(format(formats[f])->save(g, path, err));
        OK(pq_model_load(path, "jsc-mlp", &again, err));
        cr_assert_not_null(again->scaler_std);
        cr_expect_eq(memcmp(again->scaler_std->data, g->scaler_std->data, 64), 0);
        cr_expect_eq(memcmp(again->scaler_mean->data, g->scaler_mean->data, 64), 0);
        OK(pq_quant_create(PQ_QUANT_INTEGER, 8, true, true, -1, 1, &g->nodes[2].quant,
                           err));
        pq_quant_set_range(g->nodes[2].quant, 0, -1.0, 1.0, true);
        cr_expect_eq(remove(path), 0);
        cr_expect_eq(format(formats[f])->save(g, path, &why), PQ_ERR_UNSUPPORTED);
        cr_expect_not_null(strstr(why.message, "its values lie on a grid"));
        cr_expect_not(pq_file_exists(path));
        pq_graph_free(&g);
        pq_graph_free(&again);
    }
}

/* Writes a header and so many bytes behind it. */
static void write_safetensors(const char *header, size_t length, size_t bytes)
{
    FILE *f = fopen(path, "wb");

    cr_assert_not_null(f);
    for (size_t i = 0; i < 8; i++) {
        cr_assert_neq(fputc((int)(length >> 8 * i & 255), f), EOF);
    }
    cr_assert_geq(fputs(header, f), 0);
    for (size_t i = 0; i < bytes; i++) {
        cr_assert_neq(fputc(0, f), EOF);
    }
    cr_assert_eq(fclose(f), 0);
}

#define A(shape, from, to)                                                               \
    "{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" from "," to "]}"

static const struct {
    const char *header;
    size_t      bytes;
    const char *message;
} damaged[] = {
    {"{\"a\":" A("[2]", "0", "8") "}", 8, "there is no network 'none' in the zoo"},
    {"{\"a\":" A("[2]", "0", "8") ",\"a\":" A("[2]", "0", "8") "}", 8,
     "the header is no JSON: duplicate object key"},
    {"{\"a\":" A("[2]", "0", "8") "}", 7,
     "array 'a': 'data_offsets' do not lie in the file's 7 bytes of arrays"},
    {"{\"a\":" A("[2]", "0", "8") "}", 9, "1 bytes belong to no array"},
    {"{\"a\":" A("[2]", "1", "9") "}", 9,
     "an array begins at byte 1, where byte 0 is the next"},
    {"{\"a\":" A("[2]", "0", "8") ",\"b\":" A("[1]", "4", "8") "}", 8,
     "an array begins at byte 4, where byte 8 is the next"},
    {"{\"a\":" A("[3]", "0", "8") "}", 8,
     "array 'a': its shape and type do not take the 8 bytes it has"},
    {"{\"a\":" A("[4294967296, 4294967296, 4294967296]", "0", "8") "}", 8,
     "array 'a': its shape and type do not take"},
    {"{\"a\":" A("[0]", "0", "0") "}", 0,
     "array 'a': size 0 of 'shape' is no number above 0"},
    {"{\"a\":" A("[-1]", "0", "8") "}", 8,
     "array 'a': size 0 of 'shape' is no number above 0"},
    {"{\"a\":" A("7", "0", "8") "}", 8, "array 'a': 'shape' is no list"},
    {"{\"a\":" A("[2]", "8", "0") "}", 8, "array 'a': 'data_offsets' do not lie"},
    {"{\"a\":" A("[2]", "-8", "0") "}", 8, "array 'a': 'data_offsets' do not lie"},
    {"{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[8],\"data_offsets\":[0,8]}}", 8,
     "array 'a': dtype 'F8_E4M3' is not read"},
    {"{\"a\":7}", 0, "array 'a': dtype '' is not read"},
    {"[]", 0, "is not a model in a known format"},
    {"{\"\":" A("[2]", "0", "8") "}", 8, "array 0 has no proper name"},
    {"{}", 0, "holds no tensors"},
};

Test(state, damage_of_safetensors_is_one_sentence, .init = setup, .fini = teardown)
{
    for (size_t k = 0; k < sizeof damaged / sizeof *damaged; k++) {
        pq_graph *g   = NULL;
        pq_err    err = {0};
        write_safetensors(damaged[k].header, strlen(damaged[k].header), damaged[k].bytes);
        cr_expect_neq(pq_model_load(path, "none", &g, &err), PQ_OK, "case %zu", k);
        cr_expect_not_null(strstr(err.message, damaged[k].message), "case %zu: %s", k,
                           err.message);
    }
    write_safetensors("{", (size_t)1 << 40, 0);
    cr_expect_not(format("safetensors")->recognises(path));
}

/* An .npz of one array "a.weight" with this dict and so many bytes behind it. */
static void write_npz(const char *dict, size_t bytes)
{
    char         array[512] = "\x93NUMPY\x01";
    const size_t n          = strlen(dict);

    array[7] = 0;
    array[8] = (char)n;
    array[9] = 0;
    memcpy(array + 10, dict, n);
    memset(array + 10 + n, 0, bytes);
    OK(pq_zip_write(path, (const pq_zip_part[]){{"a.weight.npy", array, 10 + n + bytes}},
                    1, err));
}

static const struct {
    const char *dict;
    size_t      bytes;
    const char *message;
} arrays[] = {
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 8,
     "there is no network 'none' in the zoo"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", 8,
     "'a.weight.npy': its shape and type do not take the 8 bytes it has"},
    {"{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", 8,
     "'a.weight.npy': its items are objects of Python, which are not executed"},
    {"{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }", 8,
     "'a.weight.npy': descr '>f4'"},
    {"{'descr': '<f4', 'fortran_order': Maybe, 'shape': (2,), }", 8,
     "'a.weight.npy': the header tells no order"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (0,), }", 0,
     "'a.weight.npy': shape (0,) is none of at most"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }", 8,
     "'a.weight.npy': shape (-2,) is none of at most"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", 8,
     "'a.weight.npy': shape (99999999999999999999,) is none of at most"},
    {"{'descr': '<f4', 'fortran_order': False}", 8,
     "'a.weight.npy': the header tells no shape"},
};

Test(state, damage_of_npz_is_one_sentence, .init = setup, .fini = teardown)
{
    for (size_t k = 0; k < sizeof arrays / sizeof *arrays; k++) {
        pq_graph *g   = NULL;
        pq_err    err = {0};
        write_npz(arrays[k].dict, arrays[k].bytes);
        cr_expect_neq(pq_model_load(path, "none", &g, &err), PQ_OK, "case %zu", k);
        cr_expect_not_null(strstr(err.message, arrays[k].message), "case %zu: %s", k,
                           err.message);
    }
}

/* Whoever wants no message gives no place for one: a refusal is one all the same. */
Test(state, layers_in_yaml_are_refused_without_a_message_too, .init = setup,
     .fini = teardown)
{
    static const char *const layers[] = {
        "schema: pquant-layers/1\ninput: [16]\nlayers:\n  - relu: {of: nobody}\n",
        "schema: pquant-layers/1\ninput: [16]\nlayers:\n  - nothing\n",
        "schema: pquant-layers/1\ninput: [16]\nlayers:\n  - dense: {from: x}\n",
        "schema: pquant-layers/1\ninput: [16]\nlayers:\n  - relu: {of: [[]]}\n",
        "schema: pquant-layers/2\n",
    };
    pq_graph *g = NULL, *net = NULL;
    char      yaml[200];

    (void)snprintf(yaml, sizeof yaml, "%s.yaml", path);
    OK(pq_zoo_build("jsc-mlp", 3, &g, err));
    OK(format("npz")->save(g, path, err));
    for (size_t k = 0; k < sizeof layers / sizeof *layers; k++) {
        OK(pq_file_write(yaml, layers[k], strlen(layers[k]), err));
        cr_expect_neq(pq_model_load(path, yaml, &net, NULL), PQ_OK, "case %zu", k);
    }
    pq_graph_free(&g);
}

/* What would be passed over, or guessed, is said with its place. */
Test(state, layers_in_yaml_that_would_be_guessed_are_refused, .init = setup,
     .fini = teardown)
{
    static const struct {
        const char *layers, *message;
    } cases[] = {
        {"dense", ":4:5: dense needs 'from'"},
        {"dense: {from: [a]}", ":4:19: 'from' is no text"},
        {"relu: {name: {}}", ":4:18: 'name' is no text"},
        {"dense: {from: fc1}\n  - dense: {from: fc1, name: b}",
         ":5:5: the arrays of module 'fc1' belong to a layer before already"},
        {"slice: {from: 2, to: 99}",
         ":4:5: layer 'slice': features 2 to 99 are not a part"},
        {"batch_norm: {from: bn}", ":4:5: batch_norm needs 'epsilon'"},
        {"dense: {from: fc1}\n  - relu: {name: a}\n  - relu: {of: fc1}",
         ":5:5: no layer reads 'a'"},
        {"max_pool: {pad_top: 1}",
         ":4:16: max_pool: 'pad_top' needs 'padding: explicit'"},
        {"max_pool: {padding: same, pad_top: 1}",
         ":4:31: max_pool: 'pad_top' needs 'padding: explicit', and padding is same"},
    };
    pq_graph *g = NULL, *net = NULL;
    char      yaml[200], text[500];

    (void)snprintf(yaml, sizeof yaml, "%s.yaml", path);
    OK(pq_zoo_build("jsc-mlp", 3, &g, err));
    OK(format("npz")->save(g, path, err));
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        pq_err why = {0};
        (void)snprintf(text, sizeof text,
                       "schema: pquant-layers/1\ninput: [16]\nlayers:\n  - %s\n",
                       cases[k].layers);
        OK(pq_file_write(yaml, text, strlen(text), err));
        cr_expect_neq(pq_model_load(path, yaml, &net, &why), PQ_OK, "case %zu", k);
        cr_expect_not_null(strstr(why.message, cases[k].message), "case %zu: %s", k,
                           why.message);
    }
    pq_graph_free(&g);
}

static void write_bytes(const char *bytes, size_t n)
{
    OK(pq_file_write(path, bytes, n, err));
}

#define BYTES(text) text, sizeof(text) - 1
/* {"fc": {"kernel": <[shape, type, bytes]>}} in msgpack. */
#define TREE(leaf)                                                                       \
    "\x81\xa2"                                                                           \
    "fc\x81\xa6kernel" leaf
#define ONES "\x00\x00\x80\x3f\x00\x00\x80\x3f"

Test(state, trees_of_flax_are_read_or_refused_by_name, .init = setup, .fini = teardown)
{
    static const struct {
        const char *bytes;
        size_t      n;
        const char *message; /* NULL: read */
    } cases[] = {
        {BYTES(TREE("\xc7\x16\x01\x93\x92\x02\x01\xa7"
                    "float32\xc4\x08" ONES)),
         NULL},
        {BYTES("\x82\xa4step\x05\xa6params" TREE("\xc7\x16\x01\x93\x92\x02\x01\xa7"
                                                 "float32\xc4\x08" ONES)),
         NULL},
        {BYTES(TREE("\xc7\x16\x01\x93\x92\x02\x01\xa7"
                    "float32\xc4\x08" ONES) "\xc0"),
         "1 bytes stand behind the tree"},
        {BYTES(TREE("\xc7\x16\x01\x93\x92\x02\x01\xa7"
                    "float32\xc4\x08\x00")),
         "ends within a value of 22 bytes"},
        {BYTES(TREE("\xc7\x16\x01\x93\x92\x02\x02\xa7"
                    "float32\xc4\x08" ONES)),
         "'fc/kernel': its shape and type do not take the 8 bytes it has"},
        {BYTES(TREE("\xc7\x16\x01\x93\x92\x02\x00\xa7"
                    "float32\xc4\x08" ONES)),
         "'fc/kernel': size 1 of its shape is no number above 0"},
        {BYTES(TREE("\xc7\x16\x01\x93\x92\x02\x01\xa7"
                    "float31\xc4\x08" ONES)),
         "'fc/kernel': dtype 'float31' is not read"},
        {BYTES(TREE("\xc7\x16\x01\x93\x92\x02\x01\xa7"
                    "float32\xd9\x08" ONES)),
         "'fc/kernel': its values are no bytes"},
        {BYTES(TREE("\xc7\x01\x03\x00")), "'fc/kernel': is no array"},
        {BYTES(TREE("\x05")), "'fc/kernel': is no array"},
        {BYTES("\x81\xa2"
               "fc\x81\x05\x05"),
         "key 0 of 'fc' is no text"},
        {BYTES("\x81\xa2"
               "fc\x81\xb9__msgpack_chunked_array__\xc3"),
         "'fc' is in pieces, as arrays above 1 GB are"},
        {BYTES("\x81\xa2"
               "fc\xc1"),
         "holds byte 0xc1, which begins no value"},
        {BYTES("\x81\xa2"
               "fc\xdf\xff\xff\xff\xff"),
         "ends within a value"},
    };
    static const char layers[] =
        "schema: pquant-layers/1\ninput: [2]\nlayers:\n  - dense: {from: fc}\n";
    char yaml[200];

    (void)snprintf(yaml, sizeof yaml, "%s.yaml", path);
    OK(pq_file_write(yaml, layers, strlen(layers), err));
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        pq_graph *g   = NULL;
        pq_err    why = {0};
        write_bytes(cases[k].bytes, cases[k].n);
        cr_expect_eq(pq_model_load(path, yaml, &g, &why) == PQ_OK,
                     cases[k].message == NULL, "case %zu: %s", k, why.message);
        cr_expect(cases[k].message == NULL ||
                      strstr(why.message, cases[k].message) != NULL,
                  "case %zu: %s", k, why.message);
        if (g != NULL) {
            cr_expect_eq(pq_f32(g->nodes[1].layer->weights[0].value)[1], 1.0F);
        }
        pq_graph_free(&g);
    }
}

/* Where item i of an array goes whose last axis becomes the first, one by one. */
static size_t turned_place(const pq_shape *shape, size_t i)
{
    const size_t last = shape->dim[shape->ndim - 1];
    size_t       count;

    (void)pq_shape_count(shape, &count);
    return i % last * (count / last) + i / last;
}

Test(state, pieces_of_an_array_go_where_its_items_go_one_by_one)
{
    const pq_shape      shapes[] = {PQ_SHAPE(1, 7),        PQ_SHAPE(17, 1),
                                    PQ_SHAPE(40, 33),      PQ_SHAPE(16, 64),
                                    PQ_SHAPE(3, 3, 5, 17), PQ_SHAPE(2, 3, 9)};
    static const size_t pieces[] = {1, 5, 33, 66, 100, 528, 100000};
    static float        items[4000];

    for (size_t i = 0; i < 4000; i++) {
        items[i] = (float)i;
    }
    for (size_t c = 0; c < sizeof shapes / sizeof *shapes; c++) {
        const size_t ndim = shapes[c].ndim;
        size_t       axes[PQ_MAX_DIMS];
        for (size_t d = 0; d < ndim; d++) {
            axes[d] = (d + ndim - 1) % ndim;
        }
        for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++) {
            pq_state_fill f = {0};
            cr_assert_eq(pq_state_fill_start(PQ_DTYPE_F32, &shapes[c], axes, &f, NULL),
                         PQ_OK);
            for (size_t at = 0; at < f.to->count; at += pieces[p]) {
                const size_t left = f.to->count - at;
                pq_state_fill_put(&f, items + at, left < pieces[p] ? left : pieces[p]);
            }
            for (size_t i = 0; i < f.to->count; i++) {
                cr_assert_eq(pq_f32(f.to)[turned_place(&shapes[c], i)], items[i],
                             "shape %zu, pieces of %zu, item %zu", c, pieces[p], i);
            }
            pq_tensor_free(&f.to);
        }
    }
}
