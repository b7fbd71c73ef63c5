"""The hierarchy of docs/method.md once more, in float64, node by node and row by row, by scipy.optimize."""

import math
from collections import defaultdict

from scipy.optimize import brentq, minimize_scalar


def sigmoid(value):
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))


def residual(row, offset):
    """Label - prediction at an offset, and how fast it falls with the offset."""
    risk = sigmoid(row["logit"] + offset)
    return row["label"] - risk, risk * (1 - risk)


def clustered_precision(rows, offset):
    """1 / variance of the estimate, the residuals of a subject taken together."""
    by_subject: dict[int, float] = defaultdict(float)
    information = 0.0
    for row in rows:
        error, weight = residual(row, offset)
        by_subject[row["subject"]] += error
        information += weight
    noise = sum(error**2 for error in by_subject.values())
    return information**2 / noise if noise > 0 else 0.0


def posterior_mode(rows, parent, spread):
    """The offset beyond the parent's with prior N(0, spread); infinite is no prior."""
    if spread == 0:
        return 0.0

    def slope(own):
        return sum(residual(row, parent + own)[0] for row in rows) - own / spread

    def loss(own):
        shifted = [row["logit"] + parent + own for row in rows]
        fit = sum(
            math.log1p(math.exp(-abs(x))) + max(x, 0) - row["label"] * x for x, row in zip(shifted, rows, strict=True)
        )
        return fit + own**2 / (2 * spread)

    own = brentq(slope, -40, 40, xtol=1e-13, rtol=1e-14)
    assert abs(minimize_scalar(loss, bounds=(-40, 40), method="bounded").x - own) < 1e-2, "the root is no maximum"
    return own


def level_spread(members, families, estimated):
    """s² by moments: Newton's first step from 0 in each estimated node, all nodes alike.

    Each family shares a parent, whose offset its own rows gave: it takes a degree of freedom.
    """
    excess = spare = 0.0
    for parent, members_of in families.items():
        nodes = [node for node in members_of if node in estimated]
        if len(nodes) < 2:
            continue
        squares, variances = [], []
        for node in nodes:
            errors = [residual(row, parent[1]) for row in members[node]]
            squares.append((sum(error for error, _ in errors) / sum(weight for _, weight in errors)) ** 2)
            variances.append(1 / clustered_precision(members[node], parent[1]))
        excess += sum(squares) - (len(nodes) - 1) * sum(variances) / len(nodes)
        spare += len(nodes) - 1
    return max(0.0, excess / spare) if spare else 0.0


def level(rows, node_of, parent_of, minimum, spread=None, inherits=()):
    """node -> what is known of it; `spread` None is estimated."""
    members = {node: [row for row in rows if node_of(row) == node] for node in parent_of}
    parents = {node: (above["offset"], above["variance"]) for node, above in parent_of.items()}
    families = defaultdict(list)
    for node, above in parent_of.items():
        families[above["name"], above["offset"]].append(node)
    enough = []
    for node, own in members.items():
        positives = sum(row["label"] for row in own)
        if len(own) >= minimum.rows and min(positives, len(own) - positives) >= minimum.class_rows:
            enough.append(node)
    estimated = [node for node in enough if node not in inherits]
    if spread is None:
        spread = level_spread(members, families, estimated)
    found = {}
    for node, (parent, parent_variance) in parents.items():
        entry = {
            "name": node,
            "offset": parent,
            "variance": parent_variance,
            "raw": math.nan,
            "estimated": node in estimated,
        }
        if node in enough:
            entry["raw"] = posterior_mode(members[node], 0.0, math.inf)
        if node in estimated:
            entry["offset"] = parent + posterior_mode(members[node], parent, spread)
            kept = 1 / (1 + spread * clustered_precision(members[node], entry["offset"]))
            entry["variance"] = spread * kept + kept**2 * parent_variance
        entry["rows"] = len(members[node])
        found[node] = entry
    return found, spread


def hierarchy(rows, modalities, num_modalities, minimum):
    """Levels `overall`, `count` and `pattern`, each (node -> entry, s²).

    Args:
        rows: dicts of `logit`, `label`, `subject`, `pattern` (its position).
        modalities: how many modalities each pattern has.
    """
    nothing = {"name": None, "offset": 0.0, "variance": 0.0}
    overall, _ = level(rows, lambda row: 0, {0: nothing}, minimum, spread=1.0)
    above = dict.fromkeys(range(num_modalities + 1), overall[0])
    count, count_spread = level(rows, lambda row: modalities[row["pattern"]], above, minimum)
    alone = [place for place, present in enumerate(modalities) if present in (0, num_modalities)]
    above = {place: count[present] for place, present in enumerate(modalities)}
    pattern, pattern_spread = level(rows, lambda row: row["pattern"], above, minimum, inherits=alone)
    return {"overall": (overall, 1.0), "count": (count, count_spread), "pattern": (pattern, pattern_spread)}
