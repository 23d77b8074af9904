"""Was a text in a model's training data? Min-K% Prob and its baselines, from log-probabilities of tokens."""

import math
import zlib

import numpy as np
from jaxtyping import Float


def min_k(logprobs: Float[np.ndarray, " n"], percent: float = 20.0) -> float:
    """Min-K% Prob: the mean of the lowest `percent` of the log-probabilities (nats) of a text's tokens.

    Higher means more likely seen: an unseen text has some tokens that the model did not expect. Of a short text at
    least one token counts (the authors' code gives NaN); NaN for no tokens. 100 gives the mean log-probability.

    >>> min_k(np.array([-0.1, -5, -2, -0.3, -7, -1, -0.2, -0.4, -3, -0.05]))
    -6.0

    Source: Shi et al., "Detecting Pretraining Data from Large Language Models", 2024 (arXiv 2310.16789).
    """
    if not len(logprobs):
        return math.nan
    count = max(math.floor(len(logprobs) * percent / 100 + 1e-9), 1)
    return float(np.mean(np.sort(np.asarray(logprobs, np.float64))[:count]))


def per_zlib(logprobs: Float[np.ndarray, " n"], text: str) -> float:
    """Mean log-probability per byte that zlib needs for the text; higher means more likely seen."""
    return float(np.mean(logprobs)) / len(zlib.compress(text.encode())) if len(logprobs) else math.nan


def lowercase_ratio(logprobs: Float[np.ndarray, " n"], lowered: Float[np.ndarray, " m"]) -> float:
    """`-log perplexity(lower case) / log perplexity`, negated so that higher means more likely seen.

    Formula: `mean(lowered) / mean(logprobs)`: a memorised text is much more likely as it was written.
    """
    return float(np.mean(lowered) / np.mean(logprobs)) if len(logprobs) and len(lowered) else math.nan


def rates(
    seen: Float[np.ndarray, " n"], unseen: Float[np.ndarray, " m"], false_rate: float = 0.05
) -> tuple[float, float]:
    """The area under the ROC curve of scores that should be higher for `seen`, and the true rate at a false rate.

    Scores that are NaN are left out; without one on either side both are NaN. Areas near 0.5 mean that the scores tell
    nothing.
    """
    from sklearn.metrics import roc_auc_score, roc_curve

    seen, unseen = (np.asarray(x, np.float64)[np.isfinite(x)] for x in (seen, unseen))
    if not (len(seen) and len(unseen)):
        return math.nan, math.nan
    truth, scores = np.repeat([1, 0], [len(seen), len(unseen)]), np.concatenate([seen, unseen])
    false, true, _ = roc_curve(truth, scores, drop_intermediate=False)
    return float(roc_auc_score(truth, scores)), float(true[false <= false_rate].max())
