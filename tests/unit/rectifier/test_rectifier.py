"""The module: what it changes, what it never changes, whom it refuses."""

import copy

import numpy as np
import pytest
import torch

from data_modules import patterns
from mmnar_lightning.rectifier import rectifier as module
from mmnar_lightning.rectifier.config import RectifierConfig
from mmnar_lightning.rectifier.estimate import Minimum, Rows, estimate
from mmnar_lightning.rectifier.rectifier import Rectifier
from tests.helpers.rectifier_worlds import MODALITIES, drawn

COHORT = "first"
SEEN = [0, 1, 2, 3, 4, 6, 7]
"""Pattern 5 is none of the cohort's."""


def given(seed=0, num_subjects=500, num_tasks=2, first_subject=0):
    """What `fit` takes, of subjects from `first_subject` on; the second task lacks some labels."""
    columns = [drawn(seed + task, num_subjects, max_rows=1) for task in range(num_tasks)]
    pattern = torch.from_numpy(np.where(columns[0][3] == 5, 3, columns[0][3]))
    logits = torch.from_numpy(np.stack([column[0] for column in columns], 1)).float()
    known = torch.ones(len(pattern), num_tasks, dtype=torch.bool)
    known[::7, 1:] = False
    label = torch.from_numpy(np.stack([column[1] for column in columns], 1))
    return {
        "logits": logits,
        "label": label.masked_fill(~known, torch.nan),
        "label_mask": known,
        "present": patterns.decode(pattern, 3),
        "subject": torch.arange(num_subjects) + first_subject,
    }


def made(num_tasks=2, num_subjects=2000, **settings) -> Rectifier:
    return Rectifier(num_tasks, 3, SEEN, num_subjects, RectifierConfig(**{"gate": False, **settings}))


def fitted(**settings) -> Rectifier:
    rectifier = made(**settings)
    rectifier.fit(**given(), cohort=COHORT)
    return rectifier


def others(count=300, seed=50):
    """Logits, presence and subjects outside of the fit, of every pattern, one that was never seen among them."""
    generator = torch.Generator().manual_seed(seed)
    present = patterns.decode(torch.arange(count) % 8, 3)
    return 3 * torch.randn(count, 2, generator=generator), present, torch.arange(count) + 1000


def test_every_offset_is_that_of_the_estimate_of_its_task() -> None:
    rectifier, rows = fitted(), given()
    for task in range(2):
        known = rows["label_mask"][:, task]
        codes = [SEEN.index(code) for code in patterns.encode(rows["present"])[known].tolist()]
        logits, label = (rows[name][known, task].double().numpy() for name in ("logits", "label"))
        table = Rows.of(logits, label, rows["subject"][known].numpy(), np.array(codes))
        expected = estimate(table, MODALITIES[SEEN], 3, Minimum(rows=20, class_rows=5))
        zeros, present, subject = torch.zeros(7, 2), patterns.decode(torch.tensor(SEEN), 3), torch.arange(7) + 1000
        found = rectifier.rectify(zeros, present, subject, COHORT).logit()[:, task]
        np.testing.assert_allclose(found, expected.pattern.offset, atol=1e-6)


def test_a_pattern_that_was_never_seen_gets_exactly_the_offset_of_its_count() -> None:
    rectifier = fitted()
    present = patterns.decode(torch.tensor([5]), 3)
    assert rectifier.unseen(present).tolist() == [True]
    shifted = rectifier(torch.zeros(1, 2), present, torch.tensor([1000]), COHORT)
    assert torch.equal(shifted[0], rectifier.offset[:, 1 + 2])
    assert (shifted != 0).all()


def test_the_ranking_inside_a_pattern_never_changes_and_that_across_patterns_does() -> None:
    rectifier = fitted()
    logits, present, subject = others()
    probability = rectifier.rectify(logits, present, subject, COHORT)
    for code in range(8):
        rows = torch.arange(300) % 8 == code
        assert torch.equal(probability[rows].argsort(0), logits[rows].argsort(0))
    assert not torch.equal(probability.argsort(0), logits.argsort(0))
    assert ((probability >= 0) & (probability <= 1)).all()


