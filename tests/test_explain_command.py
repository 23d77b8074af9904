"""A batch as a reader sees it: texts, marks and numbers, in the terminal and as a page, and the command around them."""

import html.parser
import json
import re
import unicodedata

import numpy as np
import pytest
from rich.cells import cell_len

from mtjax import explain, train
from mtjax.config import CheckpointConfig
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import ExitCode, InputError
from mtjax.inspection.explanation import ExampleView, Explanation, TextView, TokenView, common_prefix, differences
from mtjax.inspection.html import to_page
from mtjax.inspection.terminal import to_text
from mtjax.inspection.token_texts import token_texts, visible

BYTES = load_tokenizer("bytes")


def token(text, weight=1.0, loss=0.0, differs=False, target=None, reference=None):
    target = weight != 0 if target is None else target
    return TokenView(7, text, float(weight), target, -float(loss), 0.5, reference, differs)


def text_of(*tokens, label=""):
    first = next((place for place, one in enumerate(tokens) if one.differs), None)
    return TextView(label, tokens, first)


def shown(*texts, name="p/full/0", notes=()):
    return Explanation("A batch", (("model", "none"),), {"loss": 0.25}, (ExampleView(name, 1, 2, notes, texts),), 0)


def block_of(found, **options):
    """The lines behind an example's sums."""
    lines = to_text(found, **options).splitlines()
    start = max(number for number, line in enumerate(lines) if "targets" in line or "entropy" in line)
    return lines[start + 1 :]


# --- nothing is hidden


def test_white_space_and_odd_characters_are_visible():
    assert visible("a b\tc\n") == "a·b→c↵\n"
    assert visible("\u200b\u00a0\r\u202e\x07\ue000") == "⟨U+200B⟩⍽␍⟨U+202E⟩⟨U+0007⟩⟨U+E000⟩"
    assert visible("\u0301e\u0301") == "◌\u0301e\u0301"  # an accent without its letter, and one with
    assert visible(None) == "…"
    assert [cell_len(text) for text in ("ab", "漢字", "e\u0301", "", "👩")] == [2, 4, 1, 0, 2]
    for code in range(0x3000):
        kind = unicodedata.category(chr(code))
        if kind[0] in "CZ":
            assert cell_len(visible(chr(code))) > 0, hex(code)


def test_characters_of_several_tokens_stand_at_their_last_one():
    ids = BYTES.encode("aé漢").ids
    assert token_texts(BYTES.decode, ids) == ["a", None, "é", None, None, "漢"]
    # A torn character, and the front of one at the end, never become one.
    torn = [*BYTES.encode("漢").ids[:2], *BYTES.encode("b").ids, *BYTES.encode("é").ids[:1]]
    texts = token_texts(BYTES.decode, torn)
    assert len(texts) == 4
    assert texts[2] == "b"
    assert "\ufffd" in texts[0]
    assert "\ufffd" in texts[3]


def test_a_space_that_a_decoder_drops_in_front_is_kept_in_the_middle():
    words = ["▁so", "▁what", "ever"]  # as Llama 2's decoder joins: the first space goes
    decode = lambda ids: "".join(words[i] for i in ids).replace("▁", " ").removeprefix(" ")
    assert token_texts(decode, [0, 1, 2]) == ["so", " what", "ever"]


def test_differences_by_hand():
    flags = differences([1, 2, 3, 4, 9], [1, 5, 5, 3, 4, 8, 9])
    assert [np.flatnonzero(side).tolist() for side in flags] == [[1], [1, 2, 5]]
    assert not any(side.any() for side in differences([1, 2], [1, 2]))
    # Both texts part at one place, also where one of them has lost a token there: 16 + 5 = 21 and 1 + 5 = 6.
    assert common_prefix([1, 6, 0, 5], [1, 0, 5]) == common_prefix([1, 0, 5], [1, 6, 0, 5]) == 1
    assert common_prefix([1, 2], [1, 2, 3]) == 2


# --- numbers


