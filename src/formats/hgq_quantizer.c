/* A quantizer of HGQ 2: what its configuration and its bits in the file say. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "formats/hgq.h"

#define MAX_BYTES ((size_t)1 << 30)

void pq_hgq_free(pq_hgq_quantizer *q)
{
    pq_tensor_free(&q->k);
    pq_tensor_free(&q->i);
    pq_tensor_free(&q->f);
}

static size_t named(const char *const *names, const char *name)
{
    size_t i = 0;

    while (names[i] != NULL && strcmp(names[i], name) != 0) {
        i++;
    }
    return i;
}

static pq_status read_modes(const json_t *config, pq_hgq_quantizer *q, pq_err *err)
{
    const char *round, *over, *type;
    size_t      mode;
    pq_status   st;

    PQ_TRY(pq_keras_word(config, "round_mode", "", &round, err));
    PQ_TRY(pq_keras_word(config, "overflow_mode", "", &over, err));
    PQ_TRY(pq_keras_word(config, "q_type", "", &type, err));
    PQ_CHECK(strcmp(type, "kif") == 0 || strcmp(type, "kbi") == 0, PQ_ERR_UNSUPPORTED,
             "q_type = '%s' is not read; kif and kbi are", type);
    round += strncmp(round, "S_", 2) == 0 ? 2 : 0; /* stochastic in training alone */
    mode = named(pq_rounding_names, round);
    PQ_CHECK(pq_rounding_names[mode] != NULL, PQ_ERR_UNSUPPORTED,
             "round_mode = '%s' is not known", round);
    q->rounding = (pq_rounding)mode;
    mode        = named(pq_overflow_names, over);
    PQ_CHECK(pq_overflow_names[mode] != NULL, PQ_ERR_UNSUPPORTED,
             "overflow_mode = '%s' is not known", over);
    q->overflow = (pq_overflow)mode;
cleanup:
    return st;
}

/* The group of the quantizer's variables: "<layer>/vars" -> "<layer>/kq/quantizer/vars".
 */
static pq_status read_bits(const pq_keras_layer *k, const char *part, size_t index,
                           pq_tensor **out, pq_err *err)
{
    const size_t n    = k->group != NULL ? strlen(k->group) : 0;
    const bool   own  = strcmp(part, "") == 0;
    char        *path = NULL;
    pq_status    st;

    PQ_CHECK(n > 4 && strcmp(k->group + n - 4, "vars") == 0, PQ_ERR_UNSUPPORTED,
             "nets of HGQ 2 are read from .keras and .weights.h5, which hold the bits of "
             "its quantizers");
    path = pq_format("%.*s%s%squantizer/vars/%zu", (int)(n - 4), k->group, part,
                     own ? "" : "/", index);
    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_CHECK(pq_h5_has(k->file, path), PQ_ERR_FORMAT,
             "the file has no %s, bits of its quantizer", path);
    PQ_TRY(pq_h5_read(k->file, path, PQ_DTYPE_F32, MAX_BYTES, out, err));
cleanup:
    pq_free(path);
    return st;
}

/* Whole numbers from what was trained: half to even. */
static pq_status settle(pq_hgq_quantizer *q, bool by_width, pq_err *err)
{
    char      k_text[128], i_text[128], f_text[128];
    pq_status st = PQ_OK;

    PQ_CHECK(pq_shape_equal(&q->k->shape, &q->i->shape) &&
                 pq_shape_equal(&q->i->shape, &q->f->shape),
             PQ_ERR_FORMAT,
             "the signs of its quantizer are %s, the integer bits %s, the %s %s: not of "
             "one shape",
             pq_shape_text(&q->k->shape, k_text, sizeof k_text),
             pq_shape_text(&q->i->shape, i_text, sizeof i_text),
             by_width ? "widths" : "fraction bits",
             pq_shape_text(&q->f->shape, f_text, sizeof f_text));
    for (size_t n = 0; n < q->k->count; n++) {
        const float k = pq_f32(q->k)[n], i = rintf(pq_f32(q->i)[n]);
        const float f = rintf(pq_f32(q->f)[n]) - (by_width ? i : 0.0f);
        PQ_CHECK((k == 0.0f || k == 1.0f) && fabsf(i) <= 64.0f && fabsf(f) <= 64.0f,
                 PQ_ERR_RANGE,
                 "bits %zu of its quantizer are k = %g, i = %g, f = %g; k is 0 or 1, the "
                 "others in -64..64",
                 n, (double)k, (double)i, (double)f);
        pq_f32(q->i)[n] = fmaxf(i, -f);
        pq_f32(q->f)[n] = f;
    }
cleanup:
    return st;
}

