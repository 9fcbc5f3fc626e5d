#!/usr/bin/env bash
# One sweep of 96 cells, some of which share trained prefixes: in one process, in four shards, by four workers in one
# folder, and killed again and again: the same table, and no cell is computed twice but the one at work.
# PQ_KILLS: how many times.
. "$(dirname "$0")/common.sh"
cd "$work" || exit 1
make_jets d.csv
jet_sweep >c.yaml <<'END'
pipelines:
  reference: []
  prune: {stages: [{prune: {target_sparsity: $s}}], sweep: {s: {linspace: [0.05, 0.95, 79]}}}
  tuned:
    stages: [{svd: {rank: $r}}, {finetune: {epochs: $e, batch: 64}}, {quantize: {bits: $b}}]
    sweep: {r: [2, 4], e: [1, 2], b: [4, 5, 6, 8]}
END
# Records, and models but the uncompressed one, which every run saves.
stamps() {
  find "$1/cells" "$1/models" -type f \( -path '*/cells/*.json' -o -name '*.h5' \) ! -name '*.tmp.*' ! -name "$first.h5" \
    -printf '%p %i %T@\n' | sort
}
# Nothing of an earlier listing may have been made again.
kept() { [ -z "$(comm -23 "$1" "$2")" ] || fault "made again: $(comm -23 "$1" "$2" | head -3)"; }
same_table() { cmp whole/table.csv "$1/table.csv" || fault "$1: another table than the whole run's"; }
no_claims() { [ ! -e "$1/claims" ] || fault "$1: claims are left: $(ls "$1/claims")"; }

"$pquant" run c.yaml -o whole -q >log 2>&1 || fault "run: $(tail -2 log)"
[ "$(ls whole/cells/*.json | wc -l)" = 96 ] || fault "not 96 cells: $(ls whole/cells/*.json | wc -l)"
no_claims whole
first=$("$pquant" explain c.yaml reference | head -1 | cut -d' ' -f1)
[ -s "whole/models/$first.h5" ] || fault "no model of the reference"

# Shards, each in a folder of its own, and all in one: the parts are disjoint and the whole.
for i in 0 1 2 3; do
  expect 0 "0 failed" "$pquant" run c.yaml --shard $i/4 -o part$i -q
  expect 0 "0 cached" "$pquant" run c.yaml --shard $i/4 -o shards -q
  [ ! -e part$i/table.csv ] || fault "a shard made a table"
done
expect 0 "96 records copied" "$pquant" merge parts part0 part1 part2 part3
same_table parts
expect 0 "0 computed, 96 cached" "$pquant" run c.yaml --collect -o shards -q
same_table shards
# Trained models that several cells begin with are made in one shard alone.
key=$("$pquant" explain c.yaml 'tuned r=2 e=1 b=4' | grep ' =$' | sed -n 3p | cut -d' ' -f1)
[ "$(ls part?/models/"$key.h5" | wc -l)" = 1 ] || fault "a trained model was made in several shards"
expect 5 "are missing" "$pquant" run c.yaml --collect -o part1 -q
for bad in 4/4 -1/4 1 a/b 1/0 1/4/2; do
  expect 2 "is not I/N" "$pquant" run c.yaml "--shard=$bad" -o bad -q
done
expect 2 "neither mpirun nor srun" env -u SLURM_PROCID "$pquant" run c.yaml --shard mpi -o bad -q
expect 0 "shard 2/4" env OMPI_COMM_WORLD_RANK=2 OMPI_COMM_WORLD_SIZE=4 "$pquant" run c.yaml --shard mpi -o part2 -q

# Four workers in one folder, one of them late: each ends with the whole table, together they did each cell once.
workers=()
for i in 1 2 3 4; do
  [ $i = 4 ] && sleep 0.2
  "$pquant" run c.yaml -o four --format json -q >four$i.json 2>four$i.log &
  workers+=($!)
done
for i in 1 2 3 4; do
  wait "${workers[$((i - 1))]}" || fault "worker $i: $(tail -2 four$i.log)"
