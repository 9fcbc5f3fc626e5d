/* Headers of arrays of NumPy: what numpy.load takes is read, what it refuses is not. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "io/npy.h"

enum { DATA = 24 /* six float32 */ };

/* Each was given to numpy.load of NumPy 1.24.2 and 2.4.6, before the bytes of six
 * numbers. */
static const struct {
    const char *header;
    size_t      dim[2]; /* 0: refused */
    const char *message;
} headers[] = {
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }", {6}, NULL},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,)}", {6}, NULL},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,3)}", {2, 3}, NULL},
    {"{'shape': (2, 3,), 'fortran_order': True, 'descr': '<f4'}", {2, 3}, NULL},
    {"{\"descr\": \"<f4\", \"fortran_order\": False, \"shape\": (6,)}", {6}, NULL},
    {"{'descr':'f4','fortran_order':False,'shape':(6,)}", {6}, NULL},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (6L,), }", {6}, NULL},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (6)}",
     {0},
     "shape (6) is no tuple of Python"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (2 3)}",
     {0},
     "shape (2 3) is none of at most 8 sizes above 0"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,,3)}",
     {0},
     "shape (2,,3) is none of at most 8 sizes above 0"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': [6]}",
     {0},
     "the header tells no shape"},
    {"{'descr': '<f4', 'shape': (6,), }", {0}, "the header tells no order"},
    {"{'descr': '<f4', 'fortran_order': 0, 'shape': (6,)}",
     {0},
     "the header tells no order"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,), 'a': 1}",
     {0},
     "its header has not descr, fortran_order and shape once each, but 'a': 1"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,)",
     {0},
     "its header ends within shape"},
    {"{'descr': '<f4, 'fortran_order': False, 'shape': (6,)}",
     {0},
     "its header ends within descr"},
    {"{'descr': '<f4' 'fortran_order': False, 'shape': (6,)}",
     {0},
     "descr '<f4' 'fortran_order': False is not read: little-endian f2, f4, f8, whole "
     "numbers and texts are"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,)} 1",
     {0},
     "its header goes on behind the dict of Python"},
    {"'descr': '<f4', 'fortran_order': False, 'shape': (6,)",
     {0},
     "its header is no dict of Python"},
};

Test(npy, headers_are_read_as_numpy_reads_them)
{
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        uint8_t      bytes[256] = "\x93NUMPY\1";
        const size_t n          = strlen(headers[i].header) + 1;
        size_t       head       = 0;
        pq_npy       a;
        pq_err       err = {0};
        pq_status    st;

        bytes[8] = (uint8_t)n;
        (void)snprintf((char *)bytes + 10, sizeof bytes - 10, "%s\n", headers[i].header);
        cr_assert_eq(pq_npy_head(bytes, sizeof bytes, &head, NULL), PQ_OK);
        st = pq_npy_read(bytes, head, head + DATA, &a, &err);
        if (headers[i].message != NULL) {
            cr_expect_neq(st, PQ_OK, "%s", headers[i].header);
            cr_expect_str_eq(err.message, headers[i].message, "%s: %s", headers[i].header,
                             err.message);
            continue;
        }
        cr_assert_eq(st, PQ_OK, "%s: %s", headers[i].header, err.message);
        cr_expect_eq(a.shape.dim[0], headers[i].dim[0]);
        cr_expect_eq(a.shape.ndim > 1 ? a.shape.dim[1] : 0, headers[i].dim[1]);
    }
}
