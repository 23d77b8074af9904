"""Paper 28, DeAL: without weight it is greedy, and with it a keyword is reached that greedy decoding never writes."""

from tests.sampling import test_deal as own


def test_the_planted_keyword_is_reached():
    (greedy,), _ = own.search(0.0, 1, longest=3)
    assert greedy.tokens == (1, 1, 1)
    assert own.KEY not in greedy.tokens
    (found,), asked = own.search(5.0, 1)
    assert found.ended
    assert own.KEY in found.tokens
    assert set(asked) == {3}
