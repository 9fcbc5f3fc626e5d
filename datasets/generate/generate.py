"""Generates the jet samples.

    generate.py jets-hlf|jets-btag --events N --seed S --jobs J [-o OUT] [--radius 0.4]

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted (finished chunks are kept;
the same command goes on from them).
"""

import argparse
import os
import signal
import sys
from importlib import metadata
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # one chunk is one thread


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"generate: error: {message}\n")


def _positive(text):
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number above 0")
    return value


def _seed(text):
    if not text.isdigit() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number in 0 .. 2^63-1")
    return int(text)


def _radius(text):
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.1 <= value <= 1.5:
        raise argparse.ArgumentTypeError(f"'{text}' is not a jet radius in 0.1 .. 1.5")
    return value


def parse(arguments):
    parser = _Parser(prog="generate", description="Generates jet samples with Pythia 8 and FastJet.")
    parser.add_argument("sample", choices=("jets-hlf", "jets-btag"))
    parser.add_argument("--events", type=_positive, required=True, metavar="N",
                        help="jets-hlf: jets (one an event); jets-btag: events (about 4 jets each)")
    parser.add_argument("--seed", type=_seed, default=1, metavar="S", help="default 1")
    parser.add_argument("--jobs", type=_positive, default=1, metavar="J",
                        help="processes, default 1; the result does not depend on it")
    parser.add_argument("-o", "--output", type=Path, metavar="OUT",
                        help="HDF5 file to write, default SAMPLE.h5; jets-btag writes a second "
                             "one, OUT with '-tracks' before the ending")
    parser.add_argument("--radius", type=_radius, default=0.4, metavar="R",
                        help="anti-kT radius, default 0.4")
    options = parser.parse_args(arguments)
    options.output = options.output or Path(f"{options.sample}.h5")
    if not options.output.parent.is_dir():
        parser.error(f"there is no folder '{options.output.parent}' for the output")
    if options.output.is_dir():
        parser.error(f"the output '{options.output}' is a folder, not a file")
    return options


def source_text(options):
    """How the sample was made, without anything that differs between equal runs."""
    versions = ", ".join(f"{p} {metadata.version(p)}" for p in ("pythia8mc", "fastjet", "numpy"))
    return (f"pquant datasets/generate/generate.py {options.sample} --events {options.events} "
            f"--seed {options.seed} --radius {options.radius:g}; {versions}")


def main(arguments):
    options = parse(arguments)
    import chunks
    if options.sample == "jets-hlf":
        import sample_hlf as sample
    else:
        import sample_btag as sample
    folder = options.output.with_name(options.output.name + ".parts")
    plan = chunks.Plan(sample.make_chunk, folder, options.events, sample.PER_CHUNK, options.seed,
                       {"radius": options.radius})
    chunks.run(plan, options.jobs, sample.UNIT)
    for path in sample.write(plan, options.output, source_text(options)):
        print(path)
    plan.remove()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: workers end too
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.stderr.write("generate: interrupted; the same command goes on from here\n")
        sys.exit(130)
    except ModuleNotFoundError as missing:
        sys.stderr.write(f"generate: error: the package '{missing.name}' is missing; "
                         "install requirements.txt\n")
        sys.exit(1)
    except (OSError, RuntimeError, ValueError) as failure:
        sys.stderr.write(f"generate: error: {failure}\n")
        sys.exit(1)
