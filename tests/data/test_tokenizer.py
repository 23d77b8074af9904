"""Tokenizers: texts come back, offsets cover them, a joint string keeps its border, chats have findable spans."""

import functools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtjax.data import tokenizer as tk
from mtjax.data.chat_spans import render_chat_spans
from mtjax.data.problem import Message
from mtjax.errors import InputError

CHAT = (Message("system", "be brief"), Message("user", "hi?"), Message("assistant", " yes "), Message("user", "b"))
TEXTS = st.text(max_size=30)


@functools.cache
def load(name):
    return tk.load_tokenizer(name)


def bpe():
    """A byte-level BPE whose merges cross the border of "=" and " 1", with trimmed offsets as GPT-2 has them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {char: byte for byte, char in enumerate(tk.byte_alphabet())} | {"Ġ1": 256, "=Ġ1": 257}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[("Ġ", "1"), ("=", "Ġ1")]))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(False, False, False), decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    tokenizer.add_special_tokens(["<|end|>"])
    return tk._from_transformers("bpe", PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>"))


BPE = bpe()


def check_offsets(tokenizer, text):
    ids, offsets = tokenizer.encode(text)
    assert len(ids) == len(offsets)
    reached = 0
    for start, end in offsets:
        assert start <= reached <= end, (text, offsets)  # no gap, in order
        reached = end
    assert reached == len(text)
    assert tokenizer.decode(ids) == text


@given(TEXTS)
def test_bytes_are_the_utf8_of_the_text(text):
    tokenizer = load("bytes")
    assert tokenizer.encode(text).ids == list(text.encode())
    check_offsets(tokenizer, text)


@given(TEXTS, TEXTS)
def test_offsets_cover_prompt_and_answer_even_where_a_token_crosses_the_border(prompt, answer):
    for tokenizer in (load("bytes"), BPE):
        check_offsets(tokenizer, prompt + "=" + " 1" + answer)


def test_by_hand():
    # "é" is two bytes of one character; the special token is one id over seven characters
    assert load("bytes").encode("é<|end|>") == ([0xC3, 0xA9, 258], [(0, 1), (0, 1), (1, 8)])
    # "=" and " 1" merge in the joint string: one token over both sides, whose offsets say so
    assert BPE.encode("2= 1") == ([ord("2"), 257], [(0, 1), (1, 4)])
    # trimmed offsets would start at the 1; the space belongs to its token all the same
    assert BPE.encode("2 1").offsets == [(0, 1), (1, 3)]
    text = "12 + 7 =\nStep 1: 12 + 7 = 19\nAnswer: 19"
    tokens = [text[start:end] for start, end in load("arithmetic").encode(text).offsets]
    expected = [*"12", " + ", "7", " =", "\n", "Step 1: ", *"12", " + ", "7", " = ", *"19", "\nAnswer: ", *"19"]
    assert tokens == expected
    assert len(load("arithmetic").encode("[CORRECT RATIONALE]").ids) == 1
    assert len(load("arithmetic").encode("[INCORRECT RATIONALE]").ids) == 1


@given(st.lists(st.sampled_from(tk.ARITHMETIC_SYMBOLS), max_size=20).map("".join))
def test_arithmetic_round_trips_whatever_its_symbols_spell(text):
    check_offsets(load("arithmetic"), text)


def test_special_ids():
    by_name = {name: load(name) for name in ("bytes", "arithmetic")}
    assert by_name["bytes"][:5] == ("bytes", 259, 256, 257, 258)
    assert by_name["arithmetic"].bos_id is None
    assert BPE.pad_id == BPE.end_id  # no pad of its own
    for tokenizer in by_name.values():
        assert tokenizer.vocab_size > max(tokenizer.end_id, tokenizer.pad_id)
        assert tokenizer.encode(tokenizer.decode([tokenizer.end_id])).ids == [tokenizer.end_id]


@pytest.mark.parametrize("name", ["bytes", "arithmetic"])
def test_saved_and_loaded_is_the_same(name, tmp_path):
    tokenizer = load(name)
    tokenizer.save(tmp_path / "out")
    again = tk.load_tokenizer(str(tmp_path / "out"))
    assert again.fingerprint == tokenizer.fingerprint
    assert again[1:5] == tokenizer[1:5]
    assert again.chat_template == tokenizer.chat_template
    assert again.encode("12 + 7 =") == tokenizer.encode("12 + 7 =")
    assert load("bytes").fingerprint != load("arithmetic").fingerprint


def test_chat_spans_of_the_bytes_template_by_hand():
    text, spans = render_chat_spans(load("bytes"), (*CHAT, Message("assistant", "c")))
    assert text == "system: be brief\nuser: hi?\nassistant:  yes <|end|>\nuser: b\nassistant: c<|end|>\n"
    assert [text[start:end] for start, end in spans] == [" yes <|end|>", "c<|end|>"]
    assert load("bytes").render_chat(CHAT[:2], True).endswith("\nassistant: ")


def with_template(template):
    from transformers import PreTrainedTokenizerFast

    backend = tk.bytes_tokenizer()
    fast = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>", chat_template=template)
    return tk._from_transformers("templated", fast)


def test_chat_templates_that_cannot_be_masked_are_refused():
    # says how many turns follow: an earlier turn changes when a later one is added
    shifting = with_template("{% for m in messages %}{{ m.content }}{{ loop.length }}{% endfor %}")
    with pytest.raises(InputError, match="turn 2 differently"):
        render_chat_spans(shifting, CHAT)
    strict = with_template("{{ raise_exception('roles must alternate') }}")
    with pytest.raises(InputError, match=r"system, user, assistant, user: roles must alternate"):
        strict.render_chat(CHAT, False)
    with pytest.raises(InputError, match="no chat template"):
        load("arithmetic").render_chat(CHAT, True)
    # a template without end token: the span is the turn without the template's line break
    plain = with_template("{% for m in messages %}{{ m.role }}>{{ m.content }}\n{% endfor %}")
    text, spans = render_chat_spans(plain, CHAT)
    assert [text[a:b] for a, b in spans] == ["assistant> yes "]


def test_unknown_names_and_characters_are_refused(tmp_path):
    with pytest.raises(InputError, match="did you mean 'bytes'"):
        tk.load_tokenizer("byte")
    with pytest.raises(InputError, match="tokenizer.json"):
        tk.load_tokenizer(str(tmp_path))
    with pytest.raises(InputError, match="check the id and the network"):
        tk.load_tokenizer("owner/name")
    with pytest.raises(InputError, match="'×' at character 2"):
        load("arithmetic").encode("1 × 2")


def test_smollm2_joins_and_renders():
    tokenizer = load("smollm2")
    text, spans = render_chat_spans(tokenizer, (*CHAT, Message("assistant", "42")))
    assert [text[a:b] for a, b in spans] == [" yes <|im_end|>", "42<|im_end|>"]
    assert tokenizer.encode("<|im_end|>").ids == [tokenizer.end_id]
    for prompt, answer in [("1 + 1 =", " 2"), ("a", "b c\n\n"), ("x ", " y"), ("né", "é 😀 120")]:
        check_offsets(tokenizer, prompt + answer)


CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def chatml(template):
    """Bytes with the tokens of ChatML and another EOS, as base models with a chat template have them."""
    from transformers import PreTrainedTokenizerFast

    made = tk.bytes_tokenizer()
    made.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])  # 259, 260, 261
    fast = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|endoftext|>", chat_template=template)
    return tk._from_transformers("chatml", fast)


@pytest.mark.parametrize(
    ("template", "ends"),
    [
        (CHATML, (261, 259)),
        (CHATML.replace("<|im_end|>", "{{ eos_token }}"), (259,)),
        (CHATML.replace("<|im_end|>", " \n<|im_end|>"), (261, 259)),
        (CHATML.replace("<|im_end|>", "[END]"), (259,)),  # no token of the vocabulary
        (None, (259,)),
        ("{{ raise_exception('never') }}", (259,)),
    ],
)
def test_the_token_that_closes_a_turn_is_the_end(template, ends):
    tokenizer = chatml(template)
    assert tokenizer.end_id == ends[0]
    assert tokenizer.end_ids == ends


def test_the_closing_token_is_trained_once_and_no_other_end_after_it():
    from mtjax.data.examples import make_example
    from mtjax.data.problem import Problem
    from mtjax.data.tasks.chat import ChatTask

    tokenizer = chatml(CHATML)
    messages = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"), Message("assistant", "d"))
    (rendered,) = ChatTask().render(Problem("p", "", messages=messages), tokenizer)
    example = make_example(rendered, "p", tokenizer)
    assert example.tokens[example.weights > 0].tolist() == [ord("b"), 261, ord("d"), 261]
    assert example.tokens[-1] == 261


def test_saved_files_are_those_that_transformers_4_57_and_5_both_read(tmp_path):
    """Tried with 4.57.6 and 5.23.0: the class that 5 writes and its list of extra tokens do not load in 4.57."""
    from transformers import PreTrainedTokenizerFast

    made = tk.bytes_tokenizer()
    made.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    extra = {"eos_token": "<|endoftext|>", "additional_special_tokens": ["<|im_start|>", "<|im_end|>"]}
    fast = PreTrainedTokenizerFast(tokenizer_object=made, chat_template=CHATML, **extra)
    tokenizer = tk._from_transformers("chatml", fast)
    tokenizer.save(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert config["eos_token"] == "<|im_end|>"
    assert config["additional_special_tokens"] == ["<|im_start|>", "<|im_end|>"]
    assert not {"extra_special_tokens", "backend", "is_local"} & config.keys()
    again = tk.load_tokenizer(str(tmp_path))
    assert (again.end_id, again.chat_template) == (261, CHATML)
    assert again.encode("<|im_start|>a<|im_end|>").ids == [260, 97, 261]


def test_of_two_chat_templates_it_is_said_which_is_used_and_a_git_lfs_pointer_is_refused(tmp_path, capsys):
    chatml(CHATML).save(tmp_path)
    file = tmp_path / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"chat_template": "other"}))
    assert tk.load_tokenizer(str(tmp_path)).chat_template == CHATML
    assert "is the chat template, not the other one in tokenizer_config.json" in capsys.readouterr().err
    (tmp_path / "tokenizer.json").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n")
    with pytest.raises(InputError, match="tokenizer.json is a Git LFS pointer: run `git lfs pull`"):
        tk.load_tokenizer(str(tmp_path))
