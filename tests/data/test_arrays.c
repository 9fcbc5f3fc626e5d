/* Arrays by their names: every type of NumPy in both orders, any rows; who is x and y. */
#include "data/arrays.h"

#include "data/files.h"
#include "io/zip.h"

TestSuite(arrays, .init = setup, .fini = teardown);

enum { ROWS = 7, A = 2, B = 3, EACH = A * B, ITEMS = ROWS * EACH };

/* Items as they stand in a file; the value of each is its number, at most 41. */
#define FILL(type)                                                                       \
    for (size_t i = 0; i < ITEMS; i++) {                                                 \
        const type v = (type)value[i];                                                   \
        memcpy(out + i * sizeof v, &v, sizeof v);                                        \
    }                                                                                    \
    return sizeof(type)

static size_t fill(const char *descr, const size_t *value, char *out)
{
    if (strcmp(descr, "f2") == 0) {
        for (size_t i = 0; i < ITEMS; i++) {
            const uint16_t v = pq_f16_from_f32((float)value[i]);
            memcpy(out + i * sizeof v, &v, sizeof v);
        }
        return 2;
    }
    switch (descr[0] << 8 | descr[1]) {
    case 'f' << 8 | '4':
        FILL(float);
    case 'f' << 8 | '8':
        FILL(double);
    case 'i' << 8 | '1':
        FILL(int8_t);
    case 'u' << 8 | '1':
        FILL(uint8_t);
    case 'i' << 8 | '2':
        FILL(int16_t);
    case 'u' << 8 | '2':
        FILL(uint16_t);
    case 'i' << 8 | '4':
        FILL(int32_t);
    case 'u' << 8 | '4':
        FILL(uint32_t);
    case 'i' << 8 | '8':
        FILL(int64_t);
    default:
        FILL(uint64_t);
    }
}

static void write_npy(const char *name, const char *descr, const char *shape,
                      bool by_columns, const void *items, size_t n)
{
    char  *bytes = pq_calloc(128 + n, 1);
    char   head[119];
    size_t length;

    length = (size_t)snprintf(
        head, sizeof head, "{'descr': '%s', 'fortran_order': %s, 'shape': (%s%s), }",
        descr, by_columns ? "True" : "False", shape, shape[0] != '\0' ? "," : "");
    memset(head + length, ' ', sizeof head - length);
    head[117] = '\n';
    memcpy(bytes, "\x93NUMPY\x01\0\x76\0", 10);
    memcpy(bytes + 10, head, 118);
    memcpy(bytes + 128, items, n);
    write_file(name, bytes, 128 + n);
    pq_free(bytes);
}

/* Item of row r and place (a, b) is r * EACH + a * B + b, wherever it stands. */
Test(arrays, numbers_of_every_type_and_order_are_read_by_rows)
{
    static const char *const types[] = {"f2", "f4", "f8", "i1", "u1", "i2",
                                        "u2", "i4", "u4", "i8", "u8"};
    pq_arrays                a       = {0};
    pq_array                 array   = {0};
    char                     items[ITEMS * 8], descr[8];

    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        for (int columns = 0; columns < 2; columns++) {
            size_t value[ITEMS], size, r, p, q;
            double got[ITEMS];
            float  got32[ITEMS];
            for (r = 0; r < ROWS; r++) {
                for (p = 0; p < A; p++) {
                    for (q = 0; q < B; q++) {
                        value[columns ? r + ROWS * (p + A * q) : (r * A + p) * B + q] =
                            r * EACH + p * B + q;
                    }
                }
            }
            size = fill(types[t], value, items);
            snprintf(descr, sizeof descr, "<%s", types[t]);
            write_npy("a.npy", descr, "7, 2, 3", columns, items, ITEMS * size);
            OK(pq_arrays_open(folder, &a, err));
            OK(pq_arrays_get(&a, "a", &array, err));
            for (size_t first = 0; first < ROWS; first++) {
                for (size_t n = 1; first + n <= ROWS; n++) {
                    OK(pq_array_numbers(&a, &array, (pq_rows){first, n}, PQ_DTYPE_F64,
                                        got, err));
                    OK(pq_array_numbers(&a, &array, (pq_rows){first, n}, PQ_DTYPE_F32,
                                        got32, err));
                    for (size_t i = 0; i < n * EACH; i++) {
                        cr_assert_eq(got[i], (double)(first * EACH + i), "%s %d", descr,
                                     columns);
                        cr_assert_eq(got32[i], (float)(first * EACH + i));
                    }
                }
            }
            pq_array_free(&array);
            pq_arrays_close(&a);
        }
    }
}