pq_status pq_hgq_read(const pq_keras_layer *k, const char *part, pq_hgq_quantizer *out,
                      pq_err *err)
{
    static const pq_keras_keys object = {"class_name config", PQ_KERAS_ORIGIN, NULL};
    static const pq_keras_keys keys   = {
          "q_type round_mode overflow_mode trainable is_weight",
          "place qnoise_factor k0 i0 f0 b0 bc br ic ir fc fr i_decay_speed "
            "homogeneous_axis "
            "heterogeneous_axis",
          "scaler affine bw_mapper"};
    char          name[16];
    const json_t *given, *config;
    bool          by_width, weight, trainable, wraps;
    size_t        first;
    pq_status     st;

    (void)snprintf(name, sizeof name, *part != '\0' ? "%s_conf" : "config", part);
    given  = json_object_get(k->config, name);
    config = json_object_get(given, "config");
    PQ_CHECK(json_is_object(config), PQ_ERR_FORMAT, "is missing");
    PQ_TRY(pq_keras_check_keys(given, name, &object, 1, err));
    PQ_TRY(pq_keras_check_keys(config, name, &keys, 1, err));
    PQ_TRY(read_modes(config, out, err));
    PQ_TRY(pq_keras_bool(config, "is_weight", false, &weight, err));
    PQ_TRY(pq_keras_bool(config, "trainable", true, &trainable, err));
    by_width = strcmp(pq_keras_text(config, "q_type", ""), "kbi") == 0;
    wraps    = out->overflow == PQ_OVERFLOW_WRAP;
    out->wraps_not =
        wraps && weight && trainable && (!by_width || out->rounding == PQ_ROUND_RND);
    /* Trained variables stand before the others: b, [k, i]; f, [k, i]; b, i, [k]; i, f,
     * [k]. */
    first = wraps ? 1 : 2;
    PQ_TRY(read_bits(k, part, first, &out->k, err));
    PQ_TRY(read_bits(k, part, wraps ? 2 : (by_width ? 1 : 0), &out->i, err));
    PQ_TRY(read_bits(k, part, wraps ? 0 : (by_width ? 0 : 1), &out->f, err));
    PQ_TRY(settle(out, by_width, err));
cleanup:
    if (st != PQ_OK) {
        pq_err_context(err, "'%s'", name);
    }
    return st;
}

/* Index of the bits of item n of a tensor: axes of length 1 are shared; a leading axis of
 * the batch may stand before the sample's. */
static size_t bits_of(const pq_tensor *bits, const pq_shape *shape, size_t n)
{
    const size_t more = bits->shape.ndim - shape->ndim;
    size_t       at = 0, step = 1;

    for (size_t d = shape->ndim; d-- > 0; n /= shape->dim[d]) {
        const size_t length = bits->shape.dim[d + more];
        at += length == 1 ? 0 : n % shape->dim[d] * step;
        step *= length;
    }
    return at;
}

static pq_status check_bits(const pq_tensor *bits, const pq_shape *shape, pq_err *err)
{
    char      have[128], due[128];
    bool      fits = bits->shape.ndim >= shape->ndim;
    pq_status st;

    for (size_t d = 0; fits && d < bits->shape.ndim; d++) {
        const size_t more   = bits->shape.ndim - shape->ndim;
        const size_t length = bits->shape.dim[d];
        fits = length == 1 || (d >= more && length == shape->dim[d - more]);
    }
    PQ_CHECK(fits, PQ_ERR_SHAPE, "its quantizer's bits are %s, of values that are %s",
             pq_shape_text(&bits->shape, have, sizeof have),
             pq_shape_text(shape, due, sizeof due));
cleanup:
    return st;
}

pq_status pq_hgq_round(const pq_hgq_quantizer *q, pq_tensor *w, pq_tensor **f,
                       pq_err *err)
{
    pq_quant *grid[2] = {NULL};
    pq_status st;

    PQ_TRY(check_bits(q->k, &w->shape, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, w->shape, f, err));
    for (size_t k = 0; k < 2; k++) {
        PQ_TRY(pq_quant_create_fixed(k == 1, q->overflow, q->rounding,
                                     PQ_QUANT_PER_TENSOR, 1, &grid[k], err));
    }
    for (size_t n = 0; n < w->count; n++) {
        const size_t at = bits_of(q->k, &w->shape, n);
        const int    i = (int)pq_f32(q->i)[at], after = (int)pq_f32(q->f)[at];
        pq_quant    *g    = grid[(size_t)pq_f32(q->k)[at]];
        double       code = 0.0;

        pq_f32(*f)[n] = (float)after;
        if (q->wraps_not) {
            g->scale[0] = ldexpf(1.0f, -after);
            code        = pq_quant_code_free(g, 0, (double)pq_f32(w)[n]);
        } else if (i + after > 0) {
            PQ_TRY(pq_quant_set_fixed(g, 0, i, after, err));
            code = (double)pq_quant_code_real(g, 0, (double)pq_f32(w)[n]);
        } else { /* of a sign alone one value is left beside 0 */
            PQ_CHECK(!g->is_signed || i + after < 0 || q->overflow == PQ_OVERFLOW_SAT_SYM,
                     PQ_ERR_UNSUPPORTED, "weight %zu has a sign and no other bit", n);
        }
        pq_f32(w)[n] = (float)(code * exp2(-after));
    }
cleanup:
    pq_quant_free(&grid[0]);
    pq_quant_free(&grid[1]);
    return st;
}

