/*
 * A vector holds two inputs eight times over, and is multiplied by the weights of eight
 * outputs: a register of four inputs, read at once, gives two such vectors by one shuffle
 * each. Spreading every input over a vector of its own takes a read each, and reads are
 * what some processors have fewest of: on Zen 4 one of 512 bits a cycle, as many as
 * products, and each product reads its weights.
 *
 * The last inputs are added panel by panel, so that the first outputs are stored while
 * the last are computed. The model's inputs are scaled as they are read: a way through
 * memory takes as long as ten operations.
 */
#include "codegen/dense_pairs.h"

#include <string.h>

#include "core/memory.h"

enum {
    QUAD = 4, /* inputs of a register */
    LAST = 8, /* registers of inputs that stay for all panels */
    HALF = 8  /* most outputs that fit into one sum */
};

const char pq_dense_pairs_set[] =
    "/* Four inputs in every quarter, which the compiler does not read again in other "
    "ways; two of\n   them; sums of neighbours of two vectors; the lower half of each "
    "quarter. */\n"
    "#define QUARTERS(from, n) \\\n"
    "    _mm512_broadcast_f32x4((n) < 4 ? _mm_maskz_loadu_ps((__mmask8)((1 << (n)) - 1), "
    "from) : _mm_loadu_ps(from))\n"
    "#define QUAD(v, from, n) \\\n"
    "    __m512 v = QUARTERS(from, n); \\\n"
    "    __asm__(\"\" : \"+v\"(v));\n"
    "#define SCALED(v, from, mean, factor, n) \\\n"
    "    __m512 v = _mm512_mul_ps(_mm512_sub_ps(QUARTERS(from, n), QUARTERS(mean, n)), "
    "QUARTERS(factor, n)); \\\n"
    "    __asm__(\"\" : \"+v\"(v));\n"
    "#define PAIR(v, quad, k) \\\n"
    "    const part v __attribute__((unused)) = (part)_mm512_permute_ps(quad, (k) == 0 ? "
    "0x44 : 0xee);\n"
    "#define MADD(s, x, w) s += (x) * *(const part *)(w);\n"
    "#define FOLD(a, b) \\\n"
    "    (part)_mm512_add_ps(_mm512_shuffle_ps((__m512)(a), (__m512)(b), 0x88), "
    "_mm512_shuffle_ps((__m512)(a), (__m512)(b), 0xdd))\n"
    "#define LOWER(v) \\\n"
    "    (part)_mm512_castpd_ps(_mm512_permutexvar_pd(_mm512_setr_epi64(0, 2, 4, 6, 0, "
    "2, 4, 6), _mm512_castps_pd((__m512)(v))))\n";

/* A group while it is written. */
typedef struct {
    pq_emitter    *e;
    const pq_rows *a;
    pq_panels      g;
    size_t         sets, parts; /* pair j goes into set j % sets; vectors of a panel */
    bool           scaled;      /* inputs are the model's, here through the scaler */
    double        *weights;     /* [n]: as they are read */
    size_t         n;
} group;

/* Lane `lane` of part `part` of a panel: its output, counted from the panel's first. */
static size_t output_of(const group *t, size_t part, size_t lane)
{
    return t->parts == 1 ? lane / 2 : lane / 4 * 4 + part * 2 + lane % 4 / 2;
}

/* Whether the pair of inputs from 2 j on has a weight in a panel. A part without one is
 * multiplied where the other has some: blocks of events do it, and 0 times what is no
 * finite number is NaN. */
static bool has_pair(const group *t, size_t j, size_t p)
{
    const size_t output = t->g.first + p * PQ_LANES;

    return !pq_block_is_zero(t->a, output, 2 * j) ||
           (2 * j + 1 < t->a->length && !pq_block_is_zero(t->a, output, 2 * j + 1));
}

/* Weights of the pair of inputs from 2 j on. Behind the last input stands a 0 whose
 * weight is -0: adding -0 changes nothing. */
