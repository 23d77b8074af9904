"""A server that answers with weights from a folder: how it is told that the folder has new ones."""

import dataclasses
import subprocess
from collections.abc import Callable
from typing import Any, Literal

from mtjax.errors import InputError
from mtjax.sampling.replies import Refused
from mtjax.sampling.server import split_url
from mtjax.sampling.transport import Failed, ServerConfig, Transport
from mtjax.validation import check_types

FOLDER = "{folder}"
"""Stands for the folder in the words of a command, and in the calls below."""

CALLS: dict[str, tuple[tuple[str, dict[str, Any] | None], ...]] = {
    # With VLLM_SERVER_DEV_MODE=1: it reads the folder that it serves again; its prefix cache is of the old weights.
    "vllm": (("/collective_rpc", {"method": "reload_weights"}), ("/reset_prefix_cache", {})),
    "sglang": (("/update_weights_from_disk", {"model_path": FOLDER}),),  # empties its cache by itself
}
"""What each kind of server is asked, by POST to paths below its root."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Serving:
    """A server beside the run, which draws the attempts with the weights that each round exports.

    Before the attempts of a round the policy is written to `folder`, as a Hugging Face folder with its tokenizer, and
    the server is told. `vllm` calls `/collective_rpc` with `reload_weights`, which reads the served folder again, so
    start it with `VLLM_SERVER_DEV_MODE=1 vllm serve FOLDER`; `sglang` calls `/update_weights_from_disk` with the
    folder; `command` runs a command of yours, such as one that restarts the server, and waits for its end.
    """

    url: str  # The server, such as http://localhost:8000/v1.
    folder: str  # Where the weights of a round go, and where the server reads them.
    reload: Literal["vllm", "sglang", "command"] = "vllm"  # How the server is told of new weights.
    command: tuple[str, ...] = ()  # The words of the command, for reload=command; {folder} in them is the folder.
    dtype: Literal["float32", "bfloat16"] | None = None
    """Type of the exported weights; None is that of the checkpoint that the run started from."""
    server: ServerConfig = ServerConfig()  # How to use the server.

    def __post_init__(self) -> None:
        check_types(self, "serving")
        split_url(self.url)
        if (self.reload == "command") != bool(self.command):
            raise InputError(
                f"serving.reload={self.reload!r} with serving.command={self.command}: a command is given with "
                "serving.reload=command, and only with it"
            )

    def tell(self, say: Callable[[str], None] = lambda text: None) -> None:
        """Have the server read the folder again, and wait until it has.

        Raises:
            InputError: the server refuses or does not answer; the command fails or is not found.
        """
        if self.reload == "command":
            self._run([word.replace(FOLDER, self.folder) for word in self.command])
            return
        root = split_url(self.url)[0].removesuffix("/v1")
        transport = Transport(root, self.server, say)
        for path, body in CALLS[self.reload]:
            filled = {key: self.folder if value == FOLDER else value for key, value in (body or {}).items()}
            try:
                transport.send(path, filled, _accepted)
            except Refused as refused:
                hint = " (start it with VLLM_SERVER_DEV_MODE=1)" if self.reload == "vllm" else ""
                raise InputError(
                    f"the server at {root}{path} did not take the weights in {self.folder}{hint}: status "
                    f"{refused.status}, {refused.said}; check serving.folder, serving.url and serving.reload="
                    f"{self.reload}"
                ) from refused

    def _run(self, words: list[str]) -> None:
        try:
            done = subprocess.run(words, capture_output=True, text=True, errors="replace")
        except OSError as error:
            raise InputError(f"serving.command: {words[0]!r} cannot be run ({error.strerror})") from error
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip()).rpartition("\n")[2]
            raise InputError(f"serving.command {words} ended with exit code {done.returncode}: {last:.200}")


def _accepted(reply: Any) -> None:
    """Failed unless a reply, which may be empty, says that the weights were taken."""
    if isinstance(reply, dict) and reply.get("success") is False:
        raise Failed(f"it says {reply.get('message', reply)!s:.200}")
