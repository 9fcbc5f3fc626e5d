/* Compresses a jet tagger with libpquant and says what that costs and gains.
 *
 *   cc compress.c $(pkg-config --cflags --libs pquant) -o compress
 *   ./compress MODEL ARCH DATA:SPLIT CALIB:SPLIT OUT.h5
 */
#include <pquant.h>
#include <stdio.h>

static double metric(const pquant_metrics *metrics, const char *name)
{
    return pquant_metrics_find(metrics, name)->value;
}

int main(int argc, char **argv)
{
    const char *const methods[] = {"svd:rank=8,clip_rank=true", "quantize:bits=8"};
    pquant_model     *net = NULL, *small = NULL;
    pquant_data      *test = NULL, *calib = NULL;
    pquant_metrics   *before = NULL, *after = NULL;
    int               failed = 1;

    if (argc != 6) {
        fprintf(stderr, "usage: %s MODEL ARCH DATA:SPLIT CALIB:SPLIT OUT.h5\n", argv[0]);
        return 2;
    }
    if ((net = pquant_model_load(argv[1], argv[2])) != NULL &&
        pquant_model_set_classes(net, "g,q,w,z,t") == 0 &&
        (test = pquant_data_open(argv[3])) != NULL &&
        (calib = pquant_data_open(argv[4])) != NULL &&
        pquant_model_take_scaler(net, calib) == 0 && /* weights alone carry none */
        (small = pquant_compress(net, methods, 2, calib)) != NULL &&
        (before = pquant_evaluate(net, test)) != NULL &&
        (after = pquant_evaluate(small, test)) != NULL &&
        pquant_model_save(small, argv[5]) == 0) {
        printf("accuracy %.4f -> %.4f, stored bytes %zu -> %zu, %.2fx smaller\n",
               metric(before, "accuracy"), metric(after, "accuracy"),
               pquant_model_stored_bytes(net), pquant_model_stored_bytes(small),
               (double)pquant_model_stored_bytes(net) /
                   (double)pquant_model_stored_bytes(small));
        failed = 0;
    } else {
        fprintf(stderr, "error: %s\n", pquant_error());
    }
    pquant_metrics_free(before);
    pquant_metrics_free(after);
    pquant_data_close(test);
    pquant_data_close(calib);
    pquant_model_free(net);
    pquant_model_free(small);
    return failed;
}
