#include "io/npy.h"

#include <stdlib.h>
#include <string.h>

#include "core/memory.h"

enum { MAGIC_BYTES = 8, MAX_HEADER = 1 << 20, MAX_TEXT = 1 << 16, MOST_SHOWN = 40 };

static const char magic[] = "\x93NUMPY";

/* Types that are read, as their descr without the byte order. */
static const struct {
    const char *descr;
    pq_npy_sort sort;
    pq_dtype    dtype;
} types[] = {{"f4", PQ_NPY_NUMBER, PQ_DTYPE_F32}, {"f8", PQ_NPY_NUMBER, PQ_DTYPE_F64},
             {"f2", PQ_NPY_NUMBER, PQ_DTYPE_F16}, {"i1", PQ_NPY_NUMBER, PQ_DTYPE_I8},
             {"u1", PQ_NPY_NUMBER, PQ_DTYPE_U8},  {"b1", PQ_NPY_NUMBER, PQ_DTYPE_U8},
             {"i2", PQ_NPY_NUMBER, PQ_DTYPE_I16}, {"u2", PQ_NPY_NUMBER, PQ_DTYPE_U16},
             {"i4", PQ_NPY_NUMBER, PQ_DTYPE_I32}, {"u4", PQ_NPY_NUMBER, PQ_DTYPE_U32},
             {"i8", PQ_NPY_NUMBER, PQ_DTYPE_I64}, {"u8", PQ_NPY_U64, PQ_DTYPE_I64}};

bool pq_npy_looks(const void *start, size_t n)
{
    return n >= sizeof magic - 1 && memcmp(start, magic, sizeof magic - 1) == 0;
}

pq_status pq_npy_head(const uint8_t *b, size_t n, size_t *out, pq_err *err)
{
    pq_status st;

    PQ_CHECK(n >= PQ_NPY_START && pq_npy_looks(b, n) && b[6] >= 1 && b[6] <= 3,
             PQ_ERR_FORMAT, "is no array of NumPy of version 1 to 3");
    *out =
        b[6] == 1
            ? MAGIC_BYTES + 2 + (b[8] | (size_t)b[9] << 8)
            : MAGIC_BYTES + 4 +
                  (b[8] | (size_t)b[9] << 8 | (size_t)b[10] << 16 | (size_t)b[11] << 24);
    PQ_CHECK(*out >= PQ_NPY_START && *out <= MAX_HEADER, PQ_ERR_FORMAT,
             "its header of %zu bytes is none of %d to %d", *out, PQ_NPY_START,
             MAX_HEADER);
cleanup:
    return st;
}

/* The keys of the header's dict of Python. */
enum { DESCR, ORDER, SHAPE, KEYS };
static const char *const keys[KEYS] = {"descr", "fortran_order", "shape"};

static const char *skip_blanks(const char *at)
{
    return at + strspn(at, " \t\r\n");
}

/* Whether a value of the dict ends here. */
static bool ends(const char *at)
{
    at = skip_blanks(at);
    return *at == ',' || *at == '}';
}

/* The comma or bracket behind a value, or NULL where the header ends within. */
static const char *skip_value(const char *at)
{
    size_t depth = 0;

    for (; *at != '\0'; at++) {
        const bool closes = strchr(")]}", *at) != NULL;
        if (depth == 0 && (closes || *at == ',')) {
            return at;
        }
        depth += strchr("([{", *at) != NULL ? 1 : 0;
        depth -= closes ? 1 : 0;
        if (*at == '\'' || *at == '"') {
            at = strchr(at + 1, *at);
            if (at == NULL) {
                return NULL;
            }
        }
    }
    return NULL;
}

/* Which key stands in quotes at `at`, and what is behind it; KEYS: none of NumPy's. */
static size_t take_key(const char **at)
{
    const char  *start = *at + 1;
    const char  *close = **at == '\'' || **at == '"' ? strchr(start, **at) : NULL;
    const size_t n     = close != NULL ? (size_t)(close - start) : 0;

    for (size_t k = 0; k < KEYS && close != NULL; k++) {
        if (strlen(keys[k]) == n && memcmp(keys[k], start, n) == 0) {
            *at = skip_blanks(close + 1);
            return k;
        }
    }
    return KEYS;
}

/* Where the value of each key begins. As numpy.load, which reads the dict as Python does
 * and takes these keys and no others. */
