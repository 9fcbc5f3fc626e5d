/* A network for a trigger: 90 % of the multiplications gone with whole neurons, six bits,
 * and further until generated C of it answers one event in time. Beside accuracy it is
 * judged by what a circuit of it would take. */
#include "compress/fit_latency.h"
#include "sweep/recipe.h"

static const char *const metrics[] = {"ebops", "fpga", NULL};

const pq_recipe pq_recipe_trigger = {
    .name    = "trigger",
    .summary = "pruned neurons, few bits and fine-tuning, searched until generated C "
               "answers within target_latency; with the metrics ebops and fpga",
    .params  = pq_fit_latency_params,
    .stages  = "- fit_latency: {target_latency: $target_latency, margin: $margin, "
               "target_sparsity: $target_sparsity, bits: $bits, least_bits: $least_bits, "
               "format: $format, epochs: $epochs, rounded_epochs: $rounded_epochs, "
               "batch: $batch, lr: $lr, logits: $logits}\n",
    .metrics = metrics,
};
