/* Parts of activations that are gathered by constant indices. */
#include "onnx_nets.h"

TestSuite(onnx_parts, .init = setup, .fini = teardown);

enum { SIDE = 5, DEEP = 2 };

static const int64_t image[] = {-1, SIDE, SIDE, DEEP};

/* GatherND over x with its batch behind the first two axes, as jax2onnx has it. */
static void gathered(const char *indices, int64_t batch_dims)
{
    const int64_t to[] = {1, 2, 0, 3}, back[] = {2, 0, 1, 3};

    begin_node("Transpose", "x", "t");
    put_ints("perm", 4, to);
    end_node();
    plain_node("Relu", "t", "r");
    char in[64];
    snprintf(in, sizeof in, "r %s", indices);
    begin_node("GatherND", in, "g");
    put_int("batch_dims", batch_dims);
    end_node();
    begin_node("Transpose", "g", "y");
    put_ints("perm", 4, back);
    end_node();
}

static void put_wholes(const char *name, pq_shape shape, const int64_t *values)
{
    size_t n = 0;

    (void)pq_shape_count(&shape, &n);
    put_raw(name, 7, shape, values, n * sizeof *values);
}

/* Indices of x[:, ::2, ::2] computed as jax2onnx does: ranges, times 2, joined. */
static void computed(void)
{
    put_wholes("zero", (pq_shape){0}, (const int64_t[]){0});
    put_wholes("one", (pq_shape){0}, (const int64_t[]){1});
    put_wholes("two", (pq_shape){0}, (const int64_t[]){2});
    put_wholes("three", (pq_shape){0}, (const int64_t[]){3});
    put_wholes("rows", PQ_SHAPE(3), (const int64_t[]){3, 1, 1});
    put_wholes("columns", PQ_SHAPE(3), (const int64_t[]){1, 3, 1});
    put_wholes("all", PQ_SHAPE(3), (const int64_t[]){3, 3, 1});
    plain_node("Range", "zero three one", "i");
    plain_node("Mul", "two i", "j");
    plain_node("Reshape", "j rows", "jr");
    plain_node("Reshape", "j columns", "jc");
    plain_node("Expand", "jr all", "h");
    plain_node("Expand", "jc all", "w");
    begin_node("Concat", "h w", "hw");
    put_int("axis", 2);
    end_node();
    gathered("hw", 0);
}

/* The same written out. */
static void every_other(void)
{
    int64_t index[3][3][2];

    for (int h = 0; h < 3; h++) {
        for (int w = 0; w < 3; w++) {
            index[h][w][0] = 2 * h;
            index[h][w][1] = 2 * w;
        }
    }
    put_wholes("hw", PQ_SHAPE(3, 3, 2), &index[0][0][0]);
    gathered("hw", 0);
}

Test(onnx_parts, every_other_pixel_by_a_grid_of_indices_is_a_subsample)
{
    static void (*const put[])(void) = {computed, every_other};
    double x[SIDE * SIDE * DEEP], y[3 * 3 * DEEP];

    for (int i = 0; i < SIDE * SIDE * DEEP; i++) {
        x[i] = i + 0.5;
    }
    for (size_t k = 0; k < sizeof put / sizeof *put; k++) {
        put[k]();
        pq_graph *g = read_of(image, 4, image, 4);
        cr_assert_str_eq(g->nodes[g->output].layer->kind->name, "subsample");
        run_graph(g, x, y);
        for (int i = 0; i < 3 * 3 * DEEP; i++) {
            const int c = i % DEEP, w = i / DEEP % 3, h = i / DEEP / 3;
            cr_expect_eq(y[i], x[(2 * h * SIDE + 2 * w) * DEEP + c], "item %d", i);
        }
        pq_graph_free(&g);
    }
}

/* Indices [2, 2, 2] whose entries are given. */
static void grid_of(int64_t batch_dims, const int64_t *index)
{
    put_wholes("hw", PQ_SHAPE(2, 2, 2), index);
    gathered("hw", batch_dims);
}

static void crossed(void)
{
    grid_of(0, (const int64_t[]){0, 0, 0, 4, 4, 4, 4, 0});
}

static void beyond(void)
{
    grid_of(0, (const int64_t[]){0, 0, 0, 3, 5, 0, 5, 3});
}

static void from_the_end(void)
{
    grid_of(0, (const int64_t[]){-5, 0, -5, 3, 0, 0, 0, 3});
}

static void backwards(void)
{
    grid_of(0, (const int64_t[]){3, 0, 3, 3, 0, 0, 0, 3});
}

static void by_batch(void)
{
    grid_of(1, (const int64_t[]){0, 0, 0, 3, 3, 0, 3, 3});
}

static void not_to_the_end(void) /* 0 and 2 of 0 to 4 */
{
    grid_of(0, (const int64_t[]){0, 0, 0, 2, 2, 0, 2, 2});
}

static void list(void)
{
    put_wholes("hw", PQ_SHAPE(2, 2), (const int64_t[]){0, 0, 1, 1});
    gathered("hw", 0);
}

static const struct {
    void (*put)(void);
    const char *says;
} refused[] = {
    {crossed, "node 'g': GatherND: its indices along axis 1 are not those of a slice"},
    {beyond, "node 'g': GatherND: index 5 is not one of axis 0, which is 5 long"},
    {from_the_end, "indices from -5 on in steps of 5 are no plain slice"},
    {backwards, "indices from 3 on in steps of -3 are no plain slice"},
    {by_batch, "batch_dims = 1 and indices of 3 axes; a grid of constant indices"},
    {not_to_the_end, "a step of 2 over a part of axis 0 is not read"},
    {list, "its indices, of 2 axes and 2 entries each, are no grid"},
};

Test(onnx_parts, indices_of_no_slice_are_refused_by_name)
{
    for (size_t k = 0; k < sizeof refused / sizeof *refused; k++) {
        refused[k].put();
        expect(refusal(17, image, 4), refused[k].says);
    }
}
