/* What a run shares with others in its folder. */
#include <string.h>
#include <sys/stat.h>

#include "core/file.h"
#include "core/memory.h"
#include "store/record.h"
#include "sweep/merge.h"
#include "sweep/run_inside.h"

seen_record pq_sweep_look(const sweep *s, const pq_cell *cell)
{
    char       *path = pq_format("%s/cells/%s.json", s->cells->dir, cell->eval);
    struct stat is;
    seen_record seen = {0};

    if (path != NULL && stat(path, &is) == 0) {
        seen.inode   = is.st_ino;
        seen.changed = is.st_mtim;
    }
    pq_free(path);
    return seen;
}

bool pq_sweep_ended_elsewhere(const sweep *s, const pq_cell *cell)
{
    const seen_record *before = &s->seen[cell->order], now = pq_sweep_look(s, cell);
    json_t            *record = NULL;
    bool               whole;

    if (now.inode == 0 ||
        (now.inode == before->inode && now.changed.tv_sec == before->changed.tv_sec &&
         now.changed.tv_nsec == before->changed.tv_nsec)) {
        return false;
    }
    whole = pq_record_read(s->cells->dir, cell->eval, &record, NULL) == PQ_OK;
    json_decref(record);
    return whole;
}

pq_status pq_sweep_open_claims(sweep *s, pq_err *err)
{
    if (s->claims != NULL) {
        return PQ_OK;
    }
    pq_sweep_tidy(s->cells->dir);
    return pq_claims_open(s->cells->dir, &s->claims, err);
}

void pq_sweep_tidy_claims(sweep *s)
{
    char *path = pq_path_join(s->cells->dir, "claims");

    /* who died after the last cell has left claims, and nobody claims anything again */
    if (s->claims == NULL && s->todo == 0 && s->options->only == NULL &&
        !s->options->collect && path != NULL && pq_folder_exists(path)) {
        (void)pq_claims_open(s->cells->dir, &s->claims, NULL);
    }
    if (s->claims != NULL && s->options->shard.parts == 0) {
        pq_claims_tidy(s->claims);
    }
    pq_free(path);
}

/* Whether a cell makes the model after k stages, since nobody has yet. */
static bool makes(const sweep *s, const pq_cell *cell, size_t k)
{
    char      *path = pq_artifact_path(s->cells, cell->artifact[k]);
    const bool made = path == NULL || pq_file_exists(path);

    pq_free(path);
    return !made;
}

pq_status pq_sweep_claim(sweep *s, const pq_cell *cell, bool *taken, pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_claim_take(s->claims, cell->eval, taken, err));
    for (size_t k = 1; *taken && k <= cell->variant->n_stages; k++) {
        if (makes(s, cell, k)) {
            PQ_TRY(pq_claim_take(s->claims, cell->artifact[k], taken, err));
        }
        if (!*taken) { /* another makes it: this cell can wait for that */
            while (--k > 0) {
                pq_claim_drop(s->claims, cell->artifact[k]);
            }
            pq_claim_drop(s->claims, cell->eval);
            break;
        }
    }
cleanup:
    return st;
}

void pq_sweep_unclaim(sweep *s, const pq_cell *cell, bool done)
{
    void (*const give)(pq_claims *, const char *) = done ? pq_claim_clear : pq_claim_drop;

    for (size_t k = 1; k <= cell->variant->n_stages; k++) {
        /* a cell that failed may have left prefixes to others */
        (makes(s, cell, k) ? pq_claim_drop : give)(s->claims, cell->artifact[k]);
    }
    give(s->claims, cell->eval);
}