@pytest.mark.parametrize("name", ["forward", "rectify"])
def test_a_subject_of_the_fit_is_refused_even_without_a_known_label(name: str) -> None:
    rectifier, rows = made(), given()
    rows["label_mask"][17] = False
    rectifier.fit(**rows, cohort=COHORT)
    logits, present, subject = others()
    subject[5] = 17
    with pytest.raises(ValueError, match="1 of 300 rows belong to subjects that the rectifier was fitted on"):
        getattr(rectifier, name)(logits, present, subject, COHORT)
    getattr(rectifier, name)(logits, present, subject, "another cohort")


def test_the_guard_travels_in_a_checkpoint() -> None:
    again = made()
    again.load_state_dict(fitted().state_dict())
    logits, present, subject = others()
    with pytest.raises(ValueError, match="fitted on"):
        again(logits, present, subject - 1000, COHORT)


def test_unfitted_it_changes_nothing_and_refuses_nobody() -> None:
    rectifier = made()
    logits, present, subject = others()
    assert not rectifier.is_fitted
    assert torch.equal(rectifier(logits, present, subject, COHORT), logits)
    assert torch.equal(rectifier.rectify(logits, present, subject, COHORT), logits.double().sigmoid())


def test_a_checkpoint_holds_all_of_it_bit_for_bit_but_counts(tmp_path) -> None:
    rectifier = fitted(gate=True)
    torch.save(rectifier.state_dict(), tmp_path / "saved.pt")
    again = made(gate=True)
    again.load_state_dict(torch.load(tmp_path / "saved.pt", weights_only=True))
    logits, present, subject = others()
    assert torch.equal(
        again.rectify(logits, present, subject, COHORT), rectifier.rectify(logits, present, subject, COHORT)
    )
    with pytest.raises(ValueError, match="holds no counts"):
        again.table(SEEN)
    assert not [name for name in again.state_dict() if "tally" in name]
    again.recount(**given())
    assert str(again.table(SEEN)) == str(rectifier.table(SEEN))
    assert again.is_fitted


@pytest.mark.parametrize("fit", ["fit", "fit_centred"])
def test_the_order_of_the_rows_changes_no_bit(fit: str) -> None:
    first, second, rows = made(gate=True), made(gate=True), given()
    order = torch.randperm(500, generator=torch.Generator().manual_seed(1))
    getattr(first, fit)(**rows, cohort=COHORT)
    getattr(second, fit)(**{name: column[order] for name, column in rows.items()}, cohort=COHORT)
    for name, value in first.state_dict().items():
        assert torch.equal(value.nan_to_num(), second.state_dict()[name].nan_to_num()), name


def test_logits_keep_their_dtype() -> None:
    logits, present, subject = others()
    assert fitted()(logits.bfloat16(), present, subject, COHORT).dtype == torch.bfloat16
    assert fitted().rectify(logits.bfloat16(), present, subject, COHORT).dtype == torch.float64
    held = {value.dtype for value in fitted().state_dict().values()}
    assert torch.float64 not in held, "mps has no float64"


def test_the_table_shows_where_an_offset_comes_from() -> None:
    task = fitted().table([*SEEN, 5])[1]
    entry = task["patterns"]["100"]
    assert task["strength"] == 1
    assert entry["low"] < entry["tau"] < entry["high"]
    rows = given()
    known = rows["label_mask"][:, 1] & (patterns.encode(rows["present"]) == 1)
    assert (entry["count"], entry["subjects"]) == (known.sum(), known.sum())
    assert entry["positives"] == rows["label"][known, 1].sum()
    assert not entry["inherited"]
    assert task["patterns"]["111"]["inherited"], "the full pattern is the level of its count"
    assert task["patterns"]["101"]["tau"] == pytest.approx(float(fitted().offset[1, 3]))


def changed(**columns):
    return lambda rows: {**rows, **{name: change(rows[name]) for name, change in columns.items()}}