Test(arrays, texts_of_bytes_and_of_code_points_are_utf_8)
{
    static const uint32_t points[8] = {'W', 0, 0, 0, 0x3c4, 0x20ac, 0x1f600, 'x'};
    pq_arrays             a         = {0};
    pq_array              array     = {0};
    char                **texts     = NULL;
    size_t                n         = 0;
    pq_err                why       = {0};

    write_npy("u.npy", "<U4", "2", false, points, sizeof points);
    write_npy("s.npy", "|S3", "2", false, "ab\0xyz", 6);
    write_npy("bad.npy", "<U1", "1", false, &(uint32_t){0xd800}, 4);
    OK(pq_arrays_open(folder, &a, err));
    OK(pq_arrays_get(&a, "u", &array, err));
    OK(pq_array_texts(&a, &array, &texts, &n, err));
    cr_assert_eq(n, 2);
    cr_expect_str_eq(texts[0], "W");
    cr_expect_str_eq(texts[1], "\u03c4\u20ac\U0001f600x");
    pq_h5_free_texts(&texts, n);
    pq_array_free(&array);
    OK(pq_arrays_get(&a, "s", &array, err));
    OK(pq_array_texts(&a, &array, &texts, &n, err));
    cr_expect_str_eq(texts[0], "ab");
    cr_expect_str_eq(texts[1], "xyz");
    pq_h5_free_texts(&texts, n);
    pq_array_free(&array);
    OK(pq_arrays_get(&a, "bad", &array, err));
    cr_expect_eq(pq_array_texts(&a, &array, &texts, &n, &why), PQ_ERR_FORMAT);
    cr_expect_not_null(strstr(why.message, "'bad': item 0: holds 0xd800, no code point"));
    pq_array_free(&array);
    pq_arrays_close(&a);
}

/* Names in a folder, and what is found: "split:x,y,weight" each. */
Test(arrays, events_labels_and_weights_are_found_by_their_names)
{
    static const struct {
        const char *names[6], *x, *y, *weight, *found;
    } cases[] = {{{"x", "y"}, NULL, NULL, NULL, ":x,y,-"},
                 {{"X_test", "Y_test", "w_test", "z"},
                  NULL,
                  NULL,
                  NULL,
                  "test:X_test,Y_test,w_test"},
                 {{"test_x", "test_y", "train-X", "train-y"},
                  NULL,
                  NULL,
                  NULL,
                  "train:train-X,train-y,- test:test_x,test_y,-"},
                 {{"jets.X.a", "jets.y.a", "weight"},
                  NULL,
                  NULL,
                  NULL,
                  "jets_a:jets.X.a,jets.y.a,-"},
                 {{"a", "b", "c"}, "a", "b.npy", "c", ":a,b,c"},
                 {{"a", "b", "x", "y"}, "p=a,q=x", "p=b,q=y", "none", "p:a,b,- q:x,y,-"},
                 {{"x", "truth", "weight"}, NULL, "truth", NULL, ":x,truth,weight"}};

    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        pq_array_names           found[PQ_SOURCE_SPLITS] = {{0}};
        pq_arrays                a                       = {0};
        pq_text                  text                    = {0};
        size_t                   n                       = 0;
        const pq_dataset_options how                     = {
                                .x = cases[k].x, .y = cases[k].y, .weight = cases[k].weight};
        char name[64];
        for (size_t i = 0; i < 6 && cases[k].names[i] != NULL; i++) {
            snprintf(name, sizeof name, "%s.npy", cases[k].names[i]);
            write_npy(name, "<f4", "1", false, "1234", 4);
        }
        OK(pq_arrays_open(folder, &a, err));
        OK(pq_array_names_find(&a, &how, NULL, found, &n, err));
        for (size_t i = 0; i < n; i++) {
            pq_text_add(&text, "%s%s:%s,%s,%s", i > 0 ? " " : "", found[i].split,
                        found[i].x, found[i].y,
                        found[i].weight != NULL ? found[i].weight : "-");
        }
        cr_expect_str_eq(text.text, cases[k].found, "case %zu: %s", k, text.text);
        pq_text_free(&text);
        pq_array_names_free(found, n);
        pq_arrays_close(&a);
        for (size_t i = 0; i < 6 && cases[k].names[i] != NULL; i++) {
            snprintf(path, sizeof path, "%s/%s.npy", folder, cases[k].names[i]);
            remove(path);
        }
    }
}

