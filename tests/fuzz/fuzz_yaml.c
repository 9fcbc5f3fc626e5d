/* YAML: any bytes give a tree or an error; a tree prints and reads back. */
#include <stdlib.h>

#include "../io/print.h"
#include "core/memory.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    pq_yaml *root = NULL, *again = NULL;
    pq_text  text = {0};

    if (pq_yaml_parse((const char *)bytes, n, "fuzz", &root, NULL) == PQ_OK) {
        print_yaml(root, 0, &text);
        if (!text.failed && text.length < PQ_YAML_MAX_BYTES &&
            pq_yaml_parse(text.text, text.length, "printed", &again, NULL) != PQ_OK) {
            abort();
        }
    }
    pq_yaml_free(&root);
    pq_yaml_free(&again);
    pq_text_free(&text);
    return pq_memory_live() == 0 ? 0 : (abort(), 0);
}
