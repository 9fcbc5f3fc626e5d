#include "compress/prune_sparsegpt.h"
#include "compress/wiring.h"
#include "nets.h"

static pq_layer_change *changes;
static size_t           n_changes;

static size_t zeros(const float *x, size_t n)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++) {
        count += x[i] == 0.0f ? 1 : 0;
    }
    return count;
}

/* The largest magnitude that went is no larger than the least that stayed. */
static void expect_least(const float *before, const float *after, size_t n)
{
    double went = 0.0, stayed = HUGE_VAL;

    for (size_t i = 0; i < n; i++) {
        if (after[i] == 0.0f) {
            went = fmax(went, fabs((double)before[i]));
        } else {
            stayed = fmin(stayed, fabs((double)before[i]));
            cr_expect_eq(after[i], before[i]);
        }
    }
    cr_expect_leq(went, stayed);
}

Test(prune_weights, every_channel_loses_its_share)
{
    static const char *const names[] = {"stem", "conv1", "conv2", "conv3", "out"};
    pq_graph                *g       = net_residual(1);

    for (int percent = 0; percent <= 90; percent += 10) {
        char      text[80];
        pq_graph *out;
        (void)snprintf(text, sizeof text, "prune:scope=per_channel,target_sparsity=%d%%",
                       percent);
        out = net_apply(text, g, NULL, NULL, NULL);
        for (size_t k = 0; k < 5; k++) {
            const pq_tensor *a = net_weight(g, names[k], "kernel"),
                            *b = net_weight(out, names[k], "kernel");
            const size_t row   = a->count / a->shape.dim[0];
            for (size_t i = 0; i < a->count; i += row) {
                cr_expect_eq(zeros(pq_f32(b) + i, row),
                             (size_t)round(percent * (double)row / 100.0));
                expect_least(pq_f32(a) + i, pq_f32(b) + i, row);
            }
        }
        pq_graph_free(&out);
    }
    pq_graph_free(&g);
}

/* N, M; 64 is not a multiple of 7, and a row of 27 none of 4. */
Test(prune_weights, n_of_every_m_stay)
{
    static const size_t      patterns[][2] = {{1, 1}, {1, 2}, {2, 4},   {4, 4},
                                              {1, 7}, {3, 7}, {64, 64}, {5, 64}};
    static const char *const names[]       = {"stem", "conv1", "conv3", "out"};
    pq_graph                *g             = net_residual(2);

    for (size_t p = 0; p < sizeof patterns / sizeof *patterns; p++) {
        const size_t N = patterns[p][0], M = patterns[p][1];
        char         text[80];
        pq_graph    *out;
        (void)snprintf(text, sizeof text, "prune:N=%zu,M=%zu", N, M);
        out = net_apply(text, g, NULL, NULL, NULL);
        for (size_t k = 0; k < 4; k++) {
            const pq_tensor *a = net_weight(g, names[k], "kernel"),
                            *b = net_weight(out, names[k], "kernel");
            const size_t row   = a->count / a->shape.dim[0];
            for (size_t i = 0; i < a->count; i += row) {
                for (size_t at = 0; at < row; at += M) {
                    const size_t n = row - at < M ? row - at : M;
                    cr_expect_eq(zeros(pq_f32(b) + i + at, n), n > N ? n - N : 0, "%s %s",
                                 text, names[k]);
                    expect_least(pq_f32(a) + i + at, pq_f32(b) + i + at, n);
                }
            }
        }
        pq_graph_free(&out);
    }
    pq_graph_free(&g);
}

/* Mean square of a block of a kernel [rows, row], and whether all of it is zero. */
static double block_of(const pq_tensor *w, size_t o, size_t i, size_t inputs,
                       size_t outputs, bool *zero)
{
    const size_t rows = w->shape.dim[0], row = w->count / rows;
    double       squares = 0.0;
    size_t       n       = 0;

    for (size_t a = o; a < rows && a < o + outputs; a++) {
        for (size_t b = i; b < row && b < i + inputs; b++, n++) {
            squares += pow((double)pq_f32(w)[a * row + b], 2.0);
        }
    }
    *zero = squares == 0.0;
    return squares / (double)n;
}

/* Whole blocks go, exactly as many as are due, none larger than one that stays; at the
 * ends of rows and columns they are smaller (27 inputs, 6 outputs). */
