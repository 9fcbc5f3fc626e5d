#include "sweep/jobs.h"

#include <string.h>

#include "core/visible.h"

/* Where inputs lie that are not in the folder. */
static void add_data(const pq_jobs *b, pq_text *out)
{
    if (b->site->data_prefix != NULL) {
        pq_text_add(out, "export PQUANT_DATA_DIR=");
        pq_shell_add(out, b->site->data_prefix);
        pq_text_add(out, "\n");
    }
}

/* Starts a shell script of a job: in the folder, with what the site sets up. */
static void add_start(const pq_jobs *b, pq_text *out)
{
    pq_text_add(out, "cd ");
    pq_shell_add(out, b->folder);
    pq_text_add(out, " || exit\n");
    add_data(b, out);
    if (b->site->setup != NULL) {
        pq_text_add(out, "%s\n", b->site->setup);
    }
}

static void add_command(const pq_jobs *b, pq_text *out)
{
    pq_shell_add(out, b->program);
    pq_text_add(out, " %s", b->command);
}

/* Tables at the end: of what is there, after the times where there are any. */
static void add_last(const pq_jobs *b, pq_text *out)
{
    add_command(b, out);
    pq_text_add(out, " %s\n", b->latency ? "--phase latency" : "--collect");
}

static void add_path(const pq_jobs *b, const char *name, pq_text *out)
{
    pq_text path = {0};

    pq_text_add(&path, "%s/%s", b->texts, name);
    pq_shell_add(out, path.text != NULL ? path.text : name);
    out->failed = out->failed || path.failed;
    pq_text_free(&path);
}

static pq_text *start_file(pq_jobs_file *file, const char *name)
{
    *file = (pq_jobs_file){.name = name};
    return &file->text;
}

static long long minutes(const pq_site *site)
{
    return (long long)((site->time_s + 59.0) / 60.0);
}

static long long megabytes(const pq_site *site)
{
    return (long long)((site->memory_bytes + 1e6 - 1.0) / 1e6);
}

static void add_slurm_head(const pq_jobs *b, const char *part, pq_text *out)
{
    pq_text_add(out,
                "#!/usr/bin/env bash\n#SBATCH --job-name=%s-%s\n#SBATCH --time=%lld\n"
                "#SBATCH --mem=%lldM\n#SBATCH --cpus-per-task=%lld\n"
                "#SBATCH --output=%s/%s-%%A_%%a.log\n",
                b->name, part, minutes(b->site), megabytes(b->site),
                (long long)b->site->cores, b->texts, part);
    if (b->site->partition != NULL) {
        pq_text_add(out, "#SBATCH --partition=%s\n", b->site->partition);
    }
    if (b->site->account != NULL) {
        pq_text_add(out, "#SBATCH --account=%s\n", b->site->account);
    }
}

/* Slurm tells the shell two minutes before the end; that tells pquant, whose 75 puts the
 * job back into the queue. */
static void add_slurm_worker(const pq_jobs *b, pq_text *out)
{
    add_command(b, out);
    pq_text_add(
        out,
        " --jobs %lld --shard \"$SLURM_ARRAY_TASK_ID/%zu\" &\nworker=$!\n"
        "trap 'kill -USR1 $worker' USR1\ntrap 'kill -TERM $worker' TERM\n"
        "wait $worker\ncode=$?\nwhile [ $code = 138 ] || [ $code = 143 ]; do # a trap\n"
        "  wait $worker\n  code=$?\ndone\n"
        "if [ $code = 75 ] && [ \"${SLURM_RESTART_COUNT:-0}\" -lt %lld ]; then\n"
        "  scontrol requeue \"${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID\"\nfi\n"
        "exit $code\n",
        (long long)b->site->cores, b->shards, (long long)b->site->retries);
}

static size_t write_slurm(const pq_jobs *b, pq_jobs_file files[PQ_JOBS_FILES])
{
    pq_text *out = start_file(&files[0], "sweep.slurm");

    add_slurm_head(b, "sweep", out);
    pq_text_add(out, "#SBATCH --array=0-%zu", b->shards - 1);
    if (b->site->at_once != PQ_UNSET) {
        pq_text_add(out, "%%%lld", (long long)b->site->at_once);
    }
    pq_text_add(out, "\n#SBATCH --requeue\n#SBATCH --signal=B:USR1@120\n");
    add_start(b, out);
    add_slurm_worker(b, out);

    out = start_file(&files[1], "merge.slurm");
    add_slurm_head(b, "merge", out);
    if (b->latency) {
        pq_text_add(out, "#SBATCH --exclusive\n");
    }
    add_start(b, out);
    add_last(b, out);

    out = start_file(&files[2], "submit.sh");
    pq_text_add(out, "#!/usr/bin/env bash\nset -e\nsweep=$(sbatch --parsable ");
    add_path(b, "sweep.slurm", out);
    pq_text_add(out, ")\nmerge=$(sbatch --parsable --dependency=\"afterany:$sweep\" ");
    add_path(b, "merge.slurm", out);
    pq_text_add(out, ")\necho \"jobs $sweep and $merge\"\n");
    return 3;
}