/* As many numbers as events are no labels or weights while they stand otherwise: rows of
 * them are read. */
Test(arrays, labels_and_weights_have_a_row_an_event)
{
    static const struct {
        const char *x, *y, *weight, *text;
    } cases[] = {
        {"1, 2", "", NULL,
         ": 'y' is [], where one value for each of 1 events is due: [1]"},
        {"1, 2", "1", "",
         ": 'weight' is [], where one value for each of 1 events is due: [1]"},
        {"6, 2", "1, 6, 1", NULL,
         ": 'y' is [1, 6, 1], where one value for each of 6 events is due: [6]"},
        {"6, 2", "6, 1", "2, 3",
         ": 'weight' is [2, 3], where one value for each of 6 events is due: [6]"},
        {"6, 2", "6, 1, 1", "6, 1", NULL}};
    static const float zeros[12];

    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        const size_t n = cases[k].x[0] == '1' ? 1 : 6;
        write_npy("x.npy", "<f4", cases[k].x, false, zeros, n * 8);
        write_npy("y.npy", "<f4", cases[k].y, false, zeros, n * 4);
        if (cases[k].weight != NULL) {
            write_npy("weight.npy", "<f4", cases[k].weight, false, zeros, n * 4);
        }
        snprintf(path, sizeof path, "%s", folder);
        if (cases[k].text != NULL) {
            refused(NULL, PQ_ERR_SHAPE, cases[k].text);
        } else {
            pq_dataset *d = open_with(NULL);
            int32_t     y[6];
            float       w[6];
            OK(pq_dataset_read(d, 0, 0, 6, &(pq_batch){.y = y, .weight = w}, err));
            pq_dataset_close(&d);
        }
    }
}

/* A header that ends inside its type is read no further, in a block it fills. */
Test(arrays, a_header_may_end_anywhere)
{
    static const char text[] =
        "{'fortran_order': False, 'shape': (6, 2), 'descr': '<U12'}";
    uint8_t bytes[10 + 63];
    pq_npy  head;

    for (size_t n = 0; n < sizeof text - 1; n++) {
        pq_err why = {0};
        memcpy(bytes, "\x93NUMPY\x01\0\x3f\0", 10);
        memset(bytes + 10, ' ', 63);
        memcpy(bytes + 10 + 63 - n, text, n);
        cr_expect_neq(pq_npy_read(bytes, sizeof bytes, sizeof bytes, &head, &why), PQ_OK,
                      "%zu", n);
    }
}

Test(arrays, members_of_one_name_and_names_with_a_nul_are_refused)
{
    static const struct {
        const char *first, *second, *text;
    } cases[] = {{"y.npy", "y.npy", ": the ZIP has two members 'y.npy'"},
                 {"a.npy", "y\1z.npy", ": the name of member 1 holds a NUL"}};

    snprintf(path, sizeof path, "%s/a.npz", folder);
    for (size_t k = 0; k < 2; k++) {
        const pq_zip_part parts[] = {{cases[k].first, "1234", 4},
                                     {cases[k].second, "1234", 4}};
        char             *bytes   = NULL;
        size_t            n       = 0;
        OK(pq_zip_write(path, parts, 2, err));
        OK(pq_file_read(path, 1000, &bytes, &n, err));
        for (size_t i = 0; i + 2 < n; i++) { /* what no name that ends at it can hold */
            if (bytes[i] == 'y' && bytes[i + 1] == 1) {
                bytes[i + 1] = 0;
            }
        }
        write_file("a.npz", bytes, n);
        pq_free(bytes);
        refused(&(pq_dataset_options){.x = "x", .y = "y"}, PQ_ERR_FORMAT, cases[k].text);
    }
}
