"""The client of OpenAI-compatible servers against one that misbehaves, in a thread of the test."""

import email.utils
import random
import time

import pytest

from mtjax.data.problem import Message, Problem
from mtjax.data.tasks import CompletionTask
from mtjax.errors import InputError
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.remote import chat_or_text
from mtjax.sampling.replies import Refused, read_choices, said_in, trials
from mtjax.sampling.sampler import Sample
from mtjax.sampling.server import FIRST_EQUAL, Server, split_url
from mtjax.sampling.transport import ServerConfig, back_off, retry_after
from tests.sampling.fake_server import FakeServer, Reply, error

QUICK = {"first_wait": 0.01, "longest_wait": 0.02, "timeout": 5.0, "retries": 3}
THREE = SamplingConfig(samples=3, max_new_tokens=9)


def server(url, **options):
    return Server(url, ServerConfig(**{**QUICK, **options}))


def first(*replies):
    """Trouble with the first requests, one reply each; None lets it pass."""

    def trouble(fake, path, body, number):
        if number < len(replies) and replies[number] is not None:
            raise replies[number]

    return trouble


def texts(drawn):
    return [one.text for one in drawn]


# What is asked and what is read.


def test_completions_and_chat_by_hand():
    fake = FakeServer()
    with fake.running() as url:
        asked = server(url)
        drawn = asked.draw("hi", THREE, seed=5)
        assert drawn == [Sample(f"hi#{i}", -2.5, 5, True) for i in range(3)]  # 5 tokens at -0.5 each
        chatting = server(url + "/chat/completions")
        sampling = SamplingConfig(samples=1, temperature=0.5, top_p=0.9, top_k=7, max_new_tokens=9, stop=("#",))
        drawn = chatting.draw([Message("system", "be brief"), Message("user", "hi")], sampling, seed=5)
    assert drawn == [Sample("system:be brief|user:hi", -0.5 * 26, 26, True)]  # cut in front of the stop text
    models, plain, _, chat = fake.requests
    assert models == ("/v1/models", None)
    limits = {"max_tokens": 9, "temperature": 1.0, "top_p": 1.0}
    assert plain == ("/v1/completions", {"model": "tiny", "prompt": "hi", "n": 3, "logprobs": 1, "seed": 5} | limits)
    assert chat[0] == "/v1/chat/completions"
    assert chat[1]["messages"] == [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
    assert {name: chat[1][name] for name in ("logprobs", "top_k", "top_p", "temperature", "stop")} == {
        "logprobs": True, "top_k": 7, "top_p": 0.9, "temperature": 0.5, "stop": ["#"],
    }  # fmt: skip


def test_tools_and_variables_of_the_template_are_passed_to_a_chat():
    tool = {"type": "function", "function": {"name": "sky"}}
    problem = Problem("p", "hi", tools=(tool,))
    task = CompletionTask(template="chat", system="be brief", chat_template_kwargs=("enable_thinking=false",))
    fake = FakeServer()
    with fake.running() as url:
        asked = server(url + "/chat/completions")
        asked.draw(chat_or_text("chat", task, problem, None), SamplingConfig(samples=1), seed=5)
        asked.draw(
            chat_or_text("chat", CompletionTask(template="chat"), Problem("q", "ho"), None),
            SamplingConfig(samples=1),
            seed=5,
        )
    _, first, second = fake.requests
    assert first[1]["messages"] == [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
    assert first[1]["tools"] == [tool]
    assert first[1]["chat_template_kwargs"] == {"enable_thinking": False}
    assert not {"tools", "chat_template_kwargs"} & second[1].keys()


def test_replies_in_all_their_forms():
    reply = {"choices": [{"text": "a", "finish_reason": "length", "index": 1}, {"text": "b", "finish_reason": "stop"}]}
    assert read_choices(reply) == [Sample("b"), Sample("a", finished=False)]
    one = lambda **choice: read_choices({"choices": [choice], "usage": {"completion_tokens": 4}})[0]
    assert one(text="a") == Sample("a", None, 4, False)
    assert one(message={"content": None}, finish_reason="stop") == Sample("", None, 4)
    assert one(text="a", logprobs={"token_logprobs": [-1.0, None]}) == Sample("a", None, 2, False)
    assert one(text="a", logprobs={"token_logprobs": []}) == Sample("a", None, 4, False)
    assert one(text="a", logprobs={"content": [{"logprob": -1}, {"logprob": -2.5}]}) == Sample("a", -3.5, 2, False)
    for bad in (None, [], {}, {"choices": []}, {"choices": [3]}, {"choices": [{}]}, {"choices": [{"text": 3}]}):
        with pytest.raises(ValueError, match="without"):
            read_choices(bad)


def test_what_an_error_says_is_one_line():
    assert said_in(b'{"error": {"message": "no\\n such model", "code": 3}}') == "no such model"
    assert said_in(b'{"detail": [{"loc": "n"}]}') == '[{"loc": "n"}]'
    assert said_in(b"<html><b>Bad</b> gateway</html>") == "Bad gateway"
    assert said_in(b"\xff") == "\N{REPLACEMENT CHARACTER}"
    assert said_in(b"") == ""


@pytest.mark.parametrize(
    ("url", "base", "api"),
    [
        ("http://h:80", "http://h:80/v1", None),
        ("http://h/", "http://h/v1", None),
        ("https://h/v1/", "https://h/v1", None),
        ("https://h/openai/v1/completions", "https://h/openai/v1", "completions"),
        ("https://h/v1/chat/completions/", "https://h/v1", "chat"),
    ],
)
def test_urls(url, base, api):
    assert split_url(url) == (base, api)


@pytest.mark.parametrize(
    "url", ["http://", "ftp://h", "http://h:no", "http://h/v1?key=1", "http://u:pw@h", "http://h:0x", "http://[::1/v1"]
)
def test_urls_that_are_none(url):
    with pytest.raises(InputError) as refused:
        split_url(url)
    assert "pw" not in str(refused.value)


# Trouble that passes.


@pytest.mark.parametrize(
    "trouble",
    [
        [error(429, "slow down", Retry_After="0.05")],
        [error(500, "oops"), error(503, "busy"), Reply(502, b"<html>bad gateway</html>")],
        [Reply(how="drop"), Reply(how="drop")],
        [Reply(200, {"choices": [{"text": "x" * 200}]}, how="half")],
        [Reply(200, b"not json"), Reply(200, {"choices": []}), Reply(200, [1])],
        [error(408, "too slow"), error(425, "too early")],
    ],
)
def test_trouble_that_passes_is_waited_out(trouble):
    fake = FakeServer(first(*trouble))
    with fake.running() as url:
        assert texts(server(url, model="tiny").draw("hi", THREE, 0)) == ["hi#0", "hi#1", "hi#2"]
    assert len(fake.requests) == len(trouble) + 1


@pytest.mark.parametrize("how", ["hang", "trickle"])
def test_a_server_that_hangs_is_given_up_and_asked_again(how):
    fake = FakeServer(first(Reply(200, b" " * 1000, how=how)))
    with fake.running() as url:
        start = time.monotonic()
        assert len(server(url, model="tiny", timeout=0.3).draw("hi", THREE, 0)) == 3
    assert 0.3 <= time.monotonic() - start < 5


def test_retry_after_is_honoured_by_all_requests():
    fake = FakeServer(first(error(429, "slow down", Retry_After="0.6")))
    with fake.running() as url:
        asked, start = server(url, model="tiny"), time.monotonic()
        asked.draw("a", THREE, 0)
        assert time.monotonic() - start >= 0.6
    fake = FakeServer(first(error(429, "come back", Retry_After="99999")))
    with fake.running() as url, pytest.raises(InputError, match="asks to wait 99999 s"):
        server(url, model="tiny").draw("a", THREE, 0)


def test_the_wait_doubles_with_jitter_up_to_a_limit():
    config = ServerConfig(first_wait=1.0, longest_wait=10.0)
    assert [back_off(n, config, 1.0) for n in range(6)] == [1, 2, 4, 8, 10, 10]
    assert back_off(2, config, 0.0) == 2.0  # half of 4 at least
    assert back_off(10_000, config, 0.5) == 7.5


def test_a_second_try_leaves_the_generator_of_the_process_alone(monkeypatch):
    drawn = []
    monkeypatch.setattr(random, "random", lambda: drawn.append(1) or 0.5)
    with FakeServer(first(error(503, "busy"))).running() as url:
        assert len(server(url, model="tiny").draw("a", THREE, 0)) == 3
    assert not drawn


def test_retry_after_as_a_number_or_a_date():
    assert retry_after("3") == 3.0
    assert retry_after("-3") == 0.0
    for none in (None, "soon", "nan", "inf", ""):
        assert retry_after(none) is None
    date = email.utils.formatdate(time.time() + 20, usegmt=True)
    assert 17 < retry_after(date) < 21
    assert retry_after(email.utils.formatdate(0, usegmt=True)) == 0.0


def test_trouble_that_stays_ends_with_what_to_do():
    fake = FakeServer(lambda *a: (_ for _ in ()).throw(error(500, "on fire")))
    with (
        fake.running() as url,
        pytest.raises(InputError, match="failed 4 times in a row.*on fire.*What is done is kept"),
    ):
        server(url, model="tiny").draw("a", THREE, 0)
    assert len(fake.requests) == 4
    with pytest.raises(InputError, match="failed 4 times in a row"):  # nobody listens there any more
        server(url, model="tiny").draw("a", THREE, 0)


# Servers that cannot do everything.


def refuse(name, message="unsupported parameter", status=400):
    def trouble(fake, path, body, number):
        if body and (body.get(name, 1) != 1 if name == "n" else name in body):
            raise error(status, message)

    return trouble


@pytest.mark.parametrize("message", ["unsupported parameter", "'n' must be 1"])
def test_a_server_that_refuses_n_is_asked_for_one_at_a_time(message):
    fake = FakeServer(refuse("n", message), say=lambda prompt, seed, i: str(seed))
    with fake.running() as url:
        asked = server(url, model="tiny")
        drawn = texts(asked.draw("hi", THREE, seed=1))
        assert len(set(drawn)) == 3  # three requests with three seeds
        before = len(fake.requests)
        assert texts(asked.draw("hi", THREE, seed=1)) == drawn  # and the same seed asks the same again
    assert before == 4  # one was refused
    assert len(fake.requests) == 7
    assert "n" not in fake.requests[-1][1]


@pytest.mark.parametrize(("most", "requests"), [(1, 3), (2, 2)])
def test_a_server_that_ignores_n_gives_as_many_in_more_requests(most, requests):
    fake = FakeServer(most=most)
    with fake.running() as url:
        asked = server(url, model="tiny")
        assert len(asked.draw("hi", THREE, 0)) == 3
        assert len(fake.requests) == requests
        assert len(asked.draw("hi", THREE, 0)) == 3
    assert [body["n"] for _, body in fake.requests][requests:] == ([1, 1, 1] if most == 1 else [2, 1])


def test_a_server_that_gives_more_than_asked_is_cut():
    fake = FakeServer()
    with fake.running() as url:
        asked = server(url, model="tiny")
        plain = fake.reply
        fake.reply = lambda path, body: plain(path, body | {"n": 5})
        assert texts(asked.draw("hi", THREE, 0)) == ["hi#0", "hi#1", "hi#2"]


@pytest.mark.parametrize(("name", "status"), [("logprobs", 400), ("seed", 422), ("logprobs", 501)])
def test_what_a_server_refuses_is_left_out_and_nothing_else(name, status):
    fake = FakeServer(refuse(name, f"Unrecognized request argument supplied: {name}", status))
    with fake.running() as url:
        asked = server(url, model="tiny")
        asked.draw("hi", THREE, 0)
        assert asked.form.without == {name}
        drawn = asked.draw("hi", THREE, 0)
    assert len(fake.requests) == 3
    assert (drawn[0].logprob is None) == (name == "logprobs")
    assert fake.requests[-1][1].keys() >= {"n", "logprobs", "seed"} - {name}


def test_what_to_leave_out_first():
    tried = lambda said, without=frozenset(), n=3: [sorted(one) for one in trials(Refused(400, said), without, n)]
    assert tried("bad") == [["n"], ["logprobs"], ["seed"], ["logprobs", "n", "seed"]]
    assert tried("no seed here")[0] == ["seed"]
    assert tried("seed and logprobs")[0] == ["logprobs", "seed"]
    assert tried("bad", frozenset({"logprobs"}), 1) == [["logprobs", "seed"]]
    assert list(trials(Refused(404, "n"), frozenset(), 3)) == []


def test_log_probs_are_not_asked_for_where_they_are_not_wanted():
    fake = FakeServer()
    with fake.running() as url:
        (drawn,) = server(url, model="tiny", logprobs=False).draw("hi", SamplingConfig(samples=1), 0)
    assert (drawn.logprob, drawn.tokens) == (None, 7)
    assert "logprobs" not in fake.requests[0][1]


def test_samples_per_request():
    fake = FakeServer()
    with fake.running() as url:
        assert len(server(url, model="tiny", samples_per_request=2).draw("hi", THREE, 0)) == 3
    assert [body["n"] for _, body in fake.requests] == [2, 1]


# Trouble that does not pass.


def test_a_key_comes_from_the_environment_only(monkeypatch):
    def trouble(fake, path, body, number):
        if fake.headers[number].get("Authorization") != "Bearer secret":
            raise error(401, "who are you?")

    fake = FakeServer(trouble)
    with fake.running() as url:
        with pytest.raises(InputError, match="MTJAX_API_KEY, and it is not set"):
            server(url).settle_model()
        monkeypatch.setenv("OWN_KEY", "wrong")
        with pytest.raises(InputError, match="OWN_KEY, and the one in it was not accepted") as refused:
            server(url, model="tiny", api_key_variable="OWN_KEY").draw("hi", THREE, 0)
        assert "wrong" not in str(refused.value)
        monkeypatch.setenv("MTJAX_API_KEY", " secret\n")
        assert len(server(url).draw("hi", THREE, 0)) == 3
        monkeypatch.setenv("MTJAX_API_KEY", "sec\nret")
        with pytest.raises(InputError, match="characters that no key has") as refused:
            server(url)
        assert "ret" not in str(refused.value).replace("characters", "")


def test_a_redirect_is_not_followed_with_the_key():
    fake = FakeServer(first(Reply(307, {"error": "elsewhere"}, {"Location": "http://127.0.0.1:9/v1"})))
    with fake.running() as url, pytest.raises(InputError, match="status 307: elsewhere"):
        server(url, model="tiny").draw("hi", THREE, 0)
    assert len(fake.requests) == 1


def test_models_that_are_not_there():
    fake = FakeServer(models=("llama-8b", "qwen-7b"))
    with fake.running() as url:
        with pytest.raises(InputError, match="lists llama-8b, qwen-7b; say which with --server.model"):
            server(url).settle_model()
        with pytest.raises(InputError, match="no model 'lama-8b'.*did you mean 'llama-8b'"):
            server(url, model="lama-8b").draw("hi", THREE, 0)
        with pytest.raises(InputError, match="check the URL, which should end in /v1"):
            server(url + "/wrong", model="llama-8b").draw("hi", THREE, 0)
    fake.models = []
    with FakeServer(models=()).running() as url, pytest.raises(InputError, match="lists no models"):
        server(url).settle_model()


def test_settings_are_checked():
    for bad in (
        {"concurrency": 0},
        {"timeout": 0.0},
        {"timeout": float("inf")},
        {"timeout": float("nan")},
        {"retries": -1},
        {"samples_per_request": 0},
        {"patience": -1.0},
    ):
        with pytest.raises(InputError, match=next(iter(bad))):
            ServerConfig(**bad)


@pytest.mark.parametrize("choice", [{"message": "hello"}, {"message": 3}, {"text": 7}, {}])
def test_a_choice_without_text_is_not_an_empty_answer(choice):
    with pytest.raises(ValueError, match="a choice without text"):
        read_choices({"choices": [choice]})


def content(parts):
    """One sample of a chat whose message has this content."""
    return read_choices({"choices": [{"message": {"content": parts}, "finish_reason": "stop"}]})[0].text


def test_content_as_parts_is_read():
    assert content([{"type": "text", "text": "Answer: "}, {"type": "text", "text": "7"}]) == "Answer: 7"
    assert content([{"type": "reasoning", "text": "hm"}, {"type": "output_text", "text": "7"}]) == "7"
    assert content([{"text": "7"}]) == "7"
    assert content([]) == content([{"type": "thinking", "thinking": "hm"}]) == content([{"type": "text"}]) == ""
    with pytest.raises(ValueError, match="a choice without text"):
        content({"text": "7"})


NEW_NAME = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."


def test_a_server_that_wants_max_completion_tokens_gets_it_from_then_on():
    """As the reasoning models of OpenAI do, which then refuse the settings of sampling too, one after the other."""

    def trouble(fake, path, body, number):
        for name, said in {
            "max_tokens": NEW_NAME,
            "logprobs": "Unsupported parameter: 'logprobs' is not supported with this model.",
            "top_p": "Unsupported parameter: 'top_p' is not supported with this model.",
        }.items():
            if body and name in body:
                raise error(400, said)

    fake = FakeServer(trouble)
    with fake.running() as url:
        asked = server(url, model="tiny")
        assert texts(asked.draw("hi", THREE, 0)) == ["hi#0", "hi#1", "hi#2"]
        assert len(fake.requests) == 4  # three refusals, each of which says what to change
        asked.draw("ho", THREE, 0)
    assert len(fake.requests) == 5
    assert fake.requests[-1][1]["max_completion_tokens"] == 9
    assert not {"max_tokens", "logprobs", "top_p"} & fake.requests[-1][1].keys()


def test_a_setting_of_sampling_that_is_no_default_is_never_left_out():
    fake = FakeServer(refuse("temperature", "Unsupported value: 'temperature' does not support 0.5 with this model."))
    with fake.running() as url, pytest.raises(Refused, match="'temperature' does not support"):
        server(url, model="tiny").draw("hi", SamplingConfig(temperature=0.5), 0)
    assert all(body["temperature"] == 0.5 for _, body in fake.requests)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<!DOCTYPE html><html><title>Sign in</title></html>", "a page of HTML in place of a JSON reply: 'Sign in'"),
        (b'data: {"choices": [{"delta": {"content": "7"}}]}\n\ndata: [DONE]\n', "a stream of events.*delta"),
        (b'{"model": "m", "response": "7"}\n{"model": "m", "done": true}\n', "a stream of JSON lines.*response"),
    ],
)
def test_a_page_or_a_stream_in_place_of_a_reply_is_one_error_at_once(body, said):
    fake = FakeServer(lambda *a: (_ for _ in ()).throw(Reply(200, body)))
    with fake.running() as url:
        with pytest.raises(InputError, match=f"/v1/completions sent {said}"):
            server(url, model="tiny").draw("hi", THREE, 0)
        assert len(fake.requests) == 1
        with pytest.raises(InputError, match=f"/v1/models sent {said}.*--server.model=NAME"):
            server(url).settle_model()
    assert len(fake.requests) == 2


