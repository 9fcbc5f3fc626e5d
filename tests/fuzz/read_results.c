/* Folders of results: everything that is made of them, and a merge into another. */
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "fuzz.h"
#include "report/report.h"
#include "store/results.h"
#include "sweep/inputs.h"
#include "sweep/merge.h"
#include "targets.h"

static void read_memo(const char *folder)
{
    pq_hash_memo memo;

    if (pq_hash_memo_open(folder, &memo, NULL) == PQ_OK) {
        (void)pq_hash_memo_get(&memo, "a");
        pq_hash_memo_put(&memo, "a", "b");
        pq_hash_memo_close(&memo);
    }
}

/* The plan of the one is that of the other. */
static pq_status merge(const fuzz_input *in, pq_err *err)
{
    char              to[512], from[512];
    const char *const list[] = {fuzz_path(in, "r", from, sizeof from)};
    size_t            copied = 0;

    return pq_sweep_merge(fuzz_path(in, "to", to, sizeof to), 1, list, &copied, err);
}

pq_status fuzz_results(const fuzz_input *in, pq_err *err)
{
    const pq_report_options options = {.gnuplot = "/none/gnuplot"};
    json_t                 *results = NULL;
    pq_report_summary       summary;
    pq_text                 text = {0};
    char                    folder[512];
    pq_status               st;

    (void)fuzz_path(in, "r", folder, sizeof folder);
    read_memo(folder);
    PQ_TRY(pq_report_write(folder, &options, &summary, err));
    PQ_TRY(pq_results_read(folder, &results, NULL, err));
    PQ_TRY(pq_report_print(results, 100, true, &text, err));
    PQ_TRY(merge(in, err));
cleanup:
    json_decref(results);
    pq_text_free(&text);
    return st;
}