def test_sums_of_a_text_by_hand():
    text = text_of(
        token("first", weight=1.0, loss=9.0, target=False),  # its weight reaches no loss
        token("context", weight=0.0, loss=5.0),
        token("a", weight=1.0, loss=2.0, reference=-1.0),
        token("b", weight=-0.5, loss=4.0, reference=-4.0),
    )
    # 1 * 2 - 0.5 * 4 = 0 nats over |1| + |-0.5| = 1.5; under the reference 1 * 1 - 0.5 * 4 = -1; log-ratio -1 - 0.
    expected = {"tokens": 4, "targets": 2, "weight": 0.5, "nats": 0.0, "nats_per_target": 0.0, "entropy": 0.5}
    assert text.sums() == expected | {"reference_nats": -1.0, "log_ratio": -1.0}
    assert text_of(token("x", weight=0.0)).sums()["nats_per_target"] is None


def test_marks_say_what_a_token_does():
    marks = [token("x", loss=loss).mark for loss in (0.0, 0.99, 3.2, 9.5, 44.0, float("inf"), float("nan"))]
    assert marks == ["0", "0", "3", "9", "9", "?", "?"]
    assert token("x", weight=0.0, loss=3).mark == "."
    assert token("x", weight=1.0, target=False).mark == "-"


# --- the terminal


def test_tokens_stand_over_their_marks():
    text = text_of(
        token("Q 1\n", weight=0),
        token("漢", loss=1.2),
        token(" is", loss=0.1),
        token("42", loss=6.0, differs=True),
        token(" x", loss=1.0, weight=0.5),
        token("!", loss=2.0, differs=True),
        token("\nend", loss=3.5),
    )
    assert block_of(shown(text)) == [
        "  Q·1↵",
        "  .",
        "  漢·is42·x!↵",
        "  1 0  6 1 23",
        "         a",
        "       !^  ^",
        "  end",
        "  a weight 0.5",
    ]


def test_lines_keep_to_the_width_and_colours_change_nothing_else():
    words = [token(word, loss=n % 7, weight=n % 3, differs=n % 5 == 0) for n, word in enumerate("ab 漢字 \n x" * 30)]
    found = shown(text_of(*words, label="chosen"), text_of(*words[5:], label="rejected"))
    for width in (40, 99, 100, 160):
        plain = to_text(found, width=width)
        block = plain[plain.index("first difference: ") :].splitlines()[1:]
        assert max(map(cell_len, block)) <= width
        assert any(" | " in line for line in block) == (width >= 100)
        coloured = to_text(found, width=width, colour=True)
        assert "\x1b[" in coloured
        assert "\x1b[" not in plain
        strip = lambda text: [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()]
        assert strip(coloured) == strip(plain)


def test_the_table_has_every_token():
    table = text_of(token("a\n", loss=2.0, reference=-1.5), token(None, differs=True), label="chosen").table()
    assert [tuple(row) for row in table.rows] == [
        ("0", "7", "a↵", "1", 2.0, 0.5, 1.5, ""),
        ("1", "7", "…", "1", 0.0, 0.5, 0.0, "!"),
    ]
    assert "chosen: loss" in to_text(shown(text_of(token("a"), label="chosen")), tokens=True)


# --- the page


class Outline(html.parser.HTMLParser):
    """Refuses unbalanced tags and anything fetched; gathers elements and text."""

    def __init__(self, page):
        super().__init__()
        self.open, self.elements, self.text = [], [], ""
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        assert not {"src", "href", "onclick"} & dict(attributes).keys()
        assert tag not in ("script", "link", "iframe", "img")
        if tag not in ("meta", "wbr"):  # the others have an end
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data
        else:
            assert "url(" not in data
            assert "@import" not in data

    def spans(self):
        return [attributes for tag, attributes in self.elements if tag == "span" and "title" in attributes]


