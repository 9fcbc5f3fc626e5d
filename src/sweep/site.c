#include "sweep/site.h"

#include <stddef.h>
#include <string.h>

#include "sweep/problems.h"

#define SCHEMA "pquant-site/1"

#define TEXT(key, what)                                                                  \
    {                                                                                    \
        .name = #key, .type = PQ_PARAM_STRING, .offset = offsetof(pq_site, key),         \
        .help = what                                                                     \
    }

const pq_param pq_site_params[] = {
    {.name   = "shards",
     .type   = PQ_PARAM_INT,
     .offset = offsetof(pq_site, shards),
     .min    = 1,
     .max    = 100000,
     .help   = "jobs; default one a cell, at most 50"},
    {.name   = "at_once",
     .type   = PQ_PARAM_INT,
     .offset = offsetof(pq_site, at_once),
     .min    = 1,
     .max    = 100000,
     .help   = "jobs that may be at work or in the queue at once; default all"},
    {.name     = "cores",
     .type     = PQ_PARAM_INT,
     .offset   = offsetof(pq_site, cores),
     .fallback = "1",
     .min      = 1,
     .max      = 1024,
     .help     = "processor cores of a job: so many cells at once"},
    {.name     = "memory",
     .type     = PQ_PARAM_REAL,
     .offset   = offsetof(pq_site, memory_bytes),
     .fallback = "2GB",
     .min      = 64e6,
     .max      = 1e15,
     .unit     = PQ_UNIT_BYTES,
     .help     = "memory of a job"},
    {.name     = "time",
     .type     = PQ_PARAM_REAL,
     .offset   = offsetof(pq_site, time_s),
     .fallback = "2h",
     .min      = 60,
     .max      = 1e8,
     .unit     = PQ_UNIT_TIME,
     .help     = "wall time of a job"},
    {.name     = "retries",
     .type     = PQ_PARAM_INT,
     .offset   = offsetof(pq_site, retries),
     .fallback = "2",
     .min      = 0,
     .max      = 100,
     .help     = "how often a job that failed starts again"},
    TEXT(partition, "Slurm's partition"),
    TEXT(account, "Slurm's account, HTCondor's accounting group"),
    TEXT(flavour, "HTCondor's JobFlavour, instead of the time"),
    TEXT(setup, "shell commands before pquant"),
    TEXT(data_prefix,
         "where inputs lie that the folder does not have: PQUANT_DATA_DIR of the jobs"),
    TEXT(program, "pquant on the nodes; default this one"),
    TEXT(image, "container of REANA"),
    {.name     = "backend",
     .type     = PQ_PARAM_STRING,
     .offset   = offsetof(pq_site, backend),
     .fallback = "kubernetes",
     .help     = "compute backend of REANA: kubernetes, htcondorcern, slurmcern"},
    {0},
};

pq_status pq_site_read(const char *path, pq_site *out, pq_err *err)
{
    static const char *const others[] = {"schema", NULL};
    pq_site                  site     = {0};
    pq_yaml                 *tree     = NULL;
    const pq_yaml           *schema;
    pq_problems              problems = {0};
    pq_status                st;

    PQ_TRY(pq_params_default(pq_site_params, &site, err));
    if (path != NULL) {
        PQ_TRY(pq_yaml_read(path, &tree, err));
        schema = pq_yaml_find(tree, "schema");
        PQ_CHECK(schema != NULL && schema->kind == PQ_YAML_SCALAR &&
                     strcmp(schema->text, SCHEMA) == 0,
                 PQ_ERR_CONFIG, "%s: is no profile of a site: 'schema: %s' is due", path,
                 SCHEMA);
        pq_read_block(&problems, tree, pq_site_params, &site, others, "profile");
        PQ_TRY(pq_problems_status(&problems, err));
    }
    *out = site;
    site = (pq_site){0};
cleanup:
    pq_text_free(&problems.lines);
    pq_yaml_free(&tree);
    pq_site_free(&site);
    return st;
}

void pq_site_free(pq_site *site)
{
    pq_params_free(pq_site_params, site);
    *site = (pq_site){0};
}
