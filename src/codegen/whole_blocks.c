/* Weights in blocks of four inputs and 16 outputs, and their tables. */
#include "codegen/whole_linear.h"
#include "core/memory.h"

pq_segments pq_segments_of(const pq_linear *l)
{
    const pq_window *v    = &l->v;
    const bool       rows = v->dilation_w == 1;
    pq_segments      s    = {.n = v->kernel_h * (rows ? 1 : v->kernel_w)};

    s.length = v->channels * (rows ? v->kernel_w : 1);
    s.blocks = (s.length + 3) / 4;
    return s;
}

/* Weights of a block; 0 beyond the outputs and behind a segment. */
bool pq_block_get(const pq_linear *l, const pq_segments *s, size_t panel, size_t block,
                  int64_t *to)
{
    const size_t segment = block / s->blocks, first = block % s->blocks * 4;
    bool         any = false;

    for (size_t lane = 0; lane < 16; lane++) {
        for (size_t j = 0; j < 4; j++) {
            const size_t o = panel * 16 + lane, i = first + j;
            to[lane * 4 + j] =
                o < l->u->outputs && i < s->length
                    ? l->u->weight[o * l->u->length + segment * s->length + i]
                    : 0;
            any = any || to[lane * 4 + j] != 0;
        }
    }
    return any;
}

/* Item `to` of a block as words: pairs of inputs, [2][16][2]; that of bytes is [16][4].
 */
static size_t word_at(size_t to)
{
    return to % 32 / 2 * 4 + to / 32 * 2 + to % 2;
}

/* Weights in words of 16 bits, for AVX2, which has no products of bytes that never
 * overflow. */
static pq_status word_table(pq_whole *w, size_t number, size_t n, const int64_t *weights,
                            pq_err *err)
{
    int64_t  *words = NULL;
    pq_status st;

    PQ_NEW(words, n * PQ_BLOCK);
    for (size_t i = 0; i < n * PQ_BLOCK; i++) {
        words[i] = weights[i / PQ_BLOCK * PQ_BLOCK + word_at(i % PQ_BLOCK)];
    }
    PQ_TRY(pq_whole_table(w, "int16_t", 'j', number, n * PQ_BLOCK, words, err));
cleanup:
    pq_free(words);
    return st;
}

/* n blocks of weights as all kinds of tables. */
pq_status pq_block_tables(pq_whole *w, const pq_linear *l, size_t number, size_t n,
                          const int64_t *weights, pq_err *err)
{
    double   *turned = NULL;
    pq_status st;

    if (l->end.exact) {
        PQ_NEW(turned, n * PQ_BLOCK);
        for (size_t i = 0; i < n * PQ_BLOCK; i++) {
            turned[i] =
                (double)weights[i / PQ_BLOCK * PQ_BLOCK + i % 16 * 4 + i % PQ_BLOCK / 16];
        }
        PQ_TRY(pq_whole_reals(w, "float", 'f', number, n * PQ_BLOCK, turned, err));
    }
    if (pq_emit_has(w->e, PQ_CODEGEN_AVX2)) {
        PQ_TRY(word_table(w, number, n, weights, err));
    }
    PQ_TRY(w->e->isa == PQ_CODEGEN_PORTABLE
               ? PQ_OK
               : pq_whole_table(w, "int8_t", 'b', number, n * PQ_BLOCK, weights, err));
cleanup:
    pq_free(turned);
    return st;
}

pq_status pq_blocks_all(pq_whole *w, const pq_linear *l, size_t first, size_t panels,
                        size_t number, pq_err *err)
{
    const pq_segments s       = pq_segments_of(l);
    int64_t          *weights = NULL;
    pq_status         st;

    PQ_NEW(weights, s.n * s.blocks * panels * PQ_BLOCK);
    for (size_t b = 0; b < s.n * s.blocks; b++) {
        for (size_t p = 0; p < panels; p++) {
            (void)pq_block_get(l, &s, first + p, b,
                               weights + (b * panels + p) * PQ_BLOCK);
        }
    }
    PQ_TRY(pq_block_tables(w, l, number, s.n * s.blocks * panels, weights, err));
cleanup:
    pq_free(weights);
    return st;
}
