/* Quantizes a flavour tagger and says what that costs in b efficiency and gains in time.
 *
 *   cc btag.c $(pkg-config --cflags --libs pquant) -o btag
 *   ./btag MODEL TEST:SPLIT CALIB:SPLIT
 */
#include <pquant.h>
#include <stdio.h>

static int print(const char *name, pquant_model *model, pquant_data *test)
{
    static const char *const points[] = {"btag.light.0.01.efficiency",
                                         "btag.light.0.001.efficiency",
                                         "btag.c.0.1.efficiency"};
    pquant_metrics          *metrics  = pquant_evaluate_btag(model, test, 0.018, NULL);
    pquant_timing            time;

    if (metrics == NULL || pquant_latency(model, 1, NULL, &time) != 0) {
        pquant_metrics_free(metrics);
        return 1;
    }
    printf("%-9s %7.0f ns on %-8s", name, 1e9 * time.p50_s, time.engine);
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        const pquant_metric *m = pquant_metrics_find(metrics, points[i]);
        if (m != NULL) {
            printf("  %s %.4f (%.4f..%.4f)", m->name, m->value, m->lo, m->hi);
        }
    }
    printf("\n");
    pquant_metrics_free(metrics);
    return 0;
}

int main(int argc, char **argv)
{
    const char *const methods[] = {"quantize:bits=8"};
    pquant_options    options   = {.size = sizeof options, .calib_events = 2000};
    pquant_model     *net = NULL, *small = NULL;
    pquant_data      *test   = NULL;
    int               failed = 1;

    if (argc != 4) {
        fprintf(stderr, "usage: %s MODEL TEST:SPLIT CALIB:SPLIT\n", argv[0]);
        return 2;
    }
    if ((net = pquant_model_load(argv[1], NULL)) != NULL &&
        (test = pquant_data_open(argv[2])) != NULL &&
        (options.calib = pquant_data_open(argv[3])) != NULL &&
        (small = pquant_compress_with(net, methods, 1, &options)) != NULL &&
        print("float32", net, test) == 0 && print("int8", small, test) == 0) {
        failed = 0;
    } else {
        fprintf(stderr, "error: %s\n", pquant_error());
    }
    pquant_data_close(test);
    pquant_data_close(options.calib);
    pquant_model_free(small);
    pquant_model_free(net);
    return failed;
}
