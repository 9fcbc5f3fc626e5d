#!/usr/bin/env bash
# Texts for the engines of sites: as golden files say, and run for real by Slurm, Open MPI and GNU parallel where these
# are installed and start: each ends with the table of one process. UPDATE=1 writes the golden files.
. "$(dirname "$0")/common.sh"
golden=$root/tests/cli/batch
cd "$work" || exit 1
stop() { for pid in "${daemons[@]}"; do kill "$pid" 2>/dev/null; done; }
daemons=()
trap 'stop; rm -rf "$work"' EXIT
make_jets d.csv
jet_sweep >c.yaml <<'END'
pipelines:
  reference: []
  prune: {stages: [{prune: {target_sparsity: $s}}], sweep: {s: {linspace: [0.05, 0.95, 87]}}}
  tuned: {stages: [{svd: {rank: 4}}, {finetune: {epochs: $e}}, {quantize: {bits: $b}}], sweep: {e: [1, 2], b: [4, 5, 6, 8]}}
END
cat >site.yaml <<'END'
schema: pquant-site/1
shards: 20
at_once: 5
cores: 2
memory: 3GB
time: 90m
account: group_u_ATLAS.users
flavour: longlunch
setup: source /cvmfs/setup.sh
data_prefix: /eos/my data
program: /opt/pquant
END
for engine in slurm condor mpi parallel reana; do
  "$pquant" batch $engine c.yaml -S 'seeds={base: 7}' -o out --profile site.yaml --dry-run >text 2>log || fault "$engine: $(cat log)"
  sed -i "s#$work#/home/user#g" text
  if [ -n "${UPDATE:-}" ]; then
    mkdir -p "$golden" && cp text "$golden/$engine.txt"
  else
    diff "$golden/$engine.txt" text >log || fault "$engine: another text than tests/cli/batch/$engine.txt: $(cat log)"
  fi
  [ ! -e out/batch ] || fault "--dry-run wrote something"
  "$pquant" batch $engine c.yaml -o out --shards 3 >log 2>&1 || fault "$engine: $(cat log)"
  for file in out/batch/*.sh out/batch/*.slurm; do [ ! -e "$file" ] || bash -n "$file" || fault "$file"; done
  rm -rf out
done
# Texts between quotes of REANA's Snakefile are Python's: one line each.
"$pquant" batch reana c.yaml --profile site.yaml -o out >log 2>&1 || fault "reana: $(cat log)"
/usr/bin/python3 - <<'END' || fault "a text of the Snakefile is not Python's: $(cat out/batch/Snakefile)"
import ast
lines = [l.split("shell: ", 1)[1] for l in open("out/batch/Snakefile") if l.startswith("    shell: ")]
assert len(lines) == 2 and all("source /cvmfs/setup.sh" in ast.literal_eval(l).split("\n") for l in lines), lines
END
rm -rf out
expect 2 "'pbs' is not one of: slurm condor mpi parallel reana" "$pquant" batch pbs c.yaml
echo 'schema: pquant-site/1
core: 2' >bad.yaml
expect 2 "bad.yaml:2:1: profile: unknown key 'core'" "$pquant" batch slurm c.yaml --profile bad.yaml
expect 2 "is no profile of a site" "$pquant" batch slurm c.yaml --profile c.yaml
mkdir "a b" && (cd "a b" && cp ../c.yaml ../d.csv . && expect 2 "characters that job files cannot hold" "$pquant" batch slurm c.yaml --dry-run)

# Jobs of HTCondor by its log: how each stands, and those that are held submitted anew with more memory.
"$pquant" batch condor c.yaml -o held --shards 5 -q >log 2>&1 || fault "condor: $(cat log)"
"$pquant" run c.yaml -o held -q --only reference >log 2>&1
expect 5 "1 done, 0 failed, 95 missing" "$pquant" status held
expect 2 "held/batch/condor.log: is not there" "$pquant" rerun held --held --memory +1GB
cp "$golden/condor.log" held/batch
expect 5 "HTCondor: 5 jobs: 0 waiting, 1 running, 2 held, 1 ended, 1 removed" "$pquant" status held
expect 5 "held: job 8123.1, shard 1: code 34: Error from slot1_2@node3: Job has gone over cgroup memory limit" "$pquant" status held
expect 5 "again: pquant rerun held --held --memory +1GB --submit" "$pquant" status held
expect 5 '"held": 2' "$pquant" status held --format json
expect 2 "job 8123.1 is held for its memory (code 34): give --memory" "$pquant" rerun held --held
for bad in 1 +x -1GB ++1GB 1kB nan; do
  expect 2 "is neither N nor +N" "$pquant" rerun held --held "--memory=$bad"
done
expect 2 "rerun: --held is due" "$pquant" rerun held
"$pquant" rerun held --held --memory +1GB --dry-run >text 2>log || fault "rerun: $(cat log)"
[ ! -e held/batch/rerun.sub ] || fault "--dry-run wrote something"
sed -i "s#$work#/home/user#g; s#$pquant#/opt/pquant#g" text
if [ -n "${UPDATE:-}" ]; then
  cp text "$golden/rerun.txt"
else
  diff "$golden/rerun.txt" text >log || fault "another text than tests/cli/batch/rerun.txt: $(cat log)"
fi
expect 0 "rerun.sub" "$pquant" rerun held --held --memory 6GB
[ "$(grep -c '^  [13], 6000$' held/batch/rerun.sub)" = 2 ] && bash -n held/batch/rerun.sh || fault "rerun.sub: $(tail -4 held/batch/rerun.sub)"
command -v condor_rm >/dev/null || expect 75 "does this machine have condor_submit" "$pquant" rerun held --held --memory 6GB --submit
sed -i '/^queue/d' held/batch/sweep.sub
expect 2 "it lacks memory_mb, shard or queue" "$pquant" rerun held --held --memory 6GB
grep -v '^012' "$golden/condor.log" >held/batch/condor.log
expect 4 "no job is held" "$pquant" rerun held --held --memory 6GB
head -c 2000 /dev/urandom >held/batch/condor.log
expect 2 "no event of HTCondor stands in it" "$pquant" status held
# Events cut short, of the whole cluster, with numbers beyond all range, and of a shard that was submitted again.
printf '%s
' '012 (9.001' '036 (9.-01.-01) x' '000 (99999999999999999999.0.0) x' '012 (9.001.000) 2026-11-29 07:06:00 Job was held.'   '	Code 99999999999999999999 Subcode 0' '...' '	(1) Normal termination (return value 3)' >held/batch/condor.log
expect 5 "HTCondor: " "$pquant" status held

"$pquant" run c.yaml -o whole -q >log 2>&1 || fault "run: $(tail -2 log)"
same() { # ENGINE
  cmp whole/table.csv "$1/table.csv" || fault "$1: another table"
  [ "$(ls "$1/cells" | wc -l)" = 96 ] || fault "$1: $(ls "$1/cells" | wc -l) records"
}
if command -v mpirun >/dev/null; then
  export MPIRUN_OPTIONS="--oversubscribe --allow-run-as-root"
  "$pquant" batch mpi c.yaml -o mpi --shards 4 --submit >log 2>&1 || fault "mpirun: $(tail -3 log)"
  same mpi
  odd="$work/a \$b 'c' & \"d\" ü"
  mkdir "$odd" && cp c.yaml d.csv "$odd"
  (cd "$odd" && "$pquant" batch mpi c.yaml -o "o u t" --shards 2 --submit -P s=0.1,0.2 -S name='it'"'"'s') >log 2>&1 || fault "mpirun in an odd folder: $(tail -3 log)"
  [ "$(ls "$odd/o u t/cells" | wc -l)" = 11 ] || fault "mpirun in an odd folder: $(ls "$odd/o u t/cells" | wc -l) records"
else
  echo "skipped: mpirun (no openmpi-bin)"
fi
if command -v parallel >/dev/null; then
  "$pquant" batch parallel c.yaml -o par --shards 4 --submit >log 2>&1 </dev/null || fault "parallel: $(tail -3 log)"
  same par
  odd="$work/e \$f 'g' & \"h\" ü"
  mkdir "$odd" && cp c.yaml d.csv "$odd"
  (cd "$odd" && "$pquant" batch parallel c.yaml -o "o u t" --shards 2 --submit -P s=0.1,0.2) >log 2>&1 </dev/null || fault "parallel in an odd folder: $(tail -3 log)"
  [ "$(ls "$odd/o u t/cells" | wc -l)" = 11 ] || fault "parallel in an odd folder: $(ls "$odd/o u t/cells" | wc -l) records"
else
  echo "skipped: GNU parallel (not installed)"
fi

# Two nodes of Slurm on this machine, without systemd, control groups or a database.
start_slurm() {
  command -v slurmctld munged slurmd >/dev/null || { echo "no slurm-wlm"; return 1; }
  [ "$(id -u)" = 0 ] || { echo "needs root"; return 1; }
  local port=$((20000 + $$ % 20000)) host
  host=$(hostname -s)
  mkdir -p s/state s/n1 s/n2 && cp -p /etc/munge/munge.key s/munge.key 2>/dev/null || dd if=/dev/urandom of=s/munge.key bs=64 count=1 2>/dev/null
  chmod 755 "$work" s && chmod 600 s/munge.key && chown root s/munge.key
  munged --force --key-file="$work/s/munge.key" --socket="$work/s/munge" --pid-file="$work/s/munged.pid" --log-file="$work/s/munged.log" \
    --seed-file="$work/s/munge.seed" || { echo "munged does not start"; return 1; }
  daemons+=("$(cat s/munged.pid)")
  cat >s/slurm.conf <<END
ClusterName=test
SlurmctldHost=$host
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$work/s/munge
SlurmctldPort=$port
SlurmctldPidFile=$work/s/ctld.pid
SlurmdPidFile=$work/s/%n.pid
SlurmdSpoolDir=$work/s/%n
StateSaveLocation=$work/s/state
SlurmctldLogFile=$work/s/ctld.log
SlurmdLogFile=$work/s/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SchedulerType=sched/backfill
NodeName=n1 NodeHostname=$host Port=$((port + 1)) CPUs=2 RealMemory=4000
NodeName=n2 NodeHostname=$host Port=$((port + 2)) CPUs=2 RealMemory=4000
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
END
  export SLURM_CONF=$work/s/slurm.conf
  slurmctld -D >s/ctld.out 2>&1 &
  daemons+=($!)
  for node in n1 n2; do
    slurmd -D -N $node >s/$node.out 2>&1 &
    daemons+=($!)
  done
  for _ in $(seq 100); do
    [ "$(sinfo -h -N -o %T 2>/dev/null | grep -c idle)" = 2 ] && return 0
    sleep 0.2
  done
  echo "its nodes do not come up: $(tail -2 s/ctld.out s/ctld.log s/n1.log 2>/dev/null | tr '\n' ' ')"
  return 1
}
if start_slurm >why; then
  "$pquant" batch slurm c.yaml -o slurm --shards 4 --submit >log 2>&1 || fault "sbatch: $(cat log)"
  for _ in $(seq 300); do
    [ -e slurm/table.csv ] && [ -z "$(squeue -h)" ] && break
    sleep 0.2
  done
  [ -e slurm/table.csv ] || fault "no table: $(squeue; tail -2 slurm/batch/*.log)"
  same slurm
  # The job of docs/nightly.md: on a node of its own, and with the exit code of nightly.sh.
  sed -n '/^Slurm, an exclusive node/,/^```$/p' "$root/docs/nightly.md" | sed '1,2d;$d' >night.slurm
  for code in 0 1; do
    printf 'sleep 0.5; squeue -h -o %%h > shared; echo "$SLURM_JOB_NAME" > name; exit %s\n' $code >nightly.sh
    sbatch --wait night.slurm >log 2>&1
    got=$?
    [ $got = $code ] && [ "$(cat name)" = nightly ] || fault "the nightly job ended with $got, not $code: $(cat log name slurm-*.out)"
    grep -q '^NO\|EXCLUSIVE' shared || fault "the nightly job shares its node: $(cat shared)"
  done
else
  echo "skipped: Slurm ($(cat why))"
fi
done_testing
