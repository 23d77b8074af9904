"""Examples by hand: weights by offsets, begin and end tokens, boundaries, truncation."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtjax.data.examples import Example, check_boundary, encode_prompt, make_example, shorten, token_weights
from mtjax.data.problem import Problem
from mtjax.data.tasks import CompletionTask
from mtjax.data.tasks.base import Rendered, Span
from mtjax.data.tokenizer import Encoding, load_tokenizer
from mtjax.errors import InputError

BYTES = load_tokenizer("bytes")._replace(bos_id=None)
BOS = 257  # of the bytes tokenizer


def rendered(text, *spans, prompt_end=0, ends=True, **extras):
    return Rendered("right/0", text, tuple(Span(*span) for span in spans), prompt_end, ends, extras)


def cut_by(pattern):
    """A tokenizer whose tokens are the matches of a pattern; ids are their lengths."""

    def encode(text):
        found = list(re.finditer(pattern, text))
        return Encoding([len(match.group()) for match in found], [match.span() for match in found])

    return BYTES._replace(encode=encode)


def test_a_token_has_the_weight_of_its_characters():
    # tokens: ab | cd | e; the target is d, so it holds the token cd, which straddles its edge
    offsets = np.array([[0, 2], [2, 4], [4, 5]])
    assert token_weights(rendered("abcde", (3, 4, 2.0)), offsets).tolist() == [0, 2, 0]
    assert token_weights(rendered("abcde", (1, 3, 0.5)), offsets).tolist() == [0.5, 0.5, 0]
    # of two targets in one token the last one counts; a negative weight is a weight
    assert token_weights(rendered("abcde", (2, 3, 1.0), (3, 4, -3.0)), offsets).tolist() == [0, -3, 0]
    # an empty token has no weight, also inside a target
    assert token_weights(rendered("ab", (0, 2, 1.0)), np.array([[0, 1], [1, 1], [1, 2]])).tolist() == [1, 0, 1]
    assert token_weights(rendered(""), np.array([[0, 0]])).tolist() == [0]


@given(st.text("abc", min_size=1, max_size=12), st.data())
def test_weights_agree_with_looking_at_every_character(text, data):
    edges = sorted(data.draw(st.sets(st.integers(0, len(text)))) | {0, len(text)})
    offsets = np.array(list(zip(edges, edges[1:], strict=False)))
    start, end = sorted(data.draw(st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))))
    weights = token_weights(rendered(text, (start, end, 1.0)), offsets)
    assert weights.tolist() == [float(any(start <= c < end for c in range(*token))) for token in offsets.tolist()]


def test_bytes_of_one_character_share_its_weight():
    example = make_example(rendered("é!é", (2, 3, 1.0), prompt_end=2), "p", BYTES)
    # two bytes, one byte, two bytes, end
    assert example.weights.tolist() == [0, 0, 0, 1, 1, 1]
    assert example.prompt_tokens == 3


def test_the_end_token_is_appended_and_trained():
    example = make_example(rendered("ab", (1, 2, 1.0), prompt_end=1), "p", BYTES)
    assert example.tokens.tolist() == [97, 98, BYTES.end_id]
    assert example.weights.tolist() == [0, 1, 1]
    assert example.id == "p/right/0"
    open_end = make_example(rendered("ab", (1, 2, 1.0), ends=False), "p", BYTES)
    assert open_end.tokens.tolist() == [97, 98]


def test_the_begin_token_comes_once():
    with_bos = BYTES._replace(bos_id=BOS)
    example = make_example(rendered("ab", (1, 2, 1.0), prompt_end=1), "p", with_bos)
    assert example.tokens.tolist() == [BOS, 97, 98, BYTES.end_id]
    assert example.weights.tolist() == [0, 0, 1, 1]
    assert example.prompt_tokens == 2
    has_one = make_example(rendered("<|bos|>ab", (8, 9, 1.0), prompt_end=8), "p", with_bos)
    assert has_one.tokens.tolist() == [BOS, 97, 98, BYTES.end_id]
    assert encode_prompt(with_bos, "a") == encode_prompt(with_bos, "<|bos|>a") == [BOS, 97]


def test_a_token_across_the_prompts_end_is_refused_or_trained():
    merging = cut_by(r"\n\w|.|\n")  # a line break merges with the letter behind it
    (text,) = CompletionTask().render(Problem("p", "q", right=("ab",)))
    with pytest.raises(InputError, match=r"example p: .*'\\na' lies across"):
        make_example(text, "p", merging, boundary="raise")
    # q | newline | a | b | end, although this stand-in decodes nothing
    assert make_example(text, "p", merging).weights.tolist() == [0, 0, 1, 1, 1]
    example = make_example(text, "p", merging, boundary="allow")
    # q | newline a | b | end
    assert example.weights.tolist() == [0, 1, 1, 1]
    assert example.prompt_tokens == 1


def test_a_tokenizer_that_looks_ahead_is_found_out():
    ahead = cut_by(r" \n$| |\n|\w")  # a space and a line break are one token at the end of a text only
    (text,) = CompletionTask(template="{question} \n").render(Problem("p", "q", right=("a",)))
    example = make_example(text, "p", ahead)
    with pytest.raises(InputError, match="ids differ when it stands alone"):
        check_boundary(text, example, ahead)
    check_boundary(text, make_example(text, "p", BYTES), BYTES)


LONG = Example("p", np.array([BOS, 1, 2, 3, 7, 8, 9], np.int32), np.array([0, 0, 0, 0, 1, 1, 1], np.float32), 4, {}, {})


def test_truncation():
    assert shorten([LONG], 7, "drop", BOS) == [LONG]
    assert shorten([LONG], 6, "drop", BOS) is None
    # the front of the prompt goes, the begin token stays
    (left,) = shorten([LONG], 5, "left", BOS)
    assert left.tokens.tolist() == [BOS, 3, 7, 8, 9]
    assert left.weights.tolist() == [0, 0, 1, 1, 1]
    assert left.prompt_tokens == 2
    assert shorten([LONG], 4, "left", BOS)[0].tokens.tolist() == [BOS, 7, 8, 9]
    assert shorten([LONG], 3, "left", BOS) is None
    # without a begin token one token of the prompt stays
    assert shorten([LONG], 4, "left", None)[0].tokens.tolist() == [3, 7, 8, 9]
    (kept,) = shorten([LONG], 5, "keep", BOS)
    assert kept.tokens.tolist() == [BOS, 1, 2, 3, 7]
    assert kept.target == 1
    assert shorten([LONG], 4, "keep", BOS)[0].target == 0


def test_a_text_that_the_tokenizer_cannot_spell_is_named():
    text = Rendered("right/0", "1 + 1 =\ntwo", (), 8, True, {})
    with pytest.raises(InputError, match="example a.jsonl:7: tokenizer 'arithmetic' does not know 'two'"):
        make_example(text, "a.jsonl:7", load_tokenizer("arithmetic"))


def test_the_first_token_is_no_target():
    assert LONG._replace(weights=np.array([5, 0, 0, 0, 0, 0, -2], np.float32)).target == 2
