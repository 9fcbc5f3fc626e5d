/* pquant model init: a YAML of layers from the names and shapes of a state dict. */
#include <stdio.h>

#include "cli/verb.h"
#include "core/file.h"
#include "core/memory.h"
#include "formats/state.h"

static const pq_option options[] = {
    {"output", 'o', "OUT.yaml", false, NULL, "where it goes; standard output without"},
    {0},
};

static pq_status run(const pq_args *args, int *exit_code, pq_err *err)
{
    const char *out  = pq_args_value(args, "output");
    pq_text     text = {0};
    pq_status   st;

    (void)exit_code;
    PQ_TRY(pq_state_template_of(pq_args_get(args, 0), &text, err));
    if (out == NULL) {
        pq_say_lines(stdout, text.text);
        goto cleanup;
    }
    PQ_CHECK(!pq_file_exists(out), PQ_ERR_IO, "%s is there already; give another name",
             out);
    PQ_TRY(pq_file_write(out, text.text, text.length, err));
cleanup:
    pq_text_free(&text);
    return st;
}

const pq_verb pq_verb_model_init = {
    .name      = "model init",
    .summary   = "a template of the layers of a state dict, from its names and shapes",
    .arguments = "STATE_DICT [-o OUT.yaml]",
    .min_args  = 1,
    .max_args  = 1,
    .options   = options,
    .example   = "pquant model init net.safetensors -o net.yaml",
    .run       = run,
};
