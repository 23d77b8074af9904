"""Teachers: a server that is asked in words, and recorded answers."""

import json

import pytest

from mtjax.errors import InputError
from mtjax.sampling.teacher import Teacher
from mtjax.sampling.transport import ServerConfig
from tests.sampling.fake_server import FakeServer, error

FAST = ServerConfig(first_wait=0.01, retries=1)


def test_a_server_is_asked_as_a_chat_and_refuses_single_prompts():
    def trouble(server, path, body, number):
        if "chat" in path and "bad" in body["messages"][0]["content"]:
            raise error(400, "content policy")

    fake = FakeServer(trouble, say=lambda prompt, seed, i: f"[{prompt}]")
    with fake.running() as url:
        teacher = Teacher(url=url, server=FAST, temperature=0.0)
        assert dict(teacher.answers(["one", "bad", "two"], [0, 1, 2], 7)) == {0: "[user:one]", 1: "", 2: "[user:two]"}
        assert dict(teacher.answers(["one", "bad", "two"], [2], 7)) == {2: "[user:two]"}
    asked = [body for path, body in fake.requests if "chat" in path]
    assert all(body["temperature"] == 0 and body["max_tokens"] == 512 for body in asked)


def test_recorded_answers_are_found_by_their_prompt(tmp_path):
    file = tmp_path / "answers.jsonl"
    file.write_text("".join(json.dumps({"prompt": p, "text": f"{p}!", "number": 4}) + "\n" for p in ("one", "two")))
    teacher = Teacher(recorded=str(file))
    assert dict(teacher.answers(["two", "one", "three"], [0, 1], 0)) == {0: "two!", 1: "one!"}
    with pytest.raises(InputError, match="has no answer to the prompt 'three'"):
        list(teacher.answers(["two", "one", "three"], [2], 0))
    with pytest.raises(InputError, match="cannot be read"):
        list(Teacher(recorded=str(tmp_path / "none")).answers(["a"], [0], 0))
    file.write_text('{"prompt": 1}\n')
    with pytest.raises(InputError, match="answers.jsonl:1: .*expected an object with 'prompt' and 'text'"):
        list(teacher.answers(["a"], [0], 0))
    for both in ({}, {"url": "http://host", "recorded": "file"}):
        with pytest.raises(InputError, match="give one of them"):
            Teacher(**both)