static pq_status find_values(const char *text, const char *values[KEYS], pq_err *err)
{
    const char *at = skip_blanks(text);
    pq_status   st;

    PQ_CHECK(*at == '{', PQ_ERR_FORMAT, "its header is no dict of Python");
    for (at = skip_blanks(at + 1); *at != '}'; at = skip_blanks(at)) {
        const size_t k = take_key(&at);
        PQ_CHECK(k < KEYS && *at == ':' && values[k] == NULL, PQ_ERR_FORMAT,
                 "its header has not descr, fortran_order and shape once each, but %.*s",
                 (int)(strcspn(at, ",}") < MOST_SHOWN ? strcspn(at, ",}") : MOST_SHOWN),
                 at);
        values[k] = skip_blanks(at + 1);
        at        = skip_value(values[k]);
        PQ_CHECK(at != NULL && (*at == ',' || *at == '}'), PQ_ERR_FORMAT,
                 "its header ends within %s", keys[k]);
        at += *at == ',' ? 1 : 0;
    }
    PQ_CHECK(*skip_blanks(at + 1) == '\0', PQ_ERR_FORMAT,
             "its header goes on behind the dict of Python");
cleanup:
    return st;
}

/* "U12": a text of so many bytes. */
static bool read_text_type(const char *type, pq_npy *out)
{
    char              *end   = NULL;
    unsigned long long count = 0;

    if ((type[0] == 'S' || type[0] == 'U') && type[1] >= '0' && type[1] <= '9') {
        count = strtoull(type + 1, &end, 10);
    }
    if (count == 0 || count > MAX_TEXT || *end != '\0') {
        return false;
    }
    out->sort = type[0] == 'S' ? PQ_NPY_BYTES : PQ_NPY_UNICODE;
    out->item = (size_t)count * (type[0] == 'S' ? 1 : 4);
    return true;
}

/* "f4" of "'<f4'"; "" for what is no short text in quotes. */
static void take_type(const char *text, char out[MOST_SHOWN])
{
    const char *close = *text == '\'' || *text == '"' ? strchr(text + 1, *text) : NULL;
    const char *from = text + (text[0] != '\0' && strchr("<|=", text[1]) != NULL ? 2 : 1);
    const size_t n   = close != NULL && close >= from ? (size_t)(close - from) : 0;

    out[0] = '\0';
    if (n > 0 && n < MOST_SHOWN && ends(close + 1)) {
        memcpy(out, from, n);
        out[n] = '\0';
    }
}

/* descr: as it stands in the header, or NULL. */
static pq_status read_type(const char *descr, pq_npy *out, pq_err *err)
{
    const char  *text  = descr != NULL ? descr : "''";
    const size_t shown = strcspn(text, ",}");
    char         type[MOST_SHOWN];
    pq_status    st = PQ_OK;

    take_type(text, type);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(type, types[i].descr) == 0) {
            out->sort  = types[i].sort;
            out->dtype = types[i].dtype;
            out->item  = pq_dtype_bytes(types[i].dtype);
            return PQ_OK;
        }
    }
    if (read_text_type(type, out)) {
        return PQ_OK;
    }
    PQ_CHECK(
        strcmp(type, "O") != 0, PQ_ERR_UNSUPPORTED,
        "its items are objects of Python, which are not executed: write it anew with "
        "a.astype(str), or a.astype('f4')");
    PQ_CHECK(text[0] != '[', PQ_ERR_UNSUPPORTED,
             "its items have columns of their own: write each as an array, a['name']");
    PQ_FAIL(
        PQ_ERR_UNSUPPORTED,
        "descr %.*s is not read: little-endian f2, f4, f8, whole numbers and texts are",
        (int)(shown < MOST_SHOWN ? shown : MOST_SHOWN), text);
cleanup:
    return st;
}

/* "(64, 16)", "(5,)" or "()": a tuple of Python, so one size has a comma behind it. */
static pq_status read_shape(const char *text, pq_shape *out, pq_err *err)
{
    const char  *at    = text != NULL && *text == '(' ? skip_blanks(text + 1) : NULL;
    const size_t shown = at != NULL ? strcspn(text, ")}") + 1 : 0;
    bool         comma = false;
    pq_status    st;

    *out = (pq_shape){0};
    PQ_CHECK(at != NULL, PQ_ERR_FORMAT, "the header tells no shape");
    while (*at != ')') {
        char                    *end  = NULL;
        const unsigned long long size = strtoull(at, &end, 10);
        PQ_CHECK(end != at && *at >= '0' && *at <= '9' && size > 0 && size < SIZE_MAX &&
                     out->ndim < PQ_MAX_DIMS && (out->ndim == 0 || comma),
                 PQ_ERR_FORMAT, "shape %.*s is none of at most %d sizes above 0",
                 (int)(shown < MOST_SHOWN ? shown : MOST_SHOWN), text, PQ_MAX_DIMS);
        out->dim[out->ndim++] = (size_t)size;
        at                    = skip_blanks(end + (*end == 'L' ? 1 : 0)); /* Python 2 */
        comma                 = *at == ',';
        at                    = skip_blanks(at + (comma ? 1 : 0));
    }
    PQ_CHECK((out->ndim != 1 || comma) && ends(at + 1), PQ_ERR_FORMAT,
             "shape %.*s is no tuple of Python",
             (int)(shown < MOST_SHOWN ? shown : MOST_SHOWN), text);
cleanup:
    return st;
}