/* What both submit files of HTCondor say. Held for its memory, a job is released with
 * half as much again. */
static void add_condor(const pq_jobs *b, const char *script, pq_text *out)
{
    const pq_site *s = b->site;

    pq_text_add(out,
                "universe = vanilla\nexecutable = %s/%s\n"
                "log = %s/condor.log\n"
                "output = %s/%s.$(ClusterId).$(Process).out\n"
                "error = %s/%s.$(ClusterId).$(Process).err\n"
                "should_transfer_files = YES\nwhen_to_transfer_output = ON_EXIT\n"
                "transfer_output_files = \"\"\nrequest_cpus = %lld\n"
                "memory_mb = %lld\n"
                "request_memory = ifThenElse(isUndefined(MemoryUsage), $(memory_mb), "
                "max({$(memory_mb), 3 * MemoryUsage / 2}))\n"
                "periodic_release = (HoldReasonCode == 26 || HoldReasonCode == 34) && "
                "NumJobStarts <= %lld\nmax_retries = %lld\nkill_sig = SIGUSR1\n",
                b->texts, script, b->texts, b->texts, script, b->texts, script,
                (long long)s->cores, megabytes(s), (long long)s->retries,
                (long long)s->retries);
    if (s->flavour != NULL) {
        pq_text_add(out, "+JobFlavour = \"%s\"\n", s->flavour);
    } else {
        pq_text_add(out, "+MaxRuntime = %lld\n", (long long)s->time_s);
    }
    if (s->account != NULL) {
        pq_text_add(out, "accounting_group = %s\n", s->account);
    }
}

static bool on_eos(const char *path)
{
    return strncmp(path, "/eos/", 5) == 0;
}

static size_t write_condor(const pq_jobs *b, pq_jobs_file files[PQ_JOBS_FILES])
{
    pq_text *out = start_file(&files[0], "sweep.sh");

    pq_text_add(out, "#!/usr/bin/env bash\n");
    add_start(b, out);
    pq_text_add(out, "exec ");
    add_command(b, out);
    pq_text_add(out, " --jobs %lld --shard \"$1/%zu\"\n", (long long)b->site->cores,
                b->shards);

    out = start_file(&files[1], "sweep.sub");
    add_condor(b, "sweep.sh", out);
    pq_text_add(out, "shard = $(Process)\narguments = $(shard)\n"
                     "submit_event_notes = shard=$(shard) memory=$(memory_mb)\n");
    if (b->site->at_once != PQ_UNSET) {
        pq_text_add(out, "max_materialize = %lld\n", (long long)b->site->at_once);
    }
    pq_text_add(out, "queue %zu\n", b->shards);

    out = start_file(&files[2], "merge.sh");
    pq_text_add(out, "#!/usr/bin/env bash\n");
    add_start(b, out);
    add_last(b, out);

    out = start_file(&files[3], "submit.sh");
    pq_text_add(out, "#!/usr/bin/env bash\nset -e\ncondor_submit %s",
                on_eos(b->texts) ? "-spool " : "");
    add_path(b, "sweep.sub", out);
    pq_text_add(out, "\necho \"when condor_q shows no more of it: bash \"");
    add_path(b, "merge.sh", out);
    pq_text_add(out, "\n");
    return 4;
}

static size_t write_mpi(const pq_jobs *b, pq_jobs_file files[PQ_JOBS_FILES])
{
    pq_text *out = start_file(&files[0], "submit.sh");

    pq_text_add(out, "#!/usr/bin/env bash\n");
    add_start(b, out);
    pq_text_add(out, "mpirun ${MPIRUN_OPTIONS:-} -n %zu ", b->shards);
    add_command(b, out);
    pq_text_add(out, " --jobs %lld --shard mpi || exit\n", (long long)b->site->cores);
    add_last(b, out);
    return 1;
}

