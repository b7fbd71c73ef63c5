"""Sweep files: what is shipped, what is read, what is refused."""

from pathlib import Path

import pytest
import yaml

from mmnar_lightning.cli import COMMANDS
from mmnar_lightning.config.compose import load
from mmnar_lightning.sweeps.space import Parameter, SweepError, parse, read
from tests.helpers.paths import ROOT

FILES = sorted((ROOT / "experiments/sweeps").glob("*.yaml"))
PLAIN = {
    "method": "random",
    "metric": {"name": "val/auroc_best", "goal": "maximize"},
    "command": ["mmnar", "trial", "evaluate=false", "${args_no_hyphens}"],
    "parameters": {"optim.lr": {"min": 0.1, "max": 0.2}},
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_shipped_sweep_is_legal_explained_and_never_reads_test(path: Path) -> None:
    sweep = read(path)
    assert sweep.command[:2] == ("mmnar", "trial")
    assert sweep.command[1] in COMMANDS
    assert "evaluate=false" in sweep.settings()
    for parameter in sweep.parameters:
        for value in parameter.extremes:
            config = load([*sweep.settings(), f"{parameter.key}={value}"])
            assert config.evaluate is False
    assert f"`sweeps/{path.name}`" in (ROOT / "experiments/README.md").read_text()


def test_all_three_methods_are_shipped_and_bayes_ends_bad_trials_early() -> None:
    sweeps = {path.stem: read(path) for path in FILES}
    assert {sweep.method for sweep in sweeps.values()} == {"grid", "random", "bayes"}
    assert sweeps["bayes"].hyperband


def test_a_range_is_read_as_w_and_b_reads_it() -> None:
    given = {
        "a": {"min": 1, "max": 3},
        "b": {"min": 0.0, "max": 1.0},
        "c": {"min": 0.1, "max": 0.9, "distribution": "log_uniform_values"},
        "d": {"min": 0.0, "max": 0.4, "q": 0.1, "distribution": "q_uniform"},
    }
    found = parse({**PLAIN, "parameters": given}).parameters
    assert [parameter.distribution for parameter in found] == [
        "int_uniform",
        "uniform",
        "log_uniform_values",
        "q_uniform",
    ]
    assert found[3] == Parameter("d", (), "q_uniform", 0.0, 0.4, 0.1)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"method": "guess"}, "method=guess"),
        ({"metric": {"name": "val/auroc_best"}}, "goal"),
        ({"parameters": {}}, "parameters"),
        ({"parameters": {"optim": {"parameters": {"lr": {"value": 1}}}}}, "optim.<setting>"),
        ({"parameters": {"optim.lr": {"min": "1e-4", "max": 1.0}}}, "write 1.0e-4"),
        ({"parameters": {"optim.lr": {"min": 0.2, "max": 0.1}}}, "must be below"),
        ({"parameters": {"optim.lr": {"distribution": "normal", "min": 0, "max": 1}}}, "distribution=normal"),
        ({"parameters": {"optim.lr": {"mu": 0}}}, "optim.lr.mu"),
        ({"parameters": {"optim.lr": {"values": [None]}}}, "quote null and lists"),
        ({"parameters": {"x": {"min": 0.0, "max": 0.35, "q": 0.1, "distribution": "q_uniform"}}}, "multiples of q"),
        ({"method": "grid"}, "a grid needs `values`"),
        ({"command": ["mmnar", "trial"]}, "args_no_hyphens"),
        ({"early_terminate": {"type": "hyperband"}}, "min_iter"),
        ({"early_terminate": {"type": "median"}}, "type: hyperband"),
        ({"run_cap": 0}, "run_cap=0"),
        ({"runcap": 3}, "runcap: unknown key"),
    ],
)
def test_nonsense_is_refused_by_its_key(changed: dict, said: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump({**PLAIN, **changed}))
    with pytest.raises(SweepError, match=r"bad\.yaml") as refused:
        read(path)
    assert said in str(refused.value)