Test(prune_weights, blocks_go_to_one_block)
{
    static const size_t      sizes[][2] = {{4, 16}, {1, 16}, {16, 4},  {5, 4},
                                           {1, 1},  {3, 1},  {1024, 1}};
    static const char *const names[]    = {"stem", "conv1", "conv2", "conv3", "out"};
    static const char *const scopes[]   = {"global", "per_layer"};

    for (size_t c = 0; c < 7 * 2 * 4; c++) {
        const size_t *size  = sizes[c % 7];
        const bool    all   = c / 7 % 2 == 0;
        const double  share = 0.3 * (double)(c / 14);
        pq_graph     *g     = net_residual(21), *out;
        char          text[96];
        double        went = 0.0, stayed = HUGE_VAL;
        size_t        blocks = 0, gone = 0;
        (void)snprintf(text, sizeof text,
                       "prune:target_sparsity=%g,block=[%zu,%zu],scope=%s", share,
                       size[0], size[1], scopes[c / 7 % 2]);
        out = net_apply(text, g, NULL, NULL, NULL);
        for (size_t k = 0; k < 5; k++) {
            const pq_tensor *a = net_weight(g, names[k], "kernel"),
                            *b = net_weight(out, names[k], "kernel");
            const size_t row   = a->count / a->shape.dim[0];
            for (size_t o = 0; o < a->shape.dim[0]; o += size[1]) {
                for (size_t i = 0; i < row; i += size[0]) {
                    bool         zero, was;
                    const double left = block_of(b, o, i, size[0], size[1], &zero);
                    const double full = block_of(a, o, i, size[0], size[1], &was);
                    cr_expect(zero || left == full, "%s: part of a block", text);
                    went   = zero ? fmax(went, full) : went;
                    stayed = zero ? stayed : fmin(stayed, full);
                    blocks++;
                    gone += zero ? 1 : 0;
                }
            }
            if (!all || k == 4) {
                cr_expect_leq(went, stayed, "%s", text);
                cr_expect_eq(gone, (size_t)round(share * (double)blocks),
                             "%s: %zu of %zu", text, gone, blocks);
                went   = 0.0;
                stayed = HUGE_VAL;
                blocks = gone = 0;
            }
        }
        pq_graph_free(&out);
        pq_graph_free(&g);
    }
}

/* A block of one is a weight. */
Test(prune_weights, blocks_of_one_are_single_weights)
{
    static const char *const more[] = {"", ",scope=per_layer"};

    for (size_t i = 0; i < 2; i++) {
        pq_graph *g = net_mlp(22), *a, *b;
        char      text[96], one[65], other[65];
        (void)snprintf(text, sizeof text, "prune:target_sparsity=0.7%s", more[i]);
        a = net_apply(text, g, NULL, NULL, NULL);
        (void)strcat(text, ",block=[1,1]");
        b = net_apply(text, g, NULL, NULL, NULL);
        OK(pq_graph_hash(a, one, &err));
        OK(pq_graph_hash(b, other, &err));
        cr_expect_str_eq(one, other);
        pq_graph_free(&a);
        pq_graph_free(&b);
        pq_graph_free(&g);
    }
}

Test(prune_weights, blocks_say_what_they_cannot)
{
    pq_graph *g = net_cores(23), *out;

    net_stage_refused("prune:block=[4]",
                      "prune: block has 1 numbers, not [inputs, outputs]");
    net_stage_refused("prune:block=[4,1.5]",
                      "prune: block[1] = 1.5 is not a whole number");
    net_stage_refused("prune:block=[4,0]", "prune: block = 0 is not in 1..1024");
    net_stage_refused(
        "prune:block=[4,16],N=2,M=4",
        "prune: block and N, M exclude each other: blocks go, or N of every M "
        "stay");
    net_stage_refused("prune:block=[4,16],scope=per_channel",
                      "prune: a block is of several output channels: scope: global or "
                      "per_layer");
    net_stage_refused("prune:block=[4,16],criterion=sparsegpt,scope=per_layer",
                      "prune: criterion sparsegpt chooses single weights, not blocks");
    out = net_apply("prune:block=[1,2]", g, NULL, &changes, &n_changes);
    cr_expect_str_eq(changes[0].what, "left: its kernel has no rows of outputs");
    pq_free(changes);
    pq_graph_free(&out);
    net_survives("prune:target_sparsity=0.5,block=[4,16]", g, NULL);
    pq_graph_free(&g);
}