done
same_table four
no_claims four
computed=$(/usr/bin/python3 -c 'import json, sys; print(*(json.load(open(f))["computed"] for f in sys.argv[1:]))' four?.json)
echo "four workers computed $computed cells"
[ $((${computed// /+})) = 96 ] || fault "four workers together computed other than 96 cells: $computed"

# A record that another worker writes just after this one looked whether it is there: a module puts it there then.
cat >late.c <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
int open64(const char *path, int flags, ...)
{
    int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, "open64");
    va_list rest;
    int     fd, mode = 0;

    if ((flags & O_CREAT) != 0) {
        va_start(rest, flags);
        mode = va_arg(rest, int);
        va_end(rest);
    }
    fd = real(path, flags, mode);
    if (fd < 0 && strcmp(path, getenv("LATE_TO")) == 0) {
        (void)rename(getenv("LATE_FROM"), path);
    }
    return fd;
}
int fstatat64(int folder, const char *name, struct stat64 *out, int flags)
{
    int (*real)(int, const char *, struct stat64 *, int) = dlsym(RTLD_NEXT, "fstatat64");
    const int is = real(folder, name, out, flags);
    const int error = errno;

    if (is != 0 && strcmp(name, strrchr(getenv("LATE_TO"), '/') + 1) == 0) {
        (void)rename(getenv("LATE_FROM"), getenv("LATE_TO"));
    }
    errno = error;
    return is;
}
END
cc -shared -fPIC late.c -o late.so || fault "the module does not compile"
expect 5 "1 computed, 0 cached" "$pquant" run c.yaml -o late -q --only 'label==reference'
record=$(ls late/cells/*.json)
mv "$record" late.json
expect 5 "0 computed, 1 cached" env LD_PRELOAD="$work/late.so" LATE_FROM=late.json LATE_TO="$record" \
  "$pquant" run c.yaml -o late -q --only 'label==reference'
[ ! -e late.json ] || fault "nobody wrote the late record"

# Expressions.
expect 5 "cells are missing" "$pquant" run c.yaml -o only -q --only 'pipeline==tuned && r<=2 && b!=4 || label==reference'
[ "$(ls only/cells/*.json | wc -l)" = 7 ] || fault "--only chose $(ls only/cells/*.json | wc -l) cells, not 7"
expect 2 "no cell has an axis 'rank'" "$pquant" run c.yaml -o only -q --only 'rank<=2'
expect 2 "a number before this is due at character 6" "$pquant" run c.yaml -o only -q --only 'r<two'
expect 2 "')' is due" "$pquant" run c.yaml -o only -q --only '(r==2'
expect 4 "no cell was selected" "$pquant" run c.yaml -o only -q --only 'r>100'

# What keys are made of.
expect 0 "stage quantize:" "$pquant" explain c.yaml 'tuned r=2 e=1 b=4'
out=$("$pquant" explain c.yaml 'tuned r=2 e=1 b=4' 'tuned r=2 e=1 b=8')
[ "$(grep -c '^[-+] stage' <<<"$out")" = 2 ] || fault "explain tells other differences: $out"
expect 2 "did you mean 'tuned r=2 e=1 b=4'" "$pquant" explain c.yaml 'tuned r=2 e=1 b=3'

# Claims of others: of a dead host they are taken over, of one that is alive not.
key=$("$pquant" explain c.yaml reference | grep -B1 'pquant eval' | head -1 | cut -d' ' -f1)
mkdir -p other/claims
ln -s dead.1.1.1 "other/claims/$key.0"
touch -d '10 minutes ago' other/claims/dead.1.1.1.alive
expect 5 "1 computed" "$pquant" run c.yaml -o other -q --only reference
rm -rf other && mkdir -p other/claims
ln -s far.1.1.1 "other/claims/$key.0"
(for _ in 1 2 3 4 5 6 7 8; do touch other/claims/far.1.1.1.alive; sleep 0.2; done) &
beating=$!
timeout 1 "$pquant" run c.yaml -o other -q --only reference >log 2>&1 && fault "a cell that another host is at was not waited for: $(cat log)"
[ ! -e "other/cells/$key.json" ] || fault "a cell that another host is at was computed"
wait $beating

# Killed when all cells were done, several one after another: the next run, which has nothing to compute, tidies.
mkdir whole/claims
for turn in 0 1 2 3; do ln -s dead.1.1.$turn "whole/claims/$key.$turn"; done
expect 0 "96 cached" "$pquant" run c.yaml -o whole -q
no_claims whole

# Signals: USR1 lets the cell at work end, TERM drops it; both exit with 75, and the next run goes on.
for signal in USR1 TERM; do
  rm -rf signal
  "$pquant" run c.yaml -o signal -q >log 2>&1 &
  victim=$!
  for _ in $(seq 200); do
    [ "$(ls signal/cells 2>/dev/null | grep -c 'json$')" -ge 5 ] && break
    sleep 0.01
  done
  kill -$signal $victim
  wait $victim
  code=$?
  [ $code = 75 ] || fault "$signal: exit code $code: $(tail -2 log)"
  stamps signal >before
  expect 0 "0 failed" "$pquant" run c.yaml -o signal -q
  stamps signal >after
  kept before after
  same_table signal
done

# SIGKILL at random moments.
RANDOM=20261129
kills=${PQ_KILLS:-50} killed=0
: >before
for _ in $(seq "$kills"); do
  [ -e killed/table.csv ] && rm -rf killed && : >before
  setsid "$pquant" run c.yaml -o killed -q >/dev/null 2>&1 &
  victim=$!
  sleep "0.$(printf %03d $((RANDOM % 250)))"
  kill -9 -- -$victim 2>/dev/null && killed=$((killed + 1))
  wait $victim 2>/dev/null
  mkdir -p killed/cells killed/models
  stamps killed >after
  kept before after
  mv after before
done
expect 0 "0 failed" "$pquant" run c.yaml -o killed -q
stamps killed >after
kept before after
same_table killed
no_claims killed
[ -z "$(find killed -name '*.tmp.*')" ] || fault "temporary files are left: $(find killed -name '*.tmp.*' | head -3)"
echo "$killed of $kills runs killed"
done_testing