def test_the_page_is_whole_holds_every_token_and_escapes_texts():
    chosen = text_of(token("<b>&\n", weight=0), token("1", loss=3.0, differs=True, weight=0.5), label="chosen")
    rejected = text_of(token("<b>&\n", weight=0), token('2"', loss=12.0, differs=True), label="rejected")
    page = Outline(to_page(shown(chosen, rejected, name='p<"1">/full/0', notes=("error type <carry>",))))
    spans = page.spans()
    assert [span.get("class", "") for span in spans] == ["c", "d f w", "c", "d f"]
    assert [span.get("style") for span in spans] == [None, "--h:0.50", None, "--h:1.00"]
    assert spans[1]["data-w"] == "0.5"
    assert spans[1]["title"] == "token 7, weight 0.5, loss 3.000 nats, p 0.0498, entropy 0.500"
    assert 'p<"1">/full/0' in page.text
    assert "error type <carry>" in page.text
    assert "<b>&↵\n" in page.text
    assert 'First difference: 1 at token 1 against 2" at token 1.' in page.text
    assert "0.25" in page.text
    assert sum(tag == "tr" for tag, _ in page.elements) == 2 * (1 + 2)


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "{{ 7 * 7 }} {% x %}", "**a** `b` [c](d)", "&lt;i&gt;"])
def test_texts_of_a_model_are_not_interpreted(text):
    found = shown(text_of(token(text), label="chosen"), text_of(token("x", differs=True)), name=text, notes=(text,))
    page = Outline(to_page(found._replace(title=text, facts=(("model", text),))))
    assert page.text.count(text) >= 4  # title, fact, name and note
    assert page.text.count(visible(text)) >= 2  # among the texts and in the table
    assert text in to_text(found)


def test_numbers_that_are_none_do_not_break_the_page():
    odd = text_of(token("a", loss=float("inf")), token("b", loss=float("nan")), token("\ufffd", loss=0.1))
    spans = Outline(to_page(shown(odd))).spans()
    assert [span["style"] for span in spans] == ["--h:1.00", "--h:1.00", "--h:0.02"]


# --- the command

