"""The bins of a histogram stand in the order of their edges."""

from mtjax.objectives.sequences import CONFIDENCE_EDGES
from mtjax.reporting.histogram import bins_in_order


def test_bins_stand_in_order_and_other_names_where_they_were():
    edges = zip(CONFIDENCE_EDGES[:-1], CONFIDENCE_EDGES[1:], strict=True)
    names = [f"confidence/{low:g}_to_{high:g}" for low, high in edges]
    assert names[0] == "confidence/-inf_to_-100"
    coverage = [f"coverage/{name}" for name in names]
    metrics = {name: float(n) for n, name in enumerate(sorted([*names, *coverage, "loss", "a_to_b"]))}
    ordered = bins_in_order(metrics)
    assert ordered == metrics
    assert list(ordered) == ["a_to_b", *names, *coverage, "loss"]
