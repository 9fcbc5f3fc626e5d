/*
 * Softmax of at most 16 values in one vector. e^x = 2^k e^r with a polynomial of r in
 * -ln 2 / 2 .. ln 2 / 2 (Moshier, Cephes library, expf): within 2e-7.
 */
#include "codegen/softmax.h"

/* The largest or the sum of n floats of an array that is overwritten, in pairs. */
static void reduce(pq_text *out, size_t n, const char *a, bool sum)
{
    for (size_t step = 1; step < n; step *= 2) {
        for (size_t i = 0; i + step < n; i += 2 * step) {
            const size_t k = i + step;
            if (sum) {
                pq_text_add(out, "    %s[%zu] += %s[%zu];\n", a, i, a, k);
            } else {
                pq_text_add(out, "    %s[%zu] = %s[%zu] > %s[%zu] ? %s[%zu] : %s[%zu];\n",
                            a, i, a, i, a, k, a, i, a, k);
            }
        }
    }
}

void pq_softmax_define(pq_emitter *e, size_t n)
{
    pq_text     *t     = &e->tables;
    const size_t lanes = n <= 4 ? 4 : n <= 8 ? 8 : 16;

    if (n > PQ_SOFTMAX_MOST || e->softmax[n]) {
        return;
    }
    e->softmax[n] = true;
    pq_text_add(
        t,
        "\n/* Softmax of %zu values; %zu may be read. */\n"
        "static inline __attribute__((always_inline, unused)) void softmax%zu(const "
        "float *in, float *out)\n{\n"
        "    typedef float vf_ __attribute__((vector_size(%zu), aligned(4), "
        "may_alias));\n"
        "    typedef int vi_ __attribute__((vector_size(%zu), aligned(4), may_alias));\n"
        "    float a[%zu], b[%zu];\n    vf_ v, k, r, p;\n    vi_ low, s;\n\n"
        "    memcpy(a, in, sizeof a);\n",
        n, lanes, n, 4 * lanes, 4 * lanes, n, lanes);
    reduce(t, n, "a", false);
    pq_text_add(t, "    v   = *(const vf_ *)in - a[0];\n    low = v < -87.0f;\n    s = "
                   "(vi_){");
    for (size_t i = 0; i < lanes; i++) {
        pq_text_add(t, "%s%s", i > 0 ? ", " : "", i < n ? "0" : "-1");
    }
    pq_text_add(
        t, "};\n    low |= s;\n"
           "    v   = (vf_)(((vi_)((vf_){0} - 87.0f) & low) | ((vi_)v & ~low));\n"
           "    k   = (v * 1.44269504f + 12582912.0f) - 12582912.0f;\n"
           "    r   = (v - k * 0.693359375f) + k * 2.12194440e-4f;\n"
           "    s   = (vi_)(v * 1.44269504f + 12582912.0f) << 23;\n"
           "    s   = s + 0x3f800000;\n"
           "    p   = r * 1.9875691500e-4f + 1.3981999507e-3f;\n"
           "    p   = p * r + 8.3334519073e-3f;\n    p   = p * r + 4.1665795894e-2f;\n"
           "    p   = p * r + 1.6666665459e-1f;\n    p   = p * r + 5.0000001201e-1f;\n"
           "    v   = (p * (r * r) + (r + 1.0f)) * (vf_)s;\n"
           "    memcpy(b, &v, sizeof b);\n");
    reduce(t, n, "b", true);
    pq_text_add(t, "    v = v * (1.0f / b[0]);\n    memcpy(out, &v, %zu);\n}\n", 4 * n);
}