def test_a_reply_that_is_not_json_is_told_with_its_text():
    fake = FakeServer(lambda *a: (_ for _ in ()).throw(Reply(200, b"proxy: no upstream")))
    with fake.running() as url, pytest.raises(InputError, match="failed 4 times.*not JSON: 'proxy: no upstream'"):
        server(url, model="tiny").draw("hi", THREE, 0)


def test_an_error_with_a_status_of_success_is_an_error():
    busy, gone = ({"error": {"message": said, "code": code}} for said, code in (("overloaded", 503), ("no route", 404)))
    fake = FakeServer(first(Reply(200, busy), Reply(200, gone)))
    with fake.running() as url, pytest.raises(InputError, match=r"the server has no .*\(status 404: no route\)"):
        server(url, model="tiny").draw("hi", THREE, 0)
    assert [path for path, _ in fake.requests] == ["/v1/completions", "/v1/completions", "/v1/models"]
    fake = FakeServer(first(Reply(200, {"error": "n must be 1"})))
    with fake.running() as url:
        assert len(server(url, model="tiny").draw("hi", THREE, 0)) == 3


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_server_without_a_list_of_models_says_which_path_and_setting(status):
    def trouble(fake, path, body, number):
        if body is None:
            raise error(status, "not here")

    with FakeServer(trouble).running() as url:
        with pytest.raises(
            InputError, match=rf"list its models at {url}/models \(status {status}: not here\); name one"
        ):
            server(url).settle_model()
        assert len(server(url, model="tiny").draw("hi", THREE, 0)) == 3


