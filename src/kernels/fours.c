#include "kernels/fours.h"

#include "core/memory.h"

enum { FOUR = 4, MOST_OF_FOUR = 2, OF_WORD = 16 /* places of two bits */ };

/* The portable kernels have no permutation: without, this took twice the time of all
 * products. */
size_t pq_fours_few(const pq_kernels *kernels, size_t outputs, size_t inputs,
                    const float *kernel)
{
    size_t most = 0;

    if (kernels->isa == PQ_ISA_PORTABLE || inputs < FOUR) {
        return 0;
    }
    for (size_t j = 0; j < outputs; j++) {
        const float *row = kernel + j * inputs;
        for (size_t g = 0; g < inputs; g += FOUR) {
            size_t n = 0;
            for (size_t i = g; i < inputs && i < g + FOUR; i++) {
                n += row[i] != 0.0F ? 1 : 0;
            }
            most = n > most ? n : most;
        }
    }
    return most <= MOST_OF_FOUR ? most : 0;
}

/* Columns of a panel: its time grows by about a third with each vector more. */
static size_t panel_of(const pq_kernels *kernels, size_t outputs)
{
    size_t best = 0, least = SIZE_MAX;

    for (size_t v = 1; v <= PQ_FOURS_VECTORS; v++) {
        const size_t panel = v * kernels->lanes;
        const size_t cost  = (outputs + panel - 1) / panel * (v + 2);
        if (cost < least) {
            best  = panel;
            least = cost;
        }
    }
    return best;
}

static size_t columns_of(const pq_fours *f)
{
    return (f->n + f->panel - 1) / f->panel * f->panel;
}

/* Puts down the weights of one output and their places. */
static void pack_column(const float *row, const pq_fours *f, float *weight,
                        int32_t *places)
{
    for (size_t i = 0, slot = 0; i < f->inputs; i++) {
        const size_t group = i / FOUR * FOUR;
        const size_t from  = group + FOUR <= f->inputs ? group : f->inputs - FOUR;
        const size_t first = i / FOUR * f->few;

        slot = slot < first ? first : slot;
        if (row[i] != 0.0F) {
            const size_t   word     = slot / OF_WORD * f->panel;
            const size_t   shift    = slot % OF_WORD * 2;
            const uint32_t place    = (uint32_t)(i - from) << shift;
            places[word]            = (int32_t)((uint32_t)places[word] | place);
            weight[slot * f->panel] = row[i];
            slot++;
        }
    }
}

pq_status pq_fours_pack(const pq_kernels *kernels, size_t outputs, size_t inputs,
                        const float *kernel, pq_fours *out, pq_err *err)
{
    const size_t slots = pq_fours_groups(inputs) * out->few;
    const size_t words = pq_fours_words(inputs, out->few);
    pq_status    st;

    out->n      = outputs;
    out->inputs = inputs;
    out->panel  = panel_of(kernels, outputs);
    PQ_NEW(out->weight, columns_of(out) * slots);
    PQ_NEW(out->places, columns_of(out) * words);
    PQ_NEW(out->bias, columns_of(out));
    for (size_t j = 0; j < outputs; j++) {
        const size_t panel = j / out->panel * out->panel, c = j % out->panel;
        pack_column(kernel + j * inputs, out, out->weight + panel * slots + c,
                    out->places + panel * words + c);
    }
cleanup:
    return st;
}

size_t pq_fours_bytes(const pq_fours *f)
{
    return columns_of(f) *
           (pq_fours_groups(f->inputs) * f->few + pq_fours_words(f->inputs, f->few) + 1) *
           sizeof(float);
}

void pq_fours_free(pq_fours *f)
{
    pq_free(f->weight);
    pq_free(f->places);
    pq_free(f->bias);
    *f = (pq_fours){0};
}