/* in [columns] -> dense `fc` [rows, columns], with moments of its input. */
static pq_graph *one_layer(size_t rows, size_t columns, const float *w,
                           const double *gram, size_t events, pq_calib **calib)
{
    pq_graph  *g     = NULL;
    pq_layer  *layer = net_layer("dense");
    pq_tensor *k     = NULL;
    char       shape[24];

    OK(pq_graph_create(&g, &err));
    (void)snprintf(shape, sizeof shape, "%zu", columns);
    net_input(g, shape);
    OK(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(rows, columns), &k, &err));
    memcpy(k->data, w, rows * columns * sizeof *w);
    OK(pq_layer_add_weight(layer, "kernel", k, &err));
    net_add(g, "fc", layer, "in");
    OK(pq_graph_check(g, &err));
    OK(pq_calib_create(g, calib, &err));
    pq_calib_gram *to = &(*calib)->grams[1];
    to->n             = columns;
    to->rows          = events;
    to->gram          = pq_calloc(columns * columns, sizeof(double));
    to->mean          = pq_calloc(columns, sizeof(double));
    memcpy(to->gram, gram, columns * columns * sizeof(double));
    return g;
}

/* The example of the paper's figure 1: the two largest |w| |x| of each row stay; with one
   ranking for the whole layer others do. */
Test(prune_weights, wanda_by_hand_with_both_rankings)
{
    static const float  w[12]       = {4, 0, 1, -1, 3, -2, -1, -3, -3, 1, 0, 2};
    static const double norms[4]    = {1, 2, 8, 3};
    static const float  rows[12]    = {4, 0, 1, 0, 0, 0, -1, -3, -3, 0, 0, 2};
    static const float  layer[12]   = {4, 0, 1, 0, 0, -2, -1, -3, 0, 0, 0, 2};
    static const float  pattern[12] = {4, 0, 1, 0, 0, -2, 0, -3, -3, 0, 0, 2};
    static const struct {
        const char  *text;
        const float *due;
    } cases[]       = {{"prune:criterion=wanda,scope=per_channel", rows},
                       {"prune:criterion=wanda,scope=per_layer", layer},
                       {"prune:criterion=wanda,scope=global", layer},
                       {"prune:criterion=wanda,N=1,M=2", pattern}};
    double gram[16] = {0};

    for (size_t i = 0; i < 4; i++) {
        gram[i * 4 + i] = norms[i] * norms[i];
    }
    for (size_t i = 0; i < 4; i++) {
        pq_calib        *calib = NULL;
        pq_graph        *g     = one_layer(3, 4, w, gram, 1, &calib);
        pq_apply_options with  = {.calib = calib};
        pq_graph        *out   = net_apply(cases[i].text, g, &with, NULL, NULL);
        const float     *got   = pq_f32(net_weight(out, "fc", "kernel"));
        for (size_t k = 0; k < 12; k++) {
            cr_expect_eq(got[k], cases[i].due[k], "%s: %zu is %g", cases[i].text, k,
                         (double)got[k]);
        }
        pq_graph_free(&out);
        pq_graph_free(&g);
        pq_calib_free(&calib);
    }
}

enum { ROWS = 3, COLUMNS = 8, EVENTS = 12 };

/* Printed by sparsegpt_oracle.py: sparsity 0.5, and 2 of every 4. */
static const double oracle[2][ROWS][COLUMNS] = {
    {{0.955336511, 0, 0, 0, -1.37107103, 0, -0.127597825, 0.95551878},
     {0.927478433, 0.950232565, 0, 0, -0.842355459, 0, -1.07734593, -0.490277871},
     {0, 0, 0.471649817, 0, 0, 0, 0.0212696312, -0.77701689}},
    {{0.955336511, 0, 0, -0.642114482, -0.909557821, 0, 0, 0.858862245},
     {0.927478433, 0.950232565, 0, 0, 0, 0, -2.14636165, 0.316516913},
     {0, 1.01565411, 0.785827302, 0, 0, 0, -0.767387473, -0.691394985}}};

static void oracle_inputs(float *w, double *gram)
{
    double x[EVENTS][COLUMNS];

    for (size_t i = 0; i < ROWS * COLUMNS; i++) {
        w[i] = (float)cos(0.7 * (double)i + 0.3);
    }
    memset(gram, 0, COLUMNS * COLUMNS * sizeof *gram);
    for (size_t e = 0; e < EVENTS; e++) {
        for (size_t c = 0; c < COLUMNS; c++) {
            x[e][c] = c == 5 ? 0.0 : sin(1.3 * (double)e + 0.9 * (double)(c * c) + 0.2);
        }
        for (size_t i = 0; i < COLUMNS * COLUMNS; i++) {
            gram[i] += x[e][i / COLUMNS] * x[e][i % COLUMNS];
        }
    }
}