def test_a_list_of_models_that_keeps_failing_names_path_and_setting():
    fake = FakeServer(lambda *a: (_ for _ in ()).throw(error(500, "on fire")))
    with fake.running() as url, pytest.raises(InputError, match=f"{url}/models failed 4 times.*--server.model=NAME"):
        server(url).settle_model()


def test_replies_that_say_nothing_are_not_called_equal():
    said = []
    with FakeServer(say=lambda prompt, seed, i: " ").running() as url:
        asked = Server(url, ServerConfig(**QUICK, model="tiny"), say=said.append)
        for number in range(FIRST_EQUAL + 1):
            asked.draw(f"{number}", SamplingConfig(samples=2, temperature=0.7), 0)
    assert said == []


def test_equal_samples_at_a_temperature_above_0_are_said_once():
    said = []
    with FakeServer(say=lambda prompt, seed, i: prompt).running() as url:
        asked = Server(url, ServerConfig(**QUICK, model="tiny"), say=said.append)
        for number in range(FIRST_EQUAL + 3):
            asked.draw(f"{number}", SamplingConfig(samples=2, temperature=0.7), 0)
    assert len(said) == 1
    assert f"the first {FIRST_EQUAL} prompts each got 2 equal samples, though temperature=0.7" in said[0]
    said.clear()
    with FakeServer(say=lambda prompt, seed, i: prompt).running() as url:
        asked = Server(url, ServerConfig(**QUICK, model="tiny"), say=said.append)
        for number in range(FIRST_EQUAL + 3):
            asked.draw(f"{number}", SamplingConfig(samples=2, temperature=0.0), 0)
            asked.draw(f"{number}", SamplingConfig(samples=1), 0)
    assert said == []
