"""The command line: `mmnar COMMAND key=value ...`.

Nothing heavy is imported here. A command's module is imported after its arguments and settings are validated, while
signals are deferred: a signal during an import would leave it incomplete.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

from mmnar_lightning import lean_torchmetrics, streams
from mmnar_lightning.distributed import launch, signals

if TYPE_CHECKING:
    from mmnar_lightning.config.experiment import ExperimentConfig

COMMANDS = {
    "cohort": "build the cohort of an experiment from the raw release",
    "embed": "encode the documents and images of an experiment's cohort; several processes share the work",
    "train": "build the cohort, train, and evaluate the test split unless evaluate=false",
    "evaluate": "evaluate the test split with the best checkpoint of a run (run=FOLDER, else the newest)",
    "show": "print what a run knows beside the summary: scores by pattern, rectifier, diagnostics (run=FOLDER)",
    "predict": "predict new rows with a trained model (run=FOLDER paths.cohort=FOLDER, labels are not needed)",
    "export": "write a trained network as a graph for other programs (to=onnx or torch), or predictions (to=meds)",
    "compare": "compare runs on the same test rows: paired differences, corrected for their number (runs=[FOLDER,...])",
    "table": "run the methods of a table on its cohorts, and write it (table.name=quick; docs/table.md)",
    "report": "write the page of a run as one HTML file (run=FOLDER, else the newest; runs=[FOLDER,...] compares them)",
    "sweep": "search settings: many trials of one experiment, by W&B or, with sweep.offline=true, on this machine",
    "trial": "run one trial of a sweep; started by the sweep's file",
    "best": "evaluate the test split once, with the best trial of a sweep (run=FOLDER, else the newest)",
    "settings": "print the settings that begin with a prefix: type, default, meaning, and when each is read",
    "simulate": "write a simulated release, with its ground truth, into out=FOLDER",
    "doctor": "list the tables under a root, what needs them, and damaged files; or validate a custom cohort",
}
"""Name of a command, and of its module in `commands` -> its help text in `mmnar --help`."""

ARGUMENTS = {"settings": "prefix", "show": "topic"}
"""Command -> the words that it takes beside settings."""

PREEMPTED = 75
"""Exit status of a run that was asked to stop and can be resumed (EX_TEMPFAIL of sysexits.h)."""


def run() -> NoReturn:
    """Run `main`, and exit with its status.

    With several ranks, a stopped rank exits at once. Its output is written, and a thread that still waits for another
    rank would abort the interpreter, whose exit status then would not mark the run as saved and resumable.
    """
    streams.protect()
    launch.end_with_first()
    lean_torchmetrics.install()
    with signals.deferred():
        signals.install()
        status = main()
        dist = sys.modules.get("torch.distributed")
        in_group = dist is not None and dist.is_available() and dist.is_initialized()
        if in_group and (status == PREEMPTED or not launch.is_rank_zero()):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        signals.ignore()  # the status is decided
    sys.exit(status)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: the words after `mmnar`; None takes those of the process.

    Returns:
        The exit status: 0 done, or ended by W&B; 1 refused, or a defect; 75 stopped by a signal, resumable;
        130 interrupted.
    """
    limit_openmp_spinning()
    with signals.handled(), signals.deferred():
        parsed = _parse(arguments)
        try:
            status = _guarded(parsed.command, parsed.settings)
        except signals.PreemptedError as stop:
            status = _stopped(stop)
        if status:
            _end_logging(status)
        return status


def limit_openmp_spinning() -> None:
    """Let waiting OpenMP threads sleep instead of spin, unless the environment sets this.

    libgomp reads its settings once, when it is loaded with torch. docs/cluster.md gives the cost and benefit.
    """
    if "GOMP_SPINCOUNT" not in os.environ:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


class _Parser(argparse.ArgumentParser):
    """A parser that suggests the nearest command."""

    def error(self, message: str) -> NoReturn:
        """Print the error and exit with status 2."""
        word = next((word for word in sys.argv[1:] if not word.startswith("-") and word not in COMMANDS), "")
        near = get_close_matches(word, COMMANDS, n=2)
        super().error(f"unknown command {word!r}; did you mean {' or '.join(near)}?" if near else message)


