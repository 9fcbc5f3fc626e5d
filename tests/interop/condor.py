"""What `batch condor` writes, through HTCondor's own parser: every key, macros expanded, and the number of jobs.

The parser takes misspelt keys, too: those are held by tests/cli/batch/condor.txt.
"""
import json
import os
import shutil
import subprocess

import htcondor2

ROOT = os.path.join(os.path.dirname(__file__), "..", "..")
SITE = {"cores": 2, "memory": "3GB", "at_once": 5, "retries": 4, "account": "group_u_ATLAS.users", "flavour": "longlunch"}
DUE = {
    "request_cpus": "2", "max_materialize": "5", "max_retries": "4", "accounting_group": "group_u_ATLAS.users",
    "MY.JobFlavour": '"longlunch"', "kill_sig": "SIGUSR1", "arguments": "$(Process)",
    "submit_event_notes": "shard=$(Process) memory=3000",
    "request_memory": "ifThenElse(isUndefined(MemoryUsage), 3000, max({3000, 3 * MemoryUsage / 2}))",
    "periodic_release": "(HoldReasonCode == 26 || HoldReasonCode == 34) && NumJobStarts <= 4",
}


def check_held():
    """A log through HTCondor's own reader and through `status`; what `rerun --held` submits, through its parser."""
    log = os.path.join(ROOT, "tests", "cli", "batch", "condor.log")
    state, notes, used = {}, {}, {}
    words = {0: "waiting", 1: "running", 5: "ended", 9: "removed", 12: "held", 13: "waiting"}
    for event in htcondor2.JobEventLog(log).events(0):
        job = event.proc
        state[job] = words.get(int(event.type), state.get(job))
        notes[job] = event.get("LogNotes", notes.get(job))
        used[job] = event.get("MemoryUsage", used.get(job, 0))
    shutil.copy(log, "out/batch/condor.log")
    with open("out/plan.json", "w") as file:
        json.dump({"schema": "pquant-plan/1", "name": "n", "config": "c", "cells": []}, file)
    told = json.loads(subprocess.run([os.environ["PQUANT"], "status", "out", "--format", "json"], check=True,
                                     stdout=subprocess.PIPE).stdout)["jobs"]
    assert {k: v for k, v in told.items() if v} == {w: list(state.values()).count(w) for w in set(state.values())}, told
    subprocess.run([os.environ["PQUANT"], "rerun", "out", "--held", "--memory", "+1GB", "-q"], check=True, stdout=subprocess.DEVNULL)
    again = htcondor2.Submit(open("out/batch/rerun.sub").read())
    items = [f"{i['shard']}, {i['memory_mb']}" for i in again.itemdata()]
    for job, now in state.items():
        asked = int(notes[job].split("memory=")[1])
        line = f"{job}, {max(asked, used[job]) + 1000}"
        assert (line in items) == (now == "held"), (line, items)
    assert again.get("arguments") == "$(shard)" and again.get("request_memory").count("$(memory_mb)") == 2
    return 3 + len(state)


def main():
    with open("site.yaml", "w") as file:
        file.write("schema: pquant-site/1\n" + "".join(f"{k}: {v}\n" for k, v in SITE.items()))
    here = os.getcwd()
    subprocess.run([os.environ["PQUANT"], "batch", "condor", "configs/quickstart.yaml", "--profile", f"{here}/site.yaml",
                    "--shards", "20", "-o", f"{here}/out"], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    text = open("out/batch/sweep.sub").read()
    submit = htcondor2.Submit(text)
    macros = {"$(shard)": "$(Process)", "$(memory_mb)": "3000"}
    assert all(submit.get(k[2:-1]) == v for k, v in macros.items())

    def unfolded(key):
        text = submit.get(key)
        for name, value in macros.items():
            text = text.replace(name, value)
        return text

    wrong = {k: unfolded(k) for k, v in DUE.items() if unfolded(k) != v}
    assert not wrong, wrong
    assert submit.getQArgs() == "20", submit.getQArgs()
    for key in ("executable", "log"):
        assert submit.expand(key).startswith(os.getcwd()), submit.expand(key)
    for job in (submit.expand("output"), submit.expand("error")):
        assert "$(" not in job, job
    held = check_held()
    print(f"{len(DUE) + 5 + held} cases, largest deviation 0")


main()
