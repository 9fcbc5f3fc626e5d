/* Writes first inputs for the fuzz targets: make_seeds FOLDER. */
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "formats/model.h"

static const char yaml[] =
    "schema: pquant/1\nlist: [1, 2, {a: 'b'}]\nmap:\n  x: \"y\\n\"\n  z: |\n"
    "    text\n";

static const char arch[] =
    "{\"class_name\":\"Functional\",\"config\":{\"layers\":[{\"class_name\":"
    "\"InputLayer\","
    "\"name\":\"in\",\"config\":{\"name\":\"in\",\"batch_input_shape\":[null,4,4,2]},"
    "\"inbound_nodes\":[]},{\"class_name\":\"Conv2D\",\"name\":\"c\",\"config\":{"
    "\"name\":\"c\","
    "\"filters\":4,\"kernel_size\":[3,3],\"strides\":[1,1],\"padding\":\"same\","
    "\"activation\":"
    "\"relu\"},\"inbound_nodes\":[[[\"in\",0,0,{}]]]},{\"class_name\":"
    "\"GlobalAveragePooling2D\","
    "\"name\":\"g\",\"config\":{\"name\":\"g\"},\"inbound_nodes\":[[[\"c\",0,0,{}]]]}],"
    "\"output_layers\":[[\"g\",0,0]]}}";

static const char csv[] = "pt,eta,class\n1.5,-2,b\n2,0.5,c\n";
static const char arff[] =
    "@relation r\n@attribute 'a b' real\n@attribute class {g,q}\n@data\n1,g\n";

static pq_status add_dense(pq_graph *g, const char *name, const char *input, pq_err *err)
{
    pq_layer  *layer = NULL;
    pq_tensor *t     = NULL;
    pq_status  st;

    PQ_TRY(pq_layer_create("dense", &layer, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(3, 3), &t, err));
    st = pq_layer_add_weight(layer, "kernel", t, err);
    if (st == PQ_OK) {
        st    = pq_graph_add(g, name, layer, 1, &input, err);
        layer = NULL;
    }
cleanup:
    pq_layer_free(&layer);
    return st;
}

/* One float32 and one quantized, pruned layer. */
static pq_status write_model(const char *path, pq_err *err)
{
    pq_graph  *g     = NULL;
    pq_layer  *input = NULL, *taken;
    pq_weight *w;
    pq_status  st;

    PQ_TRY(pq_graph_create(&g, err));
    PQ_TRY(pq_layer_create("input", &input, err));
    PQ_TRY(pq_layer_set(input, "shape", "3", err));
    taken = input;
    input = NULL;
    PQ_TRY(pq_graph_add(g, "in", taken, 0, NULL, err));
    PQ_TRY(add_dense(g, "a", "in", err));
    PQ_TRY(add_dense(g, "b", "a", err));
    w = pq_layer_weight(g->nodes[2].layer, "kernel");
    PQ_TRY(pq_quant_create(PQ_QUANT_INTEGER, 8, true, true, 0, 3, &w->quant, err));
    for (size_t i = 0; i < 3; i++) {
        w->quant->scale[i] = 0.5F;
    }
    w->pruned = true;
    PQ_TRY(pq_model_save(g, path, err));
cleanup:
    pq_layer_free(&input);
    pq_graph_free(&g);
    return st;
}

static pq_status write_seed(const char *folder, const char *name, const char *text,
                            pq_err *err)
{
    char     *path = pq_path_join(folder, name);
    pq_status st   = pq_folder_make(folder, err);

    if (st == PQ_OK) {
        st = text != NULL ? pq_file_write(path, text, strlen(text), err)
                          : write_model(path, err);
    }
    pq_free(path);
    return st;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *folder, *name, *text;
    } seeds[]  = {{"yaml", "a.yaml", yaml},
                  {"keras", "a.json", arch},
                  {"table", "a.csv", csv},
                  {"table", "a.arff", arff},
                  {"model", "a.h5", NULL}};
    pq_err err = {0};

    for (size_t i = 0; argc == 2 && i < sizeof seeds / sizeof *seeds; i++) {
        char *folder = pq_path_join(argv[1], seeds[i].folder);
        (void)write_seed(folder, seeds[i].name, seeds[i].text, &err);
        pq_free(folder);
    }
    if (argc != 2 || err.code != PQ_OK) {
        (void)fprintf(stderr, "make_seeds FOLDER: %s\n", err.message);
        return 1;
    }
    return 0;
}
