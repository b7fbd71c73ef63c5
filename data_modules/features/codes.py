"""Words of a row (drugs, organisms, procedures, codes) as indicators of a vocabulary fitted on train rows."""

import polars as pl

from data_modules.features.modality import BuildContext, ColumnBlock
from data_modules.features.store import BoolArray, FloatArray


def clean(column: str) -> pl.Expr:
    """Spellings of one word as one: stripped, in lower case.

    Args:
        column: of words.

    Returns:
        Text.

    >>> pl.DataFrame({"drug": [" Aspirin"]}).select(clean("drug")).item()
    'aspirin'
    """
    return pl.col(column).str.strip_chars().str.to_lowercase()


def fit_vocabulary(words: pl.DataFrame, train: pl.DataFrame, *, min_subjects: int, max_words: int) -> list[str]:
    """Select the words that become columns.

    Args:
        words: `row_id`, `word`, unique pairs.
        train: `row_id`, `subject_id` of the train rows.
        min_subjects: minimum number of train subjects with a word.
        max_words: maximum number of words, those of most subjects first.

    Returns:
        The words by descending number of subjects, ties in alphabetical order.

    >>> words = pl.DataFrame({"row_id": [0, 1, 1], "word": ["aspirin", "aspirin", "senna"]})
    >>> fit_vocabulary(words, pl.DataFrame({"row_id": [0, 1], "subject_id": [7, 8]}), min_subjects=2, max_words=9)
    ['aspirin']
    """
    subjects = words.join(train, on="row_id").group_by("word").agg(pl.col("subject_id").n_unique())
    frequent = subjects.filter(pl.col("subject_id") >= min_subjects)
    ordered = frequent.sort("subject_id", "word", descending=[True, False]).head(max_words)
    return ordered["word"].to_list()


def write(words: pl.DataFrame, vocabulary: list[str], out: FloatArray) -> BoolArray:
    """Write 1 where a row has a word of the vocabulary and 0 elsewhere; the last column counts distinct words.

    Args:
        words: `row_id`, `word`, unique pairs.
        vocabulary: words of the columns.
        out: (N, len(vocabulary) + 1) float32, overwritten.

    Returns:
        (N,) bool, True = the row has a word, in the vocabulary or not.

    >>> import numpy as np
    >>> out = np.zeros((3, 2), np.float32)
    >>> words = pl.DataFrame({"row_id": [0, 0, 2], "word": ["aspirin", "senna", "senna"]})
    >>> write(words, ["aspirin"], out).tolist(), out.tolist()
    ([True, False, True], [[1.0, 2.0], [0.0, 0.0], [0.0, 1.0]])
    """
    out[:] = 0.0
    columns = pl.DataFrame({"word": vocabulary, "column": range(len(vocabulary))}, schema_overrides={"word": pl.String})
    known = words.join(columns, on="word")
    out[known["row_id"].to_numpy(), known["column"].to_numpy()] = 1.0
    counts = words.group_by("row_id").agg(pl.len())
    out[counts["row_id"].to_numpy(), -1] = counts["len"].to_numpy()
    present: BoolArray = out[:, -1] > 0
    return present


def block(context: BuildContext, words: pl.LazyFrame, prefix: str) -> ColumnBlock:
    """Prepare indicators for the words of each row; the vocabulary is provided or fitted on train rows.

    Args:
        context: rows, train rows and fitted vocabularies.
        words: `row_id`, `word`, with repeats; null words are dropped.
        prefix: prefix of the columns, `<prefix>/<word>`, and name of the vocabulary.

    Returns:
        One column per word of the vocabulary, and `<prefix>/distinct`.
    """
    pairs = words.filter(pl.col("word").is_not_null()).unique().collect(engine="streaming").sort("row_id", "word")
    vocabulary = context.vocabularies.get(prefix)
    if vocabulary is None:
        limits = {"min_subjects": context.min_vocabulary_subjects, "max_words": context.max_vocabulary}
        vocabulary = fit_vocabulary(pairs, context.train, **limits)
    chosen = list(vocabulary)
    return ColumnBlock(
        [*(f"{prefix}/{word}" for word in chosen), f"{prefix}/distinct"], lambda out: write(pairs, chosen, out)
    )