Test(prune_weights, sparsegpt_is_that_of_its_authors)
{
    static const char *const stages[] = {
        "prune:criterion=sparsegpt,scope=per_layer,target_sparsity=0.5",
        "prune:criterion=sparsegpt,N=2,M=4"};
    float  w[ROWS * COLUMNS];
    double gram[COLUMNS * COLUMNS];

    oracle_inputs(w, gram);
    for (size_t s = 0; s < 2; s++) {
        pq_calib        *calib = NULL;
        pq_graph        *g     = one_layer(ROWS, COLUMNS, w, gram, EVENTS, &calib);
        pq_apply_options with  = {.calib = calib};
        pq_graph        *out   = net_apply(stages[s], g, &with, NULL, NULL);
        const pq_weight *k     = pq_node_kernel(net_node(out, "fc"));
        for (size_t i = 0; i < ROWS * COLUMNS; i++) {
            const double due = oracle[s][i / COLUMNS][i % COLUMNS];
            cr_expect_float_eq((double)pq_f32(k->value)[i], due, 2e-6,
                               "%s: %zu is %g, not %g", stages[s], i,
                               (double)pq_f32(k->value)[i], due);
            cr_expect_eq(pq_weight_is_pruned(k, i), due == 0.0);
        }
        pq_graph_free(&out);
        pq_graph_free(&g);
        pq_calib_free(&calib);
    }
}

/* tr (W' - W) H (W' - W)^T */
static double loss(const float *a, const float *b, const double *h, size_t rows, size_t n)
{
    double sum = 0.0;

    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < n; i++) {
            for (size_t k = 0; k < n; k++) {
                sum += ((double)a[r * n + i] - (double)b[r * n + i]) * h[i * n + k] *
                       ((double)a[r * n + k] - (double)b[r * n + k]);
            }
        }
    }
    return sum;
}

/* On correlated inputs of more than one block of columns the outputs suffer less than
   under wanda, and less there than by magnitude; every target is met to one weight. */
Test(prune_weights, outputs_suffer_less_the_more_a_criterion_knows)
{
    enum { N = 150, OUT = 20, SAMPLES = 600 };
    static const char *const stages[] = {
        "prune:scope=per_layer,target_sparsity=%s",
        "prune:criterion=wanda,scope=per_channel,target_sparsity=%s",
        "prune:criterion=sparsegpt,scope=per_layer,target_sparsity=%s"};
    static const char *const targets[] = {"0.3", "0.5", "0.7"};
    pq_rng                   rng       = pq_rng_stream(3, "moments");
    double                  *h         = pq_calloc(N * N, sizeof *h);
    float                   *w         = pq_calloc(OUT * N, sizeof *w);
    double                   x[N];

    for (size_t i = 0; i < OUT * N; i++) {
        w[i] = (float)pq_rng_normal(&rng);
    }
    for (size_t s = 0; s < SAMPLES; s++) {
        const double common = pq_rng_normal(&rng);
        for (size_t i = 0; i < N; i++) {
            x[i] = (1.0 + (double)(i % 7)) * (0.7 * common + pq_rng_normal(&rng));
        }
        for (size_t i = 0; i < N * N; i++) {
            h[i] += x[i / N] * x[i % N];
        }
    }
    for (size_t t = 0; t < 3; t++) {
        double last = HUGE_VAL;
        for (size_t s = 0; s < 3; s++) {
            char             text[96];
            pq_calib        *calib = NULL;
            pq_graph        *g     = one_layer(OUT, N, w, h, SAMPLES, &calib), *out;
            pq_apply_options with  = {.calib = calib};
            (void)snprintf(text, sizeof text, stages[s], targets[t]);
            out              = net_apply(text, g, &with, NULL, NULL);
            const float *k   = pq_f32(net_weight(out, "fc", "kernel"));
            const double now = loss(k, w, h, OUT, N);
            cr_expect_lt(now, last, "%s: %g, before %g", text, now, last);
            cr_expect_eq(zeros(k, OUT * N), (size_t)round(atof(targets[t]) * OUT * N));
            last = now;
            pq_graph_free(&out);
            pq_graph_free(&g);
            pq_calib_free(&calib);
        }
    }
    pq_free(h);
    pq_free(w);
}

