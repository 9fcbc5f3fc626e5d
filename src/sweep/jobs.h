/**
 * @file
 * Texts that let a site's engine run the shards of a sweep. There is no engine inside:
 * a job is `pquant run CONFIG --shard I/N` in a folder that all nodes see, and the last
 * one makes the tables. N stands in the text, so that some of the jobs can be submitted
 * again.
 */
#ifndef PQ_SWEEP_JOBS_H
#define PQ_SWEEP_JOBS_H

#include "core/text.h"
#include "sweep/site.h"

/** The sweep; borrows everything. */
typedef struct {
    const char        *name;    /**< of the experiment */
    const char        *program; /**< path of pquant on the nodes */
    const char        *folder;  /**< absolute: where pquant is started */
    const char        *texts;   /**< absolute: where these texts will lie */
    const char        *command; /**< "run 'c.yaml' -S 'x=1' -o 'results/x' -q", quoted */
    size_t             shards;
    bool               latency; /**< times are to be measured, on a node of their own */
    size_t             n_inputs;
    const char *const *inputs;  /**< [n_inputs] files that it reads */
    const char        *results; /**< results folder */
    const pq_site     *site;
} pq_jobs;

enum { PQ_JOBS_FILES = 4 };

/** A file to be written; owns its text. */
typedef struct {
    const char *name;
    pq_text     text;
} pq_jobs_file;

/** One engine. */
typedef struct {
    const char *name;  /**< "slurm" */
    const char *needs; /**< program that submits, "sbatch" */
    const char *help;
    bool        plain; /**< its files cannot quote: names of folders must be plain */
    /** Fills files, the one that submits last, named "submit.sh". @return how many */
    size_t (*write)(const pq_jobs *b, pq_jobs_file files[PQ_JOBS_FILES]);
} pq_jobs_engine;

/** All of them; ends with a zeroed row. */
extern const pq_jobs_engine pq_jobs_engines[];

#endif
