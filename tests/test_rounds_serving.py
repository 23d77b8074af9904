"""Rounds whose attempts a server draws that reads the exported weights: a stand-in that loads the real folder."""

import json
import sys

import pytest

from mtjax.errors import InputError
from mtjax.runs.loading import load_any
from mtjax.runs.rounds.loop import run
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.reload import Serving
from mtjax.sampling.texts import sample_texts
from mtjax.sampling.transport import ServerConfig
from tests.killed_rounds import ByHash
from tests.sampling.fake_server import FakeServer, error
from tests.tiny_rounds import config

pytestmark = pytest.mark.usefixtures("one_device")
GREEDY = SamplingConfig(temperature=0.0, samples=2, max_new_tokens=8)
QUIET = {"say": lambda text: None}
FAST = ServerConfig(first_wait=0.01, retries=1, concurrency=1)


class Reloading(FakeServer):
    """Serves what its folder held when it was last told, as vLLM or SGLang do; refuses before."""

    def __init__(self, kind):
        super().__init__(say=self.greedy)
        self.kind, self.loaded, self.told, self.known = kind, None, [], {}

    def reply(self, path, body):
        if path == "/collective_rpc" and self.kind == "vllm":
            assert body == {"method": "reload_weights"}
            return self.load(self.folder)
        if path == "/reset_prefix_cache" and self.kind == "vllm":
            return b""  # as vLLM: nothing but a status
        if path == "/update_weights_from_disk" and self.kind == "sglang":
            return self.load(body["model_path"])
        if path.endswith("/completions") and self.loaded is None:
            raise error(400, "no weights yet")
        reply = super().reply(path, body)
        for choice in reply.get("choices", ()):
            choice["finish_reason"] = "stop" if self.known[body["prompt"]].finished else "length"
        return reply

    def load(self, folder):
        self.loaded = load_any(str(folder))
        self.known = {}
        self.told.append(str(folder))
        return {"success": True, "message": "Succeeded to update model weights."}

    def greedy(self, prompt, seed, i):
        if prompt not in self.known:
            model, params, tokenizer = self.loaded[:3]
            greedy = SamplingConfig(temperature=0.0, max_new_tokens=8)
            self.known[prompt] = sample_texts(model, params, tokenizer, [prompt], greedy, 0, rows=8)[0][0]
        return self.known[prompt].text


def texts(folder, number):
    lines = (folder / "attempts" / f"{number:04}.jsonl").read_text().splitlines()
    return [[one["text"] for one in json.loads(line)["solutions"]] for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vllm", "sglang"])
def test_a_server_that_reads_the_weights_of_each_round_draws_what_the_policy_would(kind, tmp_path):
    from mtjax.data.tasks import MistakeTask
    from mtjax.mistakes.curation.both import Both
    from mtjax.objectives.mistake_tuning import MistakeTuning

    own = {
        "sampling": GREEDY, "rounds": 2, "grader": ByHash(), "curation": Both(cut="wrong"), "rows": 8,
        "objective": MistakeTuning(), "task": MistakeTask(decode_prefix="correct"), "updates": 4,
    }  # fmt: skip
    run(config(tmp_path / "here", **own), **QUIET)
    server = Reloading(kind)
    server.folder = tmp_path / "served"
    with server.running() as url:
        serving = Serving(url=url, folder=str(server.folder), reload=kind, server=FAST)
        run(config(tmp_path / "there", serving=serving, **own), **QUIET)
        asked = len(server.requests)
        run(config(tmp_path / "there", serving=serving, **own), **QUIET)
        assert len(server.requests) == asked  # a finished run asks for nothing
    assert server.told == [str(server.folder)] * 2
    for number in (1, 2):
        assert texts(tmp_path / "here", number) == texts(tmp_path / "there", number)
    assert texts(tmp_path / "here", 1) != texts(tmp_path / "here", 2)


def test_how_a_server_is_told(tmp_path):
    server = Reloading("none")
    server.load = lambda folder: {"success": False, "message": "no such folder"}
    with server.running() as url:
        with pytest.raises(InputError, match="did not take the weights.*VLLM_SERVER_DEV_MODE=1.*status 404"):
            Serving(url=url, folder="f", server=FAST).tell()
        server.kind = "sglang"
        with pytest.raises(InputError, match="failed 2 times in a row.*no such folder"):
            Serving(url=url, folder="f", reload="sglang", server=FAST).tell()
        server.load = lambda folder: server.told.append(folder) or {"success": True}
        Serving(url=url, folder="f", reload="sglang", server=FAST).tell()
        assert server.told == ["f"]
    mark = tmp_path / "mark"
    write = (sys.executable, "-c", f"import sys; open({str(mark)!r}, 'w').write(sys.argv[1])", "{folder}")
    Serving(url="http://host", folder="place", reload="command", command=write).tell()
    assert mark.read_text() == "place"
    fail = (sys.executable, "-c", "raise SystemExit('the server is gone')")
    with pytest.raises(InputError, match="exit code 1: the server is gone"):
        Serving(url="http://host", folder="f", reload="command", command=fail).tell()
    with pytest.raises(InputError, match="'no-such-command' cannot be run"):
        Serving(url="http://host", folder="f", reload="command", command=("no-such-command",)).tell()
    with pytest.raises(InputError, match="a command is given with serving.reload=command"):
        Serving(url="http://host", folder="f", command=fail)


def test_tokens_that_a_server_does_not_give_are_refused(tmp_path):
    from mtjax.data.tasks import GroupTask
    from mtjax.mistakes.curation.groups import Groups
    from mtjax.objectives.policy_gradient import PolicyGradient

    serving = Serving(url="http://host", folder="f")
    own = {"task": GroupTask(logprobs="own"), "objective": PolicyGradient()}
    with pytest.raises(InputError, match="logprobs='own' needs the tokens of every attempt"):
        config(tmp_path, curation=Groups(), serving=serving, **own)