/* The order of the items: a truth value of Python. */
static pq_status read_order(const char *text, bool *by_columns, pq_err *err)
{
    const bool no  = text != NULL && strncmp(text, "False", 5) == 0 && ends(text + 5);
    const bool yes = text != NULL && strncmp(text, "True", 4) == 0 && ends(text + 4);
    pq_status  st;

    PQ_CHECK(no || yes, PQ_ERR_FORMAT, "the header tells no order");
    *by_columns = yes;
cleanup:
    return st;
}

pq_status pq_npy_read(const uint8_t *bytes, size_t head, size_t total, pq_npy *out,
                      pq_err *err)
{
    const size_t from         = bytes[6] == 1 ? MAGIC_BYTES + 2 : MAGIC_BYTES + 4;
    char        *text         = NULL;
    const char  *values[KEYS] = {NULL};
    size_t       due          = 0;
    pq_status    st;

    *out = (pq_npy){.data = head};
    PQ_CHECK(head <= total, PQ_ERR_FORMAT, "the header is longer than the array");
    PQ_NEW(text, head - from + 1);
    memcpy(text, bytes + from, head - from);
    PQ_TRY(find_values(text, values, err));
    PQ_TRY(read_type(values[DESCR], out, err));
    PQ_TRY(read_shape(values[SHAPE], &out->shape, err));
    PQ_TRY(read_order(values[ORDER], &out->by_columns, err));
    out->by_columns = out->by_columns && out->shape.ndim > 1;
    PQ_CHECK(pq_shape_count(&out->shape, &out->count) &&
                 !__builtin_mul_overflow(out->count, out->item, &due) &&
                 due == total - head,
             PQ_ERR_FORMAT, "its shape and type do not take the %zu bytes it has",
             total - head);
cleanup:
    pq_free(text);
    return st;
}

/* Whole numbers of 64 bits without a sign, which no tensor holds. */
static void convert_u64(const uint8_t *from, size_t n, pq_dtype to, void *out,
                        size_t step)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t v;
        memcpy(&v, from + i * sizeof v, sizeof v);
        if (to == PQ_DTYPE_F32) {
            ((float *)out)[i * step] = (float)v;
        } else {
            ((double *)out)[i * step] = (double)v;
        }
    }
}

void pq_npy_numbers(const pq_npy *a, const uint8_t *from, size_t n, pq_dtype to,
                    void *out, size_t step)
{
    if (a->sort == PQ_NPY_U64) {
        convert_u64(from, n, to, out, step);
    } else {
        pq_numbers_convert(a->dtype, from, n, to, out, step);
    }
}

/* Appends a code point; false for one that is none. */
static bool add_point(char *out, size_t *n, uint32_t c)
{
    const int more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;

    if (c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) {
        return false;
    }
    out[(*n)++] = (char)(more == 0 ? c : (0xF00U >> (more + 1) & 0xFFU) | c >> 6 * more);
    for (int i = more; i-- > 0;) {
        out[(*n)++] = (char)(0x80U | (c >> 6 * i & 0x3FU));
    }
    return true;
}

pq_status pq_npy_text(const pq_npy *a, const uint8_t *from, char **out, pq_err *err)
{
    char     *text = NULL;
    size_t    n    = 0, length;
    pq_status st;

    if (a->sort == PQ_NPY_BYTES) {
        length = strnlen((const char *)from, a->item);
        PQ_NEW(text, length + 1);
        memcpy(text, from, length);
    } else {
        PQ_NEW(text, a->item + 1);
        for (size_t i = 0; i < a->item; i += 4) {
            uint32_t c;
            memcpy(&c, from + i, sizeof c);
            if (c == 0) {
                break;
            }
            PQ_CHECK(add_point(text, &n, c), PQ_ERR_FORMAT, "holds 0x%x, no code point",
                     c);
        }
    }
    *out = text;
    text = NULL;
cleanup:
    pq_free(text);
    return st;
}
