"""Nothing is unpickled, and no code of a model, file or folder is run, in any place of the program."""

import ast
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

from mmnar_lightning.config.compose import load, save
from mmnar_lightning.config.experiment import ConfigError
from mmnar_lightning.runs import folders, requests, single
from mmnar_lightning.sweeps import copies
from tests.helpers.paths import ROOT

UNSAFE = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "jsonpickle", "runpy", "code"}
"""Modules that build objects of, or run, what they read."""
OWN_PROGRAM = "mmnar_lightning/sweeps/copies.py"
"""Runs this program's own package, by a name that no file or word changes."""
IMPORTERS = {
    "mmnar_lightning/__init__.py",  # its own public names
    "mmnar_lightning/cli.py",  # the module of a command
    "mmnar_lightning/baselines/registry.py",  # a class that the user names
    "mmnar_lightning/runs/named.py",  # callbacks and loggers that the user names
    "data_modules/databases/registry.py",  # an installed database
}
"""The files that import by name."""


@cache
def calls() -> list[tuple[str, str, dict[str, str]]]:
    """File, function and keyword arguments of every call in the program."""
    return [
        (path, ast.unparse(node.func), {word.arg or "**": ast.unparse(word.value) for word in node.keywords})
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    ]


@cache
def trees() -> list[tuple[str, ast.Module]]:
    """File and syntax of all that is read and imported by the program and its benchmarks."""
    files = [
        path for package in ("data_modules", "mmnar_lightning", "benchmarks") for path in (ROOT / package).rglob("*.py")
    ]
    return [(path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())) for path in sorted(files)]


def found(*functions: str) -> list[tuple[str, dict[str, str]]]:
    """File and keywords of the calls of functions; there is at least one."""
    listed = [(path, words) for path, function, words in calls() if function.split(".")[-1] in functions]
    assert listed, functions
    return listed


def test_no_module_that_unpickles_is_imported() -> None:
    for path, tree in trees():
        names = {
            alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
        }
        names |= {(node.module or "").split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not names & UNSAFE - ({"runpy"} if path == OWN_PROGRAM else set()), path


def test_a_copy_of_the_program_runs_its_own_package_alone() -> None:
    assert (ROOT / OWN_PROGRAM).read_text().count("runpy.") == 1
    assert [path for path, function, _ in calls() if function == "runpy.run_module"] == [OWN_PROGRAM]
    assert "runpy.run_module(PACKAGE," in (ROOT / OWN_PROGRAM).read_text()
    assert copies.PACKAGE == "mmnar_lightning"


def test_tensors_are_read_without_objects() -> None:
    read = [(path, words) for path, function, words in calls() if function == "torch.load"]
    assert len(read) >= 3
    assert [path for path, words in read if words.get("weights_only") != "True"] == []
    resumed = [words for _, function, words in calls() if function == "trainer.fit" and "ckpt_path" in words]
    assert resumed
    assert all(words["weights_only"] == "True" for words in resumed)


def test_arrays_are_read_without_objects() -> None:
    read = [(path, words) for path, function, words in calls() if function in {"np.load", "numpy.load"}]
    assert len(read) > 5
    assert [path for path, words in read if words.get("allow_pickle", "False") != "False"] == []


def test_yaml_is_read_without_objects() -> None:
    unsafe = {"load", "load_all", "full_load", "unsafe_load", "full_load_all", "unsafe_load_all"}
    called = [
        (path, function, words) for path, function, words in calls() if function.startswith(("yaml.", "OmegaConf."))
    ]
    assert len(called) > 5
    assert [entry for entry in called if entry[1].split(".")[-1] in unsafe] == []
    assert [
        path for path, function, words in called if function == "yaml.compose" and words["Loader"] != "yaml.SafeLoader"
    ] == []


def test_code_of_a_model_is_not_trusted() -> None:
    for path, words in found("from_pretrained"):
        assert words.get("trust_remote_code") == "False", path
        assert words.get("local_files_only") == "True", path
    assert not [path for path, _, words in calls() if words.get("trust_remote_code", "False") != "False"]
    assert not [path for path, function, _ in calls() if function == "torch.hub.load"]


def test_estimators_of_scikit_learn_are_of_listed_types() -> None:
    read = [(path, words) for path, function, words in calls() if function in {"skops.io.loads", "skops.io.load"}]
    assert [path for path, words in read] == ["mmnar_lightning/baselines/stored.py"]
    assert all("trusted" in words for _, words in read)


def test_text_is_never_run_and_names_are_imported_in_few_places() -> None:
    run = {"eval", "exec", "__import__", "compile", "os.system", "os.popen"}
    assert [entry for entry in calls() if entry[1] in run] == []
    assert [entry for entry in calls() if entry[2].get("shell", "False") != "False"] == []
    assert {path for path, words in found("import_module")} <= IMPORTERS | {"benchmarks/startup.py"}


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of a class that someone else wrote, whose module can be imported."""
    (tmp_path / "foreign_code.py").write_text("raise SystemExit('code of the folder was run')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "foreign_code", raising=False)  # another test has a module of that name
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    save(load(["dataset=custom", f"paths.runs={tmp_path / 'runs'}"]), folder / folders.CONFIG)
    plain = yaml.safe_load((folder / folders.CONFIG).read_text())
    plain["baseline"]["name"] = "foreign_code:Net"
    (folder / folders.CONFIG).write_text(yaml.safe_dump(plain))
    (folder / folders.BEST).touch()
    return folder


@pytest.mark.parametrize("finished", [False, True])
def test_a_class_that_a_folder_names_is_not_imported(foreign: Path, finished: bool) -> None:
    if finished:
        (foreign / folders.RESULTS).touch()
    config = load([f"run={foreign}", "dataset=custom"])
    with pytest.raises(ConfigError, match=r"baseline\.name=foreign_code:Net: .*imported only where you name it"):
        single._save_missing_model(foreign, config) if finished else single.evaluate(config)
    assert "foreign_code" not in sys.modules


def test_callbacks_and_loggers_are_those_of_the_request(foreign: Path) -> None:
    plain = yaml.safe_load((foreign / folders.CONFIG).read_text())
    plain |= {"callbacks": [{"class": "foreign_code.Net"}], "loggers": [{"class": "foreign_code.Net"}]}
    (foreign / folders.CONFIG).write_text(yaml.safe_dump(plain))
    found = folders.settings_of(foreign, load([f"run={foreign}", "dataset=custom"]))
    assert (found.callbacks, found.loggers) == ([], [])
    assert "foreign_code" not in sys.modules


def test_a_class_that_the_user_names_may_be(foreign: Path) -> None:
    config = load([f"run={foreign}", "dataset=custom", "baseline.name=foreign_code:Net"])
    requests.refuse_unnamed_code(foreign, folders.settings_of(foreign, config), config)


def test_a_resumed_run_imports_nothing_that_its_folder_alone_names(foreign: Path) -> None:
    with pytest.raises(ConfigError, match=r"baseline\.name: foreign_code:Net before, none now"):
        folders.run_to_resume(load([f"resume={foreign}", "dataset=custom"]), folders.BEST)
    assert "foreign_code" not in sys.modules