pq_status pq_hgq_attach(const pq_hgq_quantizer *q, const pq_tensor *f, pq_weight *w,
                        pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_quant_create_fixed(true, q->overflow, q->rounding, PQ_QUANT_PER_ITEM,
                                 w->value->count, &w->quant, err));
    for (size_t n = 0; n < w->value->count; n++) {
        const float x     = pq_f32(w->value)[n];
        const int   after = (int)pq_f32(f)[n];
        const bool  least = x < 0.0f && q->overflow != PQ_OVERFLOW_SAT_SYM;
        int         e     = -after;

        if (x == 0.0f) {
            PQ_TRY(pq_quant_set_fixed(w->quant, n, 0, 0, err));
            continue;
        }
        (void)frexpf(least ? x + ldexpf(0.5f, -after) : x, &e); /* -2^n needs n bits */
        PQ_TRY(pq_quant_set_fixed(w->quant, n, e > -after ? e : 1 - after, after, err));
    }
    PQ_TRY(pq_quant_check(w->quant, &w->value->shape, err));
cleanup:
    return st;
}

/* One sign for all values that are more than 0. */
static pq_status one_sign(const pq_hgq_quantizer *q, bool *out, pq_err *err)
{
    bool      any[2] = {false, false};
    pq_status st     = PQ_OK;

    for (size_t n = 0; n < q->k->count; n++) {
        const int   k    = (int)pq_f32(q->k)[n];
        const float bits = pq_f32(q->i)[n] + pq_f32(q->f)[n];
        PQ_CHECK(k == 0 || bits > 0.0f || q->overflow == PQ_OVERFLOW_SAT_SYM,
                 PQ_ERR_UNSUPPORTED,
                 "value %zu of its activations has a sign and no other bit", n);
        any[k] = any[k] || bits > 0.0f;
    }
    PQ_CHECK(
        !any[0] || !any[1], PQ_ERR_UNSUPPORTED,
        "some of its activations have a sign and others have none; one grid has both "
        "alike");
    *out = any[1];
cleanup:
    return st;
}

static bool all_alike(const pq_hgq_quantizer *q)
{
    bool alike = true;

    for (size_t n = 1; n < q->k->count; n++) {
        alike = alike && pq_f32(q->i)[n] == pq_f32(q->i)[0] &&
                pq_f32(q->f)[n] == pq_f32(q->f)[0] && pq_f32(q->k)[n] == pq_f32(q->k)[0];
    }
    return alike;
}

pq_status pq_hgq_put(const pq_hgq_quantizer *q, const char *name, pq_keras_target *target,
                     pq_err *err)
{
    const bool alike = all_alike(q);
    pq_node   *node;
    size_t     n;
    bool       is_signed;
    pq_status  st;

    PQ_TRY(one_sign(q, &is_signed, err));
    PQ_TRY(pq_keras_add_simple("scale", "factor", 1.0, name, target, err));
    node = &target->graph->nodes[pq_graph_find(target->graph, target->last)];
    PQ_TRY(check_bits(q->k, &node->shape, err));
    PQ_TRY(pq_shape_count(&node->shape, &n) ? PQ_OK : PQ_ERR_SHAPE);
    PQ_TRY(pq_quant_create_fixed(is_signed, q->overflow, q->rounding,
                                 alike ? PQ_QUANT_PER_TENSOR : PQ_QUANT_PER_ITEM,
                                 alike ? 1 : n, &node->quant, err));
    for (size_t i = 0; i < node->quant->n; i++) {
        const size_t at    = alike ? 0 : bits_of(q->k, &node->shape, i);
        const int    whole = (int)pq_f32(q->i)[at], after = (int)pq_f32(q->f)[at];
        PQ_TRY(whole + after > 0 ? pq_quant_set_fixed(node->quant, i, whole, after, err)
                                 : pq_quant_set_fixed(node->quant, i, 0, 0, err));
    }
cleanup:
    return st;
}
