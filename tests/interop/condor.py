"""What `batch condor` writes, through HTCondor's own parser: every key, macros expanded, and the number of jobs.

The parser takes misspelt keys, too: those are held by tests/cli/batch/condor.txt.
"""
import os
import subprocess

import htcondor2

ROOT = os.path.join(os.path.dirname(__file__), "..", "..")
SITE = {"cores": 2, "memory": "3GB", "at_once": 5, "retries": 4, "account": "group_u_ATLAS.users", "flavour": "longlunch"}
DUE = {
    "request_cpus": "2", "max_materialize": "5", "max_retries": "4", "accounting_group": "group_u_ATLAS.users",
    "MY.JobFlavour": '"longlunch"', "kill_sig": "SIGUSR1", "arguments": "$(Process)",
    "request_memory": "ifThenElse(isUndefined(MemoryUsage), 3000, max({3000, 3 * MemoryUsage / 2}))",
    "periodic_release": "(HoldReasonCode == 26 || HoldReasonCode == 34) && NumJobStarts <= 4",
}


def main():
    with open("site.yaml", "w") as file:
        file.write("schema: pquant-site/1\n" + "".join(f"{k}: {v}\n" for k, v in SITE.items()))
    here = os.getcwd()
    subprocess.run([os.environ["PQUANT"], "batch", "condor", "configs/quickstart.yaml", "--profile", f"{here}/site.yaml",
                    "--shards", "20", "-o", f"{here}/out"], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    text = open("out/batch/sweep.sub").read()
    submit = htcondor2.Submit(text)
    wrong = {k: submit.get(k) for k, v in DUE.items() if submit.get(k) != v}
    assert not wrong, wrong
    assert submit.getQArgs() == "20", submit.getQArgs()
    for key in ("executable", "log"):
        assert submit.expand(key).startswith(os.getcwd()), submit.expand(key)
    for job in (submit.expand("output"), submit.expand("error")):
        assert "$(" not in job, job
    print(f"{len(DUE) + 5} cases, largest deviation 0")


main()
