/* Folders of results: everything that is made of them, and a merge into another. */
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "fuzz.h"
#include "report/report.h"
#include "store/pack.h"
#include "store/results.h"
#include "store/shelf.h"
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

/* Its own hash is all zeros. What it remembers of files counts only while these have the
 * inode and times that it says, which no input of another machine has: so its nodes are
 * taken apart by themselves too. */
pq_status fuzz_index(const fuzz_input *in, pq_err *err)
{
    const size_t head = 32, tail = 64; /* store/shelf.c */
    pq_shelf    *shelf    = NULL;
    json_t      *record   = NULL;
    pq_unpacker  u        = {0};
    char        *bytes    = NULL, folder[512], path[512];
    uint64_t     words[4] = {0};
    size_t       n        = 0;
    pq_status    st;

    fuzz_blind_hashes = true;
    (void)fuzz_path(in, "r", folder, sizeof folder);
    PQ_TRY(pq_shelf_open(folder, &shelf, err));
    (void)pq_shelf_read(shelf, "ab", &record, NULL);
    (void)pq_shelf_save(shelf, NULL);
    (void)fuzz_path(in, "nodes", path, sizeof path);
    PQ_TRY(pq_file_read(path, 1 << 20, &bytes, &n, err));
    PQ_CHECK(n > head + tail, PQ_ERR_FORMAT, "is too short");
    memcpy(words, bytes, sizeof words);
    PQ_CHECK(words[3] <= n - head - tail, PQ_ERR_FORMAT, "has fewer bytes");
    PQ_TRY(pq_unpack_open(bytes + n - tail - words[3], words[3], words[2], &u, err));
    PQ_CHECK(u.n > 0 && pq_unpack(&u, (uint32_t)u.n - 1) != NULL, PQ_ERR_FORMAT,
             "the last node is damaged");
    for (uint32_t i = 0; i < u.n; i++) {
        (void)pq_unpack(&u, i);
    }
cleanup:
    pq_unpack_close(&u);
    pq_shelf_close(&shelf);
    pq_free(bytes);
    return st;
}

/* The plan of the one is that of the other. */
static pq_status merge(const fuzz_input *in, pq_err *err)
{
    char              to[512], from[512];
    const char *const list[] = {fuzz_path(in, "r", from, sizeof from)};
    pq_merged         merged = {0};
    const pq_status   st =
        pq_sweep_join(fuzz_path(in, "to", to, sizeof to), 1, list, false, &merged, err);

    pq_merged_free(&merged);
    return st;
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