class _Version(argparse.Action):
    """Prints the version of the installed package, which is looked up only then."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:  # noqa: A002
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        from importlib.metadata import version

        sys.stdout.write(f"mmnar-lightning {version('mmnar-lightning')}\n")
        parser.exit()


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(prog="mmnar", description="Clinical prediction when whole modalities are missing not at random.")
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        metavar = f"[{ARGUMENTS[name]}] key=value" if name in ARGUMENTS else "key=value"
        command.add_argument("settings", nargs="*", metavar=metavar, help="settings, see `mmnar settings`")
    return parser.parse_args(arguments)


def _guarded(command: str, words: Sequence[str]) -> int:
    """Run a command; a user error is printed as one line with status 1, a defect keeps its traceback."""
    from data_modules import files
    from data_modules.errors import UserError
    from mmnar_lightning.console import fail, quieten, warn
    from mmnar_lightning.tracebacks import describe, is_defect

    try:
        config = _compose(command, words)
        quieten()
        module = _import_command(command)
        with signals.restored(), files.private(shared_group=config.privacy.shared_group):
            status: int = _run(module, config, words)
    except UserError as error:
        fail(str(error))
        return 1
    except KeyboardInterrupt:
        warn("interrupted; resume=last resumes the run")
        return 130
    except BaseException as error:
        if not is_defect(error):
            raise
        sys.stderr.write(describe(error))
        fail("this is a defect of the program, not of your settings: please report it with the traceback above")
        return 1
    return status


def _compose(command: str, words: Sequence[str]) -> "ExperimentConfig":
    """Compose and check the configuration of a command; `settings` only describes settings, and reads no file."""
    if command == "settings":
        defaults: ExperimentConfig = import_module("mmnar_lightning.config.experiment").ExperimentConfig()
        return defaults
    given = [word for word in words if "=" in word] if command in ARGUMENTS else words
    config: ExperimentConfig = import_module("mmnar_lightning.config.compose").load(given)
    import_module("mmnar_lightning.config.ignored").check_command(config, command)
    import_module("mmnar_lightning.console").show_bars(config.trainer.progress_bar)
    return config


def _import_command(command: str) -> ModuleType:
    """Import the module of a command, and stop if a signal was received meanwhile."""
    module = import_module(f"mmnar_lightning.commands.{command}")
    if not launch.is_launched_by_parent():
        signals.raise_if_requested_here()
    return module


def _run(module: ModuleType, config: object, words: Sequence[str]) -> int:
    """Run a command's module, in which signals raise immediately.

    A rank that the first process started only records them: that process waits for it, and stops together with it.

    Returns:
        The exit status.
    """
    with nullcontext() if launch.is_launched_by_parent() else signals.undeferred():
        status: int = module.run(config, words)
    return status


def _stopped(stop: signals.PreemptedError) -> int:
    """Get the exit status of a stopped command; W&B is informed that its run will be resumed."""
    from mmnar_lightning.console import warn

    if not launch.is_rank_zero():
        return 0  # a failing rank would make its launcher (mmnar, srun, torchrun) end rank zero too early
    if _is_over():
        warn(f"W&B ended this run; {stop}")
        return 0
    warn(f"{stop}; the same command resumes it")
    wandb: Any = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.run.mark_preempting()
    return PREEMPTED


def _is_over() -> bool:
    """Whether W&B ended this run permanently; its server is queried only in a trial of a sweep."""
    if signals.is_termination_requested():
        return True
    if not os.environ.get("WANDB_SWEEP_ID"):
        return False
    from mmnar_lightning.sweeps.online import is_over

    return is_over()


def _end_logging(status: int) -> None:
    """Report the exit status to W&B, which would otherwise assume success and not requeue a trial."""
    wandb: Any = sys.modules.get("wandb")
    if wandb is not None and getattr(wandb, "run", None) is not None:
        wandb.finish(exit_code=status)


if __name__ == "__main__":
    run()
