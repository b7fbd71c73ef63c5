"""The command line: `mmnar COMMAND key=value ...`."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from mmnar_lightning import stopping

COMMANDS = {
    "cohort": "build the cohort of an experiment from the raw release",
    "embed": "encode the documents and films of an experiment's cohort; several processes share the work",
    "train": "cohort, training, and the test split unless evaluate=false",
    "evaluate": "read the test split with the best checkpoint of a run (run=FOLDER, else the newest)",
    "sweep": "search settings: many trials of one experiment, by W&B or, with sweep.offline=true, on this machine",
    "trial": "one trial of a sweep; what its file starts",
    "best": "read the test split once, with the best trial of a sweep (run=FOLDER, else the newest)",
    "simulate": "write a simulated release, with its truth, into out=FOLDER",
    "doctor": "say which tables a root holds, which are missing, and what each missing one costs",
}


PREEMPTED = 75
"""Exit status of a run that was asked to stop and can go on (EX_TEMPFAIL of sysexits.h)."""
SPINS = "10000"
"""How often a waiting thread of GNU's OpenMP looks for work before it sleeps; its own default is 300,000."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status.

    That is 0: done, or ended by W&B; 1: refused; 75: stopped by a signal, to be gone on with; 130: interrupted.
    """
    parser = argparse.ArgumentParser(prog="mmnar", description="Multimodal prediction with missingness patterns.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("settings", nargs="*", metavar="key=value", help="settings, see experiments/README.md")
    parsed = parser.parse_args(arguments)
    _give_way()
    with stopping.heeding():
        try:
            status = _guarded(parsed.command, parsed.settings)
        except stopping.PreemptedError as stop:
            with stopping.held():
                status = _stopped(stop)
        with stopping.held():
            if status:
                _end_logging(status)
        return status


def run() -> NoReturn:
    """The program: `main`, and out.

    One of several ranks that was stopped leaves at once. All that it had to write is written, and a thread that still
    waits for another rank would end the interpreter with an abort, whose status says neither saved nor to be gone on
    with.
    """
    from mmnar_lightning.launch import is_first

    status = main()
    torch_distributed = sys.modules.get("torch.distributed")
    if torch_distributed is not None and torch_distributed.is_initialized() and (status == PREEMPTED or not is_first()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _give_way() -> None:
    """Have threads that wait for each other sleep soon, unless the environment says how; before torch is imported.

    Beside two other busy processes on two cores a run took 116 to 290 s, with it 29 s, and alone 16 s either way.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


def _guarded(command: str, words: Sequence[str]) -> int:
    """Run a command; what a person can mend, or asked for, becomes a line and a status."""
    from mmnar_lightning.compose import load
    from mmnar_lightning.console import fail, quieten, warn

    quieten()
    try:
        return _run(command, load(words), words)
    except ValueError as error:
        fail(str(error))
        return 1
    except KeyboardInterrupt:
        warn("interrupted; resume=last goes on")
        return 130


def _stopped(stop: stopping.PreemptedError) -> int:
    """The status of a command that was asked to stop; W&B is told that its run goes on, unless W&B ended it."""
    from mmnar_lightning.console import warn
    from mmnar_lightning.launch import is_first
    from mmnar_lightning.sweeps.online import is_over

    if not is_first():
        return 0  # who fails ends the first process (its launcher, srun, torchrun) before that one is done
    if is_over():
        warn(f"W&B ended this run; {stop}")
        return 0
    warn(f"{stop}; the same command goes on")
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.run.mark_preempting()
    return PREEMPTED


def _end_logging(status: int) -> None:
    """Tell W&B how the run ended: left alone it takes the end of the process for success, and requeues no trial."""
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.finish(exit_code=status)


def _run(command: str, config: object, words: Sequence[str]) -> int:
    from mmnar_lightning import doctor, protocols, runs
    from mmnar_lightning.config import ExperimentConfig
    from mmnar_lightning.sweeps import commands as sweeps
    from mmnar_lightning.sweeps.trial import trial

    assert isinstance(config, ExperimentConfig)
    if command == "doctor":
        return 0 if doctor.examine(config) else 1
    if command == "sweep":
        sweeps.sweep(config, words)
        return 0
    run = {
        "cohort": runs.make_cohort,
        "embed": runs.make_embeddings,
        "train": protocols.train,
        "evaluate": protocols.evaluate,
        "trial": trial,
        "best": sweeps.best,
        "simulate": runs.make_release,
    }
    run[command](config)
    return 0


if __name__ == "__main__":
    sys.exit(main())
