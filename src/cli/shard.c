/* Parts of a sweep on the command line. */
#include "cli/shard.h"

#include <stdlib.h>
#include <string.h>

#include "core/memory.h"

/* Rank and size under mpirun (Open MPI, MPICH) or srun. */
static pq_status shard_of_mpi(const char **part, const char **parts, pq_err *err)
{
    static const char *const names[][2] = {
        {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"},
        {"PMI_RANK", "PMI_SIZE"},
        {"SLURM_PROCID", "SLURM_NTASKS"}};
    pq_status st;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        *part  = getenv(names[i][0]);
        *parts = getenv(names[i][1]);
        if (*part != NULL && *parts != NULL) {
            return PQ_OK;
        }
    }
    PQ_FAIL(PQ_ERR_CONFIG,
            "--shard mpi: neither mpirun nor srun has started this process");
cleanup:
    return st;
}

pq_status pq_args_shard(const pq_args *args, pq_shard *shard, pq_err *err)
{
    enum { SHARDS_MAX = 100000 };
    const char *text = pq_args_value(args, "shard"), *part = NULL, *parts = NULL;
    char      **words = NULL;
    size_t      n     = 0;
    int64_t     i = -1, of = 0;
    pq_status   st = PQ_OK;

    if (text == NULL) {
        return PQ_OK;
    }
    if (strcmp(text, "mpi") == 0) {
        PQ_TRY(shard_of_mpi(&part, &parts, err));
    } else {
        PQ_TRY(pq_text_split(text, '/', &words, &n, err));
        part  = n == 2 ? words[0] : "";
        parts = n == 2 ? words[1] : "";
    }
    PQ_CHECK(pq_parse_int(part, &i) && pq_parse_int(parts, &of) && of >= 1 &&
                 of <= SHARDS_MAX && i >= 0 && i < of,
             PQ_ERR_CONFIG, "--shard: '%s' is not I/N with N in 1..%d and I in 0..N-1",
             text, SHARDS_MAX);
    *shard = (pq_shard){(size_t)i, (size_t)of};
cleanup:
    pq_free(words);
    return st;
}

/* How a shard ended: failed cells are in their records, which `merge` and `status` judge;
 * a batch system or mpirun would stop the others for any code but 0. */
void pq_print_shard(const pq_sweep_summary *s, pq_shard shard)
{
    char time[32];

    pq_say(stdout,
           "%s: shard %zu/%zu: %zu of %zu cells: %zu computed, %zu cached, %zu failed "
           "(%s)\n",
           s->dir, shard.part, shard.parts, s->selected, s->cells, s->computed, s->cached,
           s->failed, pq_seconds_text(s->seconds, time, sizeof time));
}