static void put_pair(const group *t, size_t j, size_t p, size_t part, double *to)
{
    double block[PQ_LANES];

    for (size_t h = 0; h < 2; h++) {
        const size_t i = 2 * j + h;
        if (i < t->a->length) {
            pq_block_put(t->a, t->g.first + p * PQ_LANES, i, block);
        }
        for (size_t lane = h; lane < PQ_LANES; lane += 2) {
            to[lane] = i < t->a->length ? block[output_of(t, part, lane)] : -0.0;
        }
    }
}

static group group_of(const pq_rows *a, pq_panels g, size_t chains)
{
    return (group){.a = a, .g = g, .sets = chains / 2, .parts = g.n <= HALF ? 1 : 2};
}

/* Blocks of weights of an input that are not all zero. */
static size_t blocks_of(const pq_rows *a, pq_panels g, size_t i)
{
    size_t n = 0;

    for (size_t p = 0; i < a->length && p < g.panels; p++) {
        n += pq_block_is_zero(a, g.first + p * PQ_LANES, i) ? 0 : 1;
    }
    return n;
}

/* Reads of 512 bits decide, of inputs and weights. An input that no output depends on is
 * not read, for it may be no number: it has no part in a pair. */
bool pq_dense_pairs_may(const pq_emitter *e, const pq_rows *a, pq_panels g, size_t chains)
{
    const group t     = group_of(a, g, chains);
    size_t      pairs = (a->length + QUAD - 1) / QUAD, spread = 0;
    bool        mixed = false;

    if (!pq_emit_has(e, PQ_CODEGEN_AVX512) || chains % 2 != 0 ||
        (chains & (chains - 1)) != 0) {
        return false;
    }
    for (size_t j = 0; 2 * j < a->length; j++) {
        const size_t first = blocks_of(a, g, 2 * j), second = blocks_of(a, g, 2 * j + 1);
        mixed = mixed || (2 * j + 1 < a->length && (first > 0) != (second > 0));
        spread += first + second + (first > 0 ? 1 : 0) + (second > 0 ? 1 : 0);
        for (size_t p = 0; p < g.panels; p++) {
            pairs += has_pair(&t, j, p) ? t.parts : 0;
        }
    }
    return !mixed && pairs <= spread;
}

static void add_pair(group *t, size_t j, size_t p)
{
    for (size_t part = 0; has_pair(t, j, p) && part < t->parts; part++) {
        put_pair(t, j, p, part, t->weights + t->n);
        pq_text_add(&t->e->body, " MADD(s%zu_%zu_%zu, x%zu, w + %zu)", p, j % t->sets,
                    part, j, t->n);
        t->n += PQ_LANES;
    }
}

/* The register of inputs q, and its pairs. */
static void read_quad(const group *t, size_t q)
{
    const size_t at = q * QUAD, left = t->a->length - at, n = left < QUAD ? left : QUAD;
    pq_text     *out = &t->e->body;

    if (t->scaled) {
        pq_text_add(
            out, "        SCALED(q%zu, x + r * %zu + %zu, t%zu + %zu, t%zu + %zu, %zu)",
            q, t->a->length, at, t->e->scaler, at, t->e->scaler + 1, at, n);
    } else {
        pq_text_add(out, "        QUAD(q%zu, in + %zu, %zu)", q, at, n);
    }
    pq_text_add(out, " PAIR(x%zu, q%zu, 0)", 2 * q, q);
    if (left > 2) {
        pq_text_add(out, " PAIR(x%zu, q%zu, 1)", 2 * q + 1, q);
    }
    pq_text_add(out, "\n");
}

static void add_quad(group *t, size_t q, size_t p)
{
    for (size_t j = 2 * q; j < 2 * q + 2 && 2 * j < t->a->length; j++) {
        pq_text_add(&t->e->body, "%s", j == 2 * q ? "       " : "");
        add_pair(t, j, p);
    }
    pq_text_add(&t->e->body, "\n");
}

