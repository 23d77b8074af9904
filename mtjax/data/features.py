"""Features of texts that need no model: hashed n-grams of words."""

from collections.abc import Sequence
from typing import Any

import numpy as np

COLUMNS = 4096  # Columns of `hashed`.


def hashed(texts: Sequence[str]) -> Any:
    """Counts of words, signs and pairs of them, hashed to 4,096 columns and scaled to length 1: a sparse `[N, 4096]`.

    It depends on each text alone, so parts of the data may be embedded one after the other. Numbers are words.
    """
    from sklearn.feature_extraction.text import HashingVectorizer

    made = HashingVectorizer(
        n_features=COLUMNS, ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]", alternate_sign=False, dtype=np.float32
    )
    return made.transform(texts)


def nearest_cosine(rows: Any, others: Any) -> tuple[np.ndarray, np.ndarray]:
    """For each row the largest cosine with one of the other rows, and the number of that one; both `[N]`.

    Rows of length 0 are like nothing: their cosine is 0. Dense arrays and sparse matrices of SciPy are taken.
    """
    from sklearn.preprocessing import normalize

    product = normalize(rows) @ normalize(others).T
    product = np.asarray(product.todense() if hasattr(product, "todense") else product)
    return product.max(axis=1), product.argmax(axis=1)
