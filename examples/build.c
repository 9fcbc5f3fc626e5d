/* Builds a small network from arrays, prunes and trains it on arrays, and predicts.
 *
 *   cc build.c $(pkg-config --cflags --libs pquant) -lm -o build && ./build
 */
#include <math.h>
#include <pquant.h>
#include <stdio.h>
#include <stdlib.h>

enum { EVENTS = 4000, IN = 2, HIDDEN = 32, CLASSES = 2 };

static float   x[EVENTS][IN], kernel1[HIDDEN][IN], kernel2[CLASSES][HIDDEN];
static int32_t y[EVENTS];

static pquant_array array(void *data, pquant_dtype dtype, size_t n, size_t m)
{
    return (pquant_array){
        .data = data, .dtype = dtype, .ndim = m ? 2 : 1, .shape = {n, m}};
}

static float uniform(void)
{
    return 2.0F * (float)rand() / (float)RAND_MAX - 1.0F;
}

/* Points in the unit circle, and around it. */
static void make_arrays(void)
{
    for (int i = 0; i < EVENTS; i++) {
        x[i][0] = 1.25F * uniform();
        x[i][1] = 1.25F * uniform();
        y[i]    = hypotf(x[i][0], x[i][1]) < 1.0F;
    }
    for (int i = 0; i < HIDDEN * IN; i++) {
        kernel1[0][i] = uniform();
    }
    for (int i = 0; i < CLASSES * HIDDEN; i++) {
        kernel2[0][i] = 0.3F * uniform();
    }
}

static pquant_model *build(void)
{
    const size_t    shape[] = {IN};
    pquant_array    k1      = array(kernel1, PQUANT_FLOAT32, HIDDEN, IN);
    pquant_array    k2      = array(kernel2, PQUANT_FLOAT32, CLASSES, HIDDEN);
    pquant_array    b1      = array(calloc(HIDDEN, 4), PQUANT_FLOAT32, HIDDEN, 0);
    pquant_array    b2      = array(calloc(CLASSES, 4), PQUANT_FLOAT32, CLASSES, 0);
    pquant_builder *b       = pquant_builder_create();
    pquant_model   *model   = NULL;

    if (b != NULL && pquant_builder_input(b, "x", 1, shape) == 0 &&
        pquant_builder_layer(b, "dense", "fc1", 0, NULL, NULL) == 0 &&
        pquant_builder_weight(b, "kernel", &k1) == 0 &&
        pquant_builder_weight(b, "bias", &b1) == 0 &&
        pquant_builder_layer(b, "relu", "act", 0, NULL, NULL) == 0 &&
        pquant_builder_layer(b, "dense", "fc2", 0, NULL, NULL) == 0 &&
        pquant_builder_weight(b, "kernel", &k2) == 0 &&
        pquant_builder_weight(b, "bias", &b2) == 0) {
        model = pquant_builder_finish(b);
    }
    pquant_builder_free(b);
    free(b1.data);
    free(b2.data);
    return model;
}

static int show(void *context, const char *what, size_t done, size_t total,
                const char *note)
{
    (void)context;
    fprintf(stderr, "%s %zu of %zu%s%s\n", what, done, total, note ? ": " : "",
            note ? note : "");
    return 0; /* anything else cancels */
}

int main(void)
{
    const char *const methods[] = {"finetune:epochs=20,lr=0.01",
                                   "prune:target_sparsity=0.5",
                                   "finetune:epochs=10,lr=0.01"};
    pquant_events     events    = {"train",
                                   array(x, PQUANT_FLOAT32, EVENTS, IN),
                                   array(y, PQUANT_INT32, EVENTS, 0),
                                   {0}};
    pquant_options    options   = {.size = sizeof options, .seed = 1, .progress = show};
    static float      out[EVENTS][CLASSES];
    pquant_array      to = array(out, PQUANT_FLOAT32, EVENTS, CLASSES);
    pquant_model     *net, *small = NULL;
    pquant_plan      *plan = NULL;
    pquant_data      *data;
    size_t            right = 0;

    make_arrays();
    net           = build();
    data          = pquant_data_create(1, &events, "out,in");
    options.train = data;
    if (net == NULL || data == NULL ||
        (small = pquant_compress_with(net, methods, 3, &options)) == NULL ||
        (plan = pquant_plan_create(small, NULL)) == NULL ||
        pquant_plan_predict(plan, &events.x, &to) != 0) {
        fprintf(stderr, "error: %s\nhint: %s\n", pquant_error(), pquant_error_hint());
    } else {
        for (int i = 0; i < EVENTS; i++) {
            right += (out[i][1] > out[i][0]) == y[i];
        }
        printf("%zu of %d right, stored bytes %zu -> %zu\n", right, EVENTS,
               pquant_model_stored_bytes(net), pquant_model_stored_bytes(small));
    }
    pquant_plan_free(plan);
    pquant_data_close(data);
    pquant_model_free(small);
    pquant_model_free(net);
    return right == 0;
}
