#include "exec/skips.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"

/* Cycles, about: of a step of one row, which waits for the sum before it; and of a run.
 */
static const double chain = 4.0, start = 10.0;
/* Share of the steps, and of the cycles, that may be left to bother. */
static const double worth = 0.9;
enum { ROWS = 8 /* of a block in registers */, VECTORS = 3 };

/* Whether any of n outputs from `channel` on reads item k. */
static bool is_read(const pq_geometry *g, const float *kernel, size_t channel, size_t n,
                    size_t k)
{
    for (size_t c = 0; c < n; c++) {
        if (kernel[(channel + c) * g->sum + k] != 0.0F) {
            return true;
        }
    }
    return false;
}

/* Which items each panel reads: [panels of all groups, sum]. */
static void mark(const pq_geometry *g, const float *kernel, size_t panel, bool *read)
{
    const size_t panels = pq_geometry_whole(g->group_out, panel) / panel;

    for (size_t i = 0; i < g->groups * panels; i++) {
        const size_t from = i % panels * panel;
        const size_t left = g->group_out - from;
        for (size_t k = 0; k < g->sum; k++) {
            read[i * g->sum + k] = is_read(g, kernel, i / panels * g->group_out + from,
                                           left < panel ? left : panel, k);
        }
    }
}

/* Cycles of all panels: `steps` items in `runs`. */
static double work_of(size_t steps, size_t runs, size_t vectors, size_t rows)
{
    const size_t blocks = (rows + ROWS - 1) / ROWS;
    const double each   = (double)rows / (double)blocks;
    const double cycles = 0.5 * (double)vectors * (each + 1.0);

    return (double)blocks * ((double)steps * fmax(chain, cycles) + (double)runs * start);
}

pq_status pq_skips_choose(const pq_geometry *g, const pq_kernels *kernels,
                          const float *kernel, size_t rows, pq_skips *out, pq_err *err)
{
    const size_t usual = kernels->panel(g->group_out);
    bool        *read  = NULL;
    double       least;
    pq_status    st;

    const size_t most =
        g->groups * (pq_geometry_whole(g->group_out, kernels->lanes) / kernels->lanes);
    PQ_NEW(read, most * g->sum);
    *out  = (pq_skips){0};
    least = worth *
            work_of(g->groups * (pq_geometry_whole(g->group_out, usual) / usual) * g->sum,
                    g->taps * g->groups, usual / kernels->lanes, rows);
    for (size_t v = 1; v <= VECTORS; v++) {
        const size_t panel = v * kernels->lanes;
        const size_t panels =
            g->groups * (pq_geometry_whole(g->group_out, panel) / panel);
        size_t steps = 0, runs = 0;
        double work;
        mark(g, kernel, panel, read);
        for (size_t i = 0; i < panels * g->sum; i++) {
            steps += read[i] ? 1 : 0;
            runs += read[i] && (i % g->sum == 0 || !read[i - 1]) ? 1 : 0;
        }
        work = work_of(steps, runs, v, rows);
        if ((double)steps < worth * (double)(panels * g->sum) && work < least) {
            least      = work;
            out->panel = panel;
        }
    }
cleanup:
    pq_free(read);
    return st;
}

/* Appends the runs of a segment that are read. */
static void split(const pq_segment *s, size_t panel, const bool *read, pq_segment *out,
                  size_t *n)
{
    const size_t at = s->b / panel;

    for (size_t k = 0; k < s->k; k++) {
        if (!read[at + k]) {
            continue;
        }
        if (k == 0 || !read[at + k - 1]) {
            out[(*n)++] = (pq_segment){s->a + k, s->b + k * panel, 0};
        }
        out[*n - 1].k++;
    }
}

pq_status pq_skips_place(const pq_geometry *g, const float *kernel,
                         const pq_regions *regions, pq_skips *skips, pq_err *err)
{
    const size_t panels =
        g->groups * (pq_geometry_whole(g->group_out, skips->panel) / skips->panel);
    bool     *read = NULL;
    size_t    most = 0, n = 0;
    pq_status st;

    PQ_NEW(read, panels * g->sum);
    PQ_NEW(skips->first, panels * regions->n + 1);
    mark(g, kernel, skips->panel, read);
    for (size_t i = 0; i < regions->n; i++) {
        for (size_t s = 0; s < regions->region[i].n_segments; s++) {
            most += regions->region[i].segments[s].k / 2 + 1;
        }
    }
    PQ_NEW(skips->segments, panels * most);
    for (size_t p = 0; p < panels; p++) {
        for (size_t i = 0; i < regions->n; i++) {
            const pq_region *r               = &regions->region[i];
            skips->first[p * regions->n + i] = n;
            for (size_t s = 0; s < r->n_segments; s++) {
                split(&r->segments[s], skips->panel, read + p * g->sum, skips->segments,
                      &n);
            }
        }
    }
    skips->first[panels * regions->n] = n;
cleanup:
    pq_free(read);
    return st;
}

void pq_skips_free(pq_skips *skips)
{
    pq_free(skips->first);
    pq_free(skips->segments);
    *skips = (pq_skips){0};
}