BAD = {
    "have shapes": changed(subject=lambda column: column[1:]),
    "have shapes .*": changed(logits=lambda column: column[:, :1]),
    "NaN or infinite": changed(logits=lambda column: column.index_fill(0, torch.tensor([3]), torch.nan)),
    "neither 0 nor 1": changed(label=lambda column: column.index_fill(0, torch.tensor([3]), 0.5)),
    "neither 0 nor 1.*": changed(label=lambda column: column.index_fill(0, torch.tensor([3]), torch.nan)),
    "subjects -1 to 498": changed(subject=lambda column: column - 1),
    "subjects 5000 to 5499": changed(subject=lambda column: column + 5000),
    "patterns that the cohort does not have": changed(
        present=lambda column: column.index_put((torch.tensor([3]),), torch.tensor([True, False, True]))
    ),
    "at least one row": lambda rows: {name: column[:0] for name, column in rows.items()},
}


@pytest.mark.parametrize("said", BAD)
@pytest.mark.parametrize("fit", ["fit", "fit_centred"])
def test_what_cannot_be_fitted_is_refused_and_nothing_is_kept_of_it(said: str, fit: str) -> None:
    rectifier = fitted()
    before = copy.deepcopy(rectifier.state_dict())
    with pytest.raises(ValueError, match=said):
        getattr(rectifier, fit)(**BAD[said](given()), cohort=COHORT)
    for name, value in rectifier.state_dict().items():
        assert torch.equal(value.nan_to_num(), before[name].nan_to_num()), name


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"min_rows": 0}, r"rectifier\.min_rows=0 must be at least 1"),
        ({"start_epoch": -1}, r"rectifier\.start_epoch=-1 must be at least 0"),
    ],
)
def test_settings_without_a_meaning_are_refused(settings, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        RectifierConfig(**settings)


def test_the_offset_of_the_loss_is_centred_over_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_OFFSET", 10.0)
    rectifier, rows = made(), given()
    rectifier.fit_centred(**rows, cohort=COHORT)
    shifts = rectifier(torch.zeros(500, 2), rows["present"], rows["subject"] + 1000, COHORT)
    assert shifts.std() > 0.1
    assert shifts.mean(0).abs().max() < 1e-6
    plain = fitted()(torch.zeros(500, 2), rows["present"], rows["subject"] + 1000, COHORT)
    torch.testing.assert_close(shifts - plain, (shifts - plain)[:1].expand(500, 2))


def test_the_offset_of_the_loss_is_never_larger_than_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_OFFSET", 0.25)
    rectifier = made()
    rectifier.fit_centred(**given(), cohort=COHORT)
    assert rectifier.offset.abs().max() == 0.25
    assert (rectifier.strength == 1).all()


def test_a_node_of_a_level_without_spread_is_reported_as_inherited_and_one_of_nothing_as_unknown() -> None:
    codes = torch.tensor(SEEN).repeat_interleave(60)
    alike = {
        "logits": torch.zeros(len(codes), 1, dtype=torch.float64),
        "label": (torch.arange(len(codes)) % 4 == 0).double()[:, None],
        "label_mask": torch.ones(len(codes), 1, dtype=torch.bool),
        "present": patterns.decode(codes, 3),
        "subject": torch.arange(len(codes)),
    }
    rectifier = made(num_tasks=1)
    rectifier.fit(**alike, cohort=COHORT)
    entries = rectifier.table(SEEN)[0]["patterns"].values()
    assert all(entry["inherited"] for entry in entries), "all are alike, so every pattern is the root"
    rectifier.fit(**{**alike, "label": torch.zeros(len(codes), 1, dtype=torch.float64)}, cohort=COHORT)
    for entry in rectifier.table(SEEN)[0]["patterns"].values():
        assert (entry["tau"], entry["low"], entry["high"]) == (
            0,
            pytest.approx(-1.96, abs=1e-3),
            pytest.approx(1.96, abs=1e-3),
        )