/* Sums of set 0 start with the biases, in the lanes of the first of two inputs. */
static pq_status open_sums(const group *t, pq_err *err)
{
    const size_t parts  = t->g.panels * t->parts;
    double      *biases = NULL;
    size_t       number;
    pq_status    st;

    PQ_NEW(biases, parts * PQ_LANES);
    for (size_t i = 0; i < parts * PQ_LANES; i += 2) {
        const size_t part   = i / PQ_LANES % t->parts;
        const size_t first  = t->g.first + i / PQ_LANES / t->parts * PQ_LANES;
        const size_t output = first + output_of(t, part, i % PQ_LANES);
        biases[i]           = output < t->a->outputs ? t->a->bias[output] : 0.0;
    }
    PQ_TRY(pq_emit_table(t->e, parts * PQ_LANES, biases, &number, err));
    for (size_t p = 0; p < t->g.panels; p++) {
        for (size_t set = 0; set < t->sets; set++) {
            for (size_t part = 0; part < t->parts; part++) {
                pq_text_add(&t->e->body,
                            "%s s%zu_%zu_%zu = ", part + set == 0 ? "        part" : ",",
                            p, set, part);
                if (set == 0) {
                    pq_text_add(&t->e->body, "*(const part *)(t%zu + %zu)", number,
                                (p * t->parts + part) * PQ_LANES);
                } else {
                    pq_text_add(&t->e->body, "{0}");
                }
            }
        }
        pq_text_add(&t->e->body, ";\n");
    }
cleanup:
    pq_free(biases);
    return st;
}

/* The sums of a panel as one vector, their functions and store. */
static void close_panel(const group *t, const pq_emit_step *s, size_t p)
{
    const size_t left = t->g.n - p * PQ_LANES;
    pq_text     *out  = &t->e->body;
    char         sum[32], to[48];

    for (size_t set = 0; set < t->sets; set++) {
        pq_text_add(out, "%s f%zu_%zu = FOLD(s%zu_%zu_0, s%zu_%zu_%zu)",
                    set == 0 ? "        part" : ",", p, set, p, set, p, set,
                    t->parts - 1);
    }
    pq_text_add(out, ";\n");
    for (size_t step = 1; step < t->sets; step *= 2) {
        for (size_t set = 0; set < t->sets; set += 2 * step) {
            pq_text_add(out, "        f%zu_%zu += f%zu_%zu;\n", p, set, p, set + step);
        }
    }
    pq_text_add(out,
                t->parts == 1 ? "        vu s%zu = {{LOWER(f%zu_0)}};\n"
                              : "        vu s%zu = {{f%zu_0}};\n",
                p, p);
    (void)snprintf(sum, sizeof sum, "s%zu", p);
    (void)snprintf(to, sizeof to, "out + %zu", t->g.first + p * PQ_LANES);
    pq_panel_store(t->e, s, t->a, sum, to, left < PQ_LANES ? left : PQ_LANES);
}

pq_status pq_dense_pairs(pq_emitter *e, const pq_emit_step *s, const pq_rows *a,
                         pq_panels g, size_t chains, pq_err *err)
{
    const size_t quads = (a->length + QUAD - 1) / QUAD;
    const size_t first = quads > LAST ? quads - LAST : 0; /* of those that stay */
    group        t     = group_of(a, g, chains);
    size_t       number;
    pq_status    st;

    t.e      = e;
    t.scaled = e->scaled != NULL && strcmp(pq_emit_input(e, s, 0), e->scaled) == 0 &&
               e->graph->scaler_mean->count == a->length;
    PQ_NEW(t.weights, (a->length + 1) / 2 * g.panels * t.parts * PQ_LANES);
    PQ_TRY(open_sums(&t, err));
    pq_text_add(&e->body,
                "        const float *const w = t%zu;\n\n        (void)w, (void)in;\n",
                e->n_tables);
    for (size_t q = 0; q < first; q++) {
        read_quad(&t, q);
        for (size_t p = 0; p < g.panels; p++) {
            add_quad(&t, q, p);
        }
    }
    for (size_t q = first; q < quads; q++) {
        read_quad(&t, q);
    }
    for (size_t p = 0; p < g.panels; p++) {
        for (size_t q = first; q < quads; q++) {
            add_quad(&t, q, p);
        }
        close_panel(&t, s, p);
    }
    t.n = t.n > 0 ? t.n : PQ_LANES; /* of nothing but zeros one block is left, unread */
    PQ_TRY(pq_emit_table(e, t.n, t.weights, &number, err));
cleanup:
    pq_free(t.weights);
    return st;
}
