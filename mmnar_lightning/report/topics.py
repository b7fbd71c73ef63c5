"""What `mmnar show` prints of a run beside the summary, by topic; public results alone."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from mmnar_lightning.console import say, show
from mmnar_lightning.evaluation.results import Results
from mmnar_lightning.report.breakdown_tables import show_labels, show_net_benefit, show_subgroups
from mmnar_lightning.report.figures import SCORED
from mmnar_lightning.report.summary import num_parts, show_summary
from mmnar_lightning.report.tables import (
    show_blend,
    show_gains,
    show_groups,
    show_part_gains,
    show_parts,
    show_rectifier,
    show_scores,
)
from mmnar_lightning.report.value_tables import show_value_offsets, show_value_scores, show_value_subgroups


class Topic(NamedTuple):
    """A part of the results.

    Attributes:
        says: what it is, in words.
        exists: whether results have it.
        show: prints it.
    """

    says: str
    exists: Callable[[Results], bool]
    show: Callable[[Results], None]


def _scores(results: Results) -> None:
    if results.values is not None:
        show_value_scores(results)
        return
    for name, scores in results.scores.items():
        say(SCORED[name])
        show_scores(results, scores)
        if results.children is not None:
            show_parts(scores, num_parts(results))


def _rectifier(results: Results) -> None:
    shown = show_rectifier if results.values is None else show_value_offsets
    shown(results)


def _subgroups(results: Results) -> None:
    (show_subgroups if results.values is None else show_value_subgroups)(results)


def _groups(results: Results) -> None:
    if results.groups is not None:
        show_groups(results.groups)


def _has(name: str, results: Results) -> bool:
    return bool((results.diagnostics or {}).get(name))


def _assignment(results: Results) -> None:
    """How well the presence of each modality is predicted from the others."""
    header = ["modality", "test rows (present)", "auroc", "calibration error", "outside overlap"]
    rows = [
        [
            name,
            f"{found['count']} ({found['present']})",
            *(_interval(found[key.replace(" ", "_")]) for key in header[2:]),
        ]
        for name, found in (results.diagnostics or {})["assignment"].items()
    ]
    show("presence predicted from the other modalities, 95 % intervals", header, rows)


def _interval(found: Mapping[str, Any]) -> str:
    if found["value"] is None:
        return "undefined"
    ends = "" if found["low"] is None else f" ({found['low']:.2f} to {found['high']:.2f})"
    return f"{found['value']:.2f}{ends}"


def _tipping(results: Results) -> None:
    """The shift of a pattern's logits at which the order of its risk and that of the other rows flips."""
    by_task = (results.diagnostics or {})["decision_tipping_point"]
    names = list(dict.fromkeys(name for own in by_task.values() for name in own))
    rows = [[name, *(_shift(own, name) for own in by_task.values())] for name in names]
    show(
        "tipping points: shift of a pattern's logits that flips its rank against all others",
        ["pattern", *by_task],
        rows,
    )


def _shift(own: Mapping[str, float | None], name: str) -> str:
    if name not in own:
        return "masked"
    found = own[name]
    return "none" if found is None else f"{found:+.2f}"


def _target(results: Results) -> None:
    target = results.target
    if target is not None:
        say(f"target: {target.dataset}, cohort {target.cohort}")
        show_all(target)


def _origin(results: Results) -> None:
    """Where the scores come from."""
    facts: dict[str, Any] = {
        "experiment": results.experiment,
        "run": results.run_id,
        "protocol": results.protocol,
        "seed": results.seed,
        "dataset": f"{results.dataset}{' (simulated)' if results.simulated else ''}",
        "cohort": results.cohort,
        "releases": ", ".join(f"{name} {version}" for name, version in results.versions.items()),
        "modalities": ", ".join(results.modalities),
        "test rows": results.split.rows,
        "test subjects": results.split.subjects,
        "commit": _commit(results.environment or {}),
        "packages": ", ".join(f"{name} {own}" for name, own in (results.environment or {}).get("packages", {}).items()),
        "hardware": _hardware(results.environment or {}),
        "checkpoint": ", ".join(f"{key} {value}" for key, value in (results.checkpoint or {}).items()),
    }
    for line in (*(f"{name}: {value}" for name, value in facts.items() if value not in {None, ""}), *results.dropped):
        say(line)


def _commit(environment: Mapping[str, Any]) -> str:
    changed = " and changes that were not committed" if environment.get("dirty") else ""
    return f"{environment['commit']}{changed}" if environment.get("commit") else ""


def _hardware(environment: Mapping[str, Any]) -> str:
    if not environment:
        return ""
    memory = f", {environment['memory_gb']} GB" if environment["memory_gb"] else ""
    return f"{environment['cores']} cores of {environment['processor']}{memory}{_gpus(environment['gpus'])}"


def _gpus(names: Sequence[str]) -> str:
    return f", {', '.join(names)}" if names else ""


TOPICS: Mapping[str, Topic] = {
    "origin": Topic("cohort, checkpoint and releases", lambda _: True, _origin),
    "scores": Topic("scores by pattern, before and after the rectifier", lambda _: True, _scores),
    "rectifier": Topic("offset of every pattern", lambda results: results.rectifier is not None, _rectifier),
    "gains": Topic("what a rectifier changes at its target", lambda r: r.rectified_gain is not None, show_gains),
    "blend": Topic("network, boosted trees, and their mean", lambda results: results.blend is not None, show_blend),
    "groups": Topic("scores by hospital or year group", lambda results: results.groups is not None, _groups),
    "subgroups": Topic(
        "scores by sex, age band, race and the like", lambda r: bool(r.subgroups or r.value_subgroups), _subgroups
    ),
    "decisions": Topic("net benefit by threshold", lambda results: bool(results.net_benefit), show_net_benefit),
    "labels": Topic("known labels by pattern", lambda results: bool(results.label_availability), show_labels),
    "assignment": Topic("how well presence is predicted", lambda results: _has("assignment", results), _assignment),
    "tipping": Topic("tipping points", lambda results: _has("decision_tipping_point", results), _tipping),
    "parts": Topic("gain of each part of the method", lambda results: _has("parts", results), show_part_gains),
    "target": Topic("all of it at the target", lambda results: results.target is not None, _target),
}
"""Name -> topic, in the order in which they are printed."""


def show_all(results: Results) -> None:
    """Print the summary and every topic that results have.

    Args:
        results: of a run, public.
    """
    show_summary(results)
    for topic in TOPICS.values():
        if topic.exists(results):
            topic.show(results)
