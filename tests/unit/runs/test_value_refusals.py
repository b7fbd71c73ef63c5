"""Settings that need outcomes of yes or no, for a cohort whose tasks are numbers."""

import pytest

from mmnar_lightning.config.compose import load
from mmnar_lightning.config.experiment import ConfigError
from mmnar_lightning.runs import value_results


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["evaluation.blend=true"], "evaluation.blend=true is for .*; set evaluation.blend=false"),
        (["evaluation.elsewhere=carried"], "set evaluation.elsewhere=none"),
        (["experiment=transfer"], "transfer.target=transfer_back is for .*; omit it"),
        (["experiment=mimic,protocols/temporal"], "set cohort.split.target_calibration=0"),
        (["objective.focal_gamma=2"], "set objective.focal_gamma=0"),
        (["diagnostics.parts=true", "evaluation.inner_folds=3"], "set diagnostics.parts=false"),
        (["experiment=mimic,baselines/drfuse"], "baseline.name=drfuse needs outcomes .* boosted_trees predict numbers"),
    ],
)
def test_each_is_refused_with_what_to_set(words: list[str], remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy):
        value_results.refuse(load(words))


def test_a_run_without_them_is_not_refused() -> None:
    value_results.refuse(load(["experiment=mimic_length_of_stay"]))