CONFIG = """
from mtjax.config import Config
from mtjax.data.batches import DataConfig
from mtjax.data.tasks.pair import PairTask
from mtjax.data.problem import Pair, Problem
from mtjax.data.sources import InMemory
from mtjax.model.decoder import DecoderConfig
from mtjax.objectives.dpo import Dpo

pairs = tuple(
    Problem(f"a/{n}", f"Is {n} 漢?", pairs=(Pair("So ", f"{n} is", f"{n} is not", "step", "misread"),))
    for n in range(8)
)
config = Config(
    model=DecoderConfig(width=16, layers=1, heads=2, kv_heads=2, head_dim=8, mlp_width=24, init_scale=0.3),
    data=DataConfig(source=InMemory(pairs), task=PairTask(), tokenizer="bytes", sequence_length=64, max_segments=1),
    objective=Dpo(), steps=1, batch_size=8, tensorboard=False,
)
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "pairs.py"
    path.write_text(CONFIG)
    return path


def test_a_batch_of_pairs_in_the_terminal_and_as_a_page(file, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    run, page = tmp_path / "run", tmp_path / "page.html"
    words = [str(file), f"--run_dir={run}", f"--html={page}", "--examples", "3", "--objective.beta=0.2"]
    assert explain.main(words) == 0
    said = capsys.readouterr().out
    assert not run.exists()  # looked at, not touched
    assert "\x1b[" not in said
    assert "metrics    loss 0.69315  counted 8" in said
    assert re.search(r"row 1, segment 1: a/\d/step/0, step pair, error type misread", said)
    assert re.search(r"chosen    4 of \d\d tokens are targets", said)
    assert re.search("first difference: nothing against '·' at token", said)  # the chosen one ends there
    assert re.search(r"So·\d·is +\| So·\d·is·not", said) or re.search(r"\d·is +\| +\d·is·not", said)
    assert "... and 5 more; --examples=0 shows all" in said
    outline = Outline(page.read_text())
    assert sum(tag == "article" for tag, _ in outline.elements) == 3
    assert len([span for span in outline.spans() if "c" not in span.get("class", "")]) == 3 * (4 + 8)


def test_what_it_shows_is_what_the_run_trains_on(tmp_path, capsys):
    run = tmp_path / "run"
    words = [f"--run_dir={run}", "--batch_size=8", "--data.source.count=60", "--no_tensorboard", "held_out:none"]
    assert train.main(["configs/tiny.py", *words, "--steps=2", "--checkpoint.every=1"]) == 0
    capsys.readouterr()
    logged = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for step, model in ((1, "the run's start"), (2, "the checkpoint of step 1")):
        config = explain.settings.read_file(run / "config.py")
        found = explain.explain(config, explain.ExplainConfig(step=step, examples=0))
        assert dict(found.facts)["model"] == model
        for name in ("loss", "nll_wrong", "entropy"):
            assert found.numbers[name] == pytest.approx(logged[step - 1][name], rel=1e-5)
        assert found.left_out == 0
        # The losses of the tokens add up to the run's: mistake tuning weighs all targets alike here.
        sums = [text.sums() for example in found.examples for text in example.texts]
        nats, weight = (sum(float(one[name]) for one in sums) for name in ("nats", "weight"))
        assert nats / weight == pytest.approx(logged[step - 1]["loss"], rel=1e-4)
    # Wrong answers are set against the right ones to the same problem.
    wrong = [text for example in found.examples for text in example.texts if text.label == "wrong"]
    assert wrong
    assert all(text.first_difference is not None for text in wrong)
    prompt = [token.text for token in wrong[0].tokens[: wrong[0].first_difference]]
    assert "[INCORRECT RATIONALE]" in prompt  # the prefix differs too, and is no error
    assert explain.main([str(run), "--checkpoint=newest", "--examples=1"]) == 0
    assert "the checkpoint of step 2" in capsys.readouterr().out


def test_which_checkpoint_is_taken(tmp_path):
    for step in (10, 20, 5):
        (tmp_path / "checkpoints" / str(step)).mkdir(parents=True)
    (tmp_path / "checkpoints" / "30.writing").mkdir()
    taken = lambda **wanted: explain.which_checkpoint(tmp_path, explain.ExplainConfig(**wanted))
    assert [taken(step=step) for step in (1, 5, 6, 10, 11, 99)] == [None, None, 5, 5, 10, 20]
    assert [taken(checkpoint=name) for name in ("start", "newest", "10")] == [None, 20, 10]
    with pytest.raises(InputError, match=r"checkpoint='7'.*steps \[5, 10, 20\]"):
        taken(checkpoint="7")
    (tmp_path / "best" / "3").mkdir(parents=True)
    every = lambda number, **wanted: explain.which_checkpoint(
        tmp_path, explain.ExplainConfig(**wanted), CheckpointConfig(every=number)
    )
    assert [every(1, step=step) for step in (1, 4, 5, 7)] == [None, 3, 3, 5]
    with pytest.raises(InputError, match=r"before step 3 \(kept: \[3, 5, 10, 20\]\): --checkpoint=3 takes the nearest"):
        every(1, step=3)
    assert every(5, step=3) is None  # nothing was saved before
    with pytest.raises(InputError, match="'newest'"):
        explain.which_checkpoint(tmp_path / "none", explain.ExplainConfig(checkpoint="newest"))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--step=x"], "--step: 'x' is not a whole number"),
        (["--step=0"], "step=0"),
        (["--html"], "--html needs a value"),
        (["--tokens=maybe"], "--tokens=maybe: a switch takes True or False"),
        (["--objective.bata=1"], "--objective.beta"),
        (["--batch_size=12"], "batch_size=12 must be a multiple of the 8 devices"),
    ],
)
def test_bad_words_are_refused(file, capsys, words, expected):
    assert explain.main([str(file), *words]) == ExitCode.BAD_INPUT
    assert expected in capsys.readouterr().err


def test_a_page_without_its_folder_is_refused_before_the_work(file, capsys, monkeypatch):
    monkeypatch.setattr(explain, "explain", lambda *_: pytest.fail("it went to work"))
    assert explain.main([str(file), "--html=no/such/folder/page.html"]) == ExitCode.BAD_INPUT
    assert "is not a folder; make it first" in capsys.readouterr().err


def test_help_lists_the_options(capsys):
    assert explain.main(["--help"]) == 0
    said = capsys.readouterr().out
    options = ("--step", "--checkpoint", "--html", "--examples", "--tokens")
    assert all(option in said for option in options)
    assert "overrides" in said