static size_t write_parallel(const pq_jobs *b, pq_jobs_file files[PQ_JOBS_FILES])
{
    pq_text *out = start_file(&files[0], "submit.sh"), word = {0};

    pq_text_add(out, "#!/usr/bin/env bash\n");
    add_start(b, out);
    add_command(b, &word);
    pq_text_add(&word, " --jobs %lld --shard @part@/%zu", (long long)b->site->cores,
                b->shards);
    pq_text_add(out, "seq 0 %zu | parallel -I @part@ --retries %lld", b->shards - 1,
                (long long)b->site->retries + 1);
    if (b->site->at_once != PQ_UNSET) {
        pq_text_add(out, " --jobs %lld", (long long)b->site->at_once);
    }
    pq_text_add(out, " ");
    pq_shell_add(out, word.text != NULL ? word.text : "");
    pq_text_add(out, " || exit\n");
    add_last(b, out);
    out->failed = out->failed || word.failed;
    pq_text_free(&word);
    return 1;
}

/* A text between double quotes, for YAML and Snakemake alike. */
static void add_quoted(pq_text *out, const char *text)
{
    pq_text_add(out, "\"");
    for (const char *p = text; *p != '\0'; p++) {
        pq_text_add(out, "%s%c", *p == '"' || *p == '\\' || *p == '\n' ? "\\" : "",
                    *p == '\n' ? 'n' : *p);
    }
    pq_text_add(out, "\"");
}

/* Braces doubled: what Snakemake fills in stands in single ones. */
static void add_unfilled(pq_text *out, const char *text)
{
    for (const char *p = text; *p != '\0'; p++) {
        pq_text_add(out, "%s%c", *p == '{' ? "{" : *p == '}' ? "}" : "", *p);
    }
}

/* A rule's resources, and its command. */
static void add_rule_end(const pq_jobs *b, const char *more, pq_text *out)
{
    pq_text shell = {0}, command = {0};

    pq_text_add(
        out, "    container: \"docker://%s\"\n    resources:\n        compute_backend=",
        b->site->image != NULL ? b->site->image : "debian:12");
    add_quoted(out, b->site->backend);
    pq_text_add(out, ",\n        kubernetes_memory_limit=\"%lldM\"\n    shell: ",
                megabytes(b->site));
    add_data(b, &command);
    if (b->site->setup != NULL) {
        pq_text_add(&command, "%s\n", b->site->setup);
    }
    add_command(b, &command);
    add_unfilled(&shell, command.text != NULL ? command.text : "");
    pq_text_add(&shell, " %s", more);
    add_quoted(out, shell.text != NULL ? shell.text : "");
    pq_text_add(out, "\n");
    out->failed = out->failed || shell.failed || command.failed;
    pq_text_free(&shell);
    pq_text_free(&command);
}

static size_t write_reana(const pq_jobs *b, pq_jobs_file files[PQ_JOBS_FILES])
{
    pq_text *out = start_file(&files[0], "Snakefile"), more = {0};

    pq_text_add(out, "rule all:\n    input: \"tables.done\"\n\nrule shard:\n    output: "
                     "touch(\"shard-{i}.done\")\n");
    pq_text_add(&more, "--shard {wildcards.i}/%zu", b->shards);
    add_rule_end(b, more.text != NULL ? more.text : "", out);
    pq_text_add(out,
                "\nrule tables:\n    input: expand(\"shard-{i}.done\", i=range(%zu))\n"
                "    output: touch(\"tables.done\")\n",
                b->shards);
    add_rule_end(b, b->latency ? "--phase latency" : "--collect", out);
    pq_text_free(&more);

    out = start_file(&files[1], "reana.yaml");
    pq_text_add(out, "inputs:\n  files:\n");
    for (size_t i = 0; i < b->n_inputs; i++) {
        pq_text_add(out, "    - ");
        add_quoted(out, b->inputs[i]);
        pq_text_add(out, "\n");
    }
    pq_text_add(out, "    - Snakefile\nworkflow:\n  type: snakemake\n  file: Snakefile\n"
                     "outputs:\n  directories:\n    - ");
    add_quoted(out, b->results);
    pq_text_add(out, "\n");

    out = start_file(&files[2], "submit.sh");
    pq_text_add(out, "#!/usr/bin/env bash\ncd ");
    pq_shell_add(out, b->folder);
    pq_text_add(out, " && cp ");
    add_path(b, "Snakefile", out);
    pq_text_add(out, " . && reana-client run -w ");
    pq_shell_add(out, b->name);
    pq_text_add(out, " -f ");
    add_path(b, "reana.yaml", out);
    pq_text_add(out, "\n");
    return 3;
}

const pq_jobs_engine pq_jobs_engines[] = {
    {"slurm", "sbatch", "a job array, and a job after it that makes the tables", true,
     write_slurm},
    {"condor", "condor_submit", "HTCondor: a cluster of jobs", true, write_condor},
    {"mpi", "mpirun", "a rank a shard", false, write_mpi},
    {"parallel", "parallel", "GNU parallel on this machine", false, write_parallel},
    {"reana", "reana-client", "REANA with Snakemake: a step a shard", false, write_reana},
    {0},
};