/* What was pruned stays 0, and counts. */
Test(prune_weights, sparsegpt_keeps_earlier_zeros)
{
    float  w[ROWS * COLUMNS];
    double gram[COLUMNS * COLUMNS];

    oracle_inputs(w, gram);
    pq_calib        *calib = NULL;
    pq_graph        *g     = one_layer(ROWS, COLUMNS, w, gram, EVENTS, &calib);
    pq_apply_options with  = {.calib = calib};
    pq_graph        *one   = net_apply("prune:target_sparsity=0.5", g, NULL, NULL, NULL);
    static const char *const stages[] = {
        "prune:criterion=sparsegpt,scope=per_layer,target_sparsity=0.25",
        "prune:criterion=sparsegpt,scope=per_layer,target_sparsity=0.75",
        "prune:criterion=sparsegpt,N=3,M=4"};
    for (size_t s = 0; s < 3; s++) {
        pq_graph        *two = net_apply(stages[s], one, &with, NULL, NULL);
        const pq_weight *a   = pq_node_kernel(net_node(one, "fc")),
                        *b   = pq_node_kernel(net_node(two, "fc"));
        for (size_t i = 0; i < ROWS * COLUMNS; i++) {
            cr_expect(!pq_weight_is_pruned(a, i) || pq_weight_is_pruned(b, i));
            cr_expect_eq(pq_f32(b->value)[i] == 0.0f, pq_weight_is_pruned(b, i));
        }
        pq_graph_free(&two);
    }
    pq_graph_free(&one);
    pq_graph_free(&g);
    pq_calib_free(&calib);
}

Test(prune_weights, layers_that_do_not_fit_say_why)
{
    pq_graph *g = net_cores(1), *out, *conv = net_residual(3);

    out = net_apply("prune:N=2,M=4", g, NULL, &changes, &n_changes);
    cr_assert_eq(n_changes, 2);
    cr_expect_str_eq(changes[0].what, "left: its kernel has no rows of outputs");
    cr_expect_str_eq(changes[1].what,
                     "16 of 36 weights are zero"); /* 4, 4, 1 of a row stay 2, 2, 1 */
    pq_free(changes);
    pq_graph_free(&out);

    pq_calib *calib = NULL;
    size_t    n;
    OK(pq_calib_create(conv, &calib, &err));
    pq_apply_options with = {.calib = calib};
    out = net_apply("prune:criterion=wanda,layers=conv3", conv, &with, &changes, &n);
    cr_expect_str_eq(
        changes[0].what,
        "left: there are no second moments of its input, since it is in groups");
    pq_free(changes);
    pq_graph_free(&out);
    pq_calib_free(&calib);
    pq_graph_free(&conv);
    pq_graph_free(&g);
}

Test(prune_weights, refuses_in_one_sentence)
{
    net_stage_refused("prune:N=4",
                      "prune: N and M go together: N of every M weights stay");
    net_stage_refused("prune:M=4",
                      "prune: N and M go together: N of every M weights stay");
    net_stage_refused("prune:N=5,M=4",
                      "prune: N = 5 is not in 1..4: N of every M weights stay");
    net_stage_refused("prune:N=0,M=4", "prune: N = 0 is not in 1..64");
    net_stage_refused("prune:N=2,M=65", "prune: M = 65 is not in 1..64");
    net_stage_refused("prune:N=2,M=4,scope=per_layer",
                      "prune: scope has no say where N of every M weights stay");
    net_stage_refused(
        "prune:criterion=sparsegpt",
        "prune: criterion sparsegpt goes layer by layer: scope: per_layer, or N and M");

    pq_graph *g = net_mlp(4);
    pq_err    err;
    cr_expect_eq(net_refusal("prune:criterion=wanda", g, NULL, &err), PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message, "prune needs calibration events with these parameters");
    pq_graph_free(&g);
}

Test(prune_weights, survives_every_failed_allocation)
{
    static const char *const stages[] = {"prune:criterion=wanda,scope=per_channel",
                                         "prune:criterion=sparsegpt,N=2,M=4",
                                         "prune:N=1,M=3"};
    float                    w[ROWS * COLUMNS];
    double                   gram[COLUMNS * COLUMNS];

    oracle_inputs(w, gram);
    for (size_t i = 0; i < 3; i++) {
        pq_calib        *calib = NULL;
        pq_graph        *g     = one_layer(ROWS, COLUMNS, w, gram, EVENTS, &calib);
        pq_apply_options with  = {.calib = calib};
        net_survives(stages[i], g, &with);
        pq_graph_free(&g);
        pq_calib_free(&calib);
    }
}
