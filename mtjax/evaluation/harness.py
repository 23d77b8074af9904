"""A model as the Language Model Evaluation Harness (`lm-eval`) asks it: log-likelihoods and completions."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from mtjax.data.messages import Message
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError
from mtjax.evaluation.token_scores import token_scores
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.texts import sample_texts
from mtjax.types import LanguageModel, Params


class Likelihood(NamedTuple):
    """What a model makes of a continuation."""

    logprob: float  # summed over its tokens (nats)
    greedy: bool  # whether each of its tokens is the most likely one


def likelihoods(
    model: LanguageModel, params: Params, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], rows: int
) -> Iterator[Likelihood]:
    """The likelihood of each continuation after its context, both as token ids, in order.

    Of a text that is too long for the model, the beginning is cut off. Rows of similar length are scored together.
    """

    for one in token_scores(model, params, pairs, rows):
        greedy = not bool((one.logprob < one.top_logprob).any())
        yield Likelihood(float(one.logprob.sum()), greedy)


def sampling_of(asked: dict[str, Any], most: int) -> SamplingConfig:
    """The settings for the generation arguments of a task; those of `lm-eval` itself are left out.

    Raises:
        InputError: an argument that this sampler does not have.
    """
    asked = dict(asked)
    until = asked.pop("until", None) or ()
    until = (until,) if isinstance(until, str) else tuple(until)
    new = asked.pop("max_gen_toks", None) or asked.pop("max_new_tokens", None) or most
    sampled = asked.pop("do_sample", None)
    temperature = float(asked.pop("temperature", None) or 0.0)
    if sampled is False:
        temperature = 0.0
    elif sampled and not temperature:
        temperature = 1.0
    known = {name: asked.pop(name) for name in ("top_k", "top_p") if asked.get(name) is not None}
    if asked:
        raise InputError(
            f"the task asks for the generation arguments {sorted(asked)}; expected until, max_gen_toks, do_sample, "
            "temperature, top_k, top_p: change generation_kwargs in the task's file"
        )
    stop = tuple(text for text in until if text)
    return SamplingConfig(temperature, max_new_tokens=int(new), stop=stop, **(known if temperature else {}))


def harness_model(
    model: LanguageModel, params: Params, tokenizer: Tokenizer, *, rows: int = 16, seed: int = 0, new: int = 256
) -> Any:
    """An `lm_eval.api.model.LM`: pass it as `model` to `lm_eval.simple_evaluate`.

    Texts are encoded without special tokens, as its transformers backend does by default; a text without context
    follows the BOS token of the tokenizer's files, or the end token where they name none.

    Args:
        rows: texts that are scored, and answers that are drawn, side by side.
        new: longest answer where a task does not say.

    Raises:
        InputError: `lm_eval` is not installed.
    """
    try:
        from lm_eval.api.model import TemplateLM
        from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
    except ImportError as error:
        raise InputError("lm-eval is not installed: pip install 'mtjax[lm-eval]', or pip install lm-eval") from error
    first = tokenizer.end_id if tokenizer.first_id is None else tokenizer.first_id
    score: Callable[[Any], list[Likelihood]] = lambda pairs: list(likelihoods(model, params, pairs, rows))

    class Harness(TemplateLM):  # type: ignore[misc]
        """The model that `harness_model` was called with."""

        @property
        def eot_token_id(self) -> int:
            """The token that ends a text."""
            return tokenizer.end_id

        @property
        def prefix_token_id(self) -> int:
            """The token that a text without context begins after."""
            return first

        def tok_encode(self, string: str, add_special_tokens: bool | None = None, **more: Any) -> list[int]:
            """Token ids of a text; `add_special_tokens` and further arguments of `lm-eval` change nothing."""
            return list(tokenizer.encode(string).ids) if string else []

        def _loglikelihood_tokens(self, requests: Any, disable_tqdm: bool = False, **more: Any) -> list[Any]:
            return [(one.logprob, one.greedy) for one in score([(before, after) for _, before, after in requests])]

        def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> list[float]:
            """The log-likelihood of entire texts, in windows of the model's length."""
            windows = [
                [
                    make_disjoint_window(window)
                    for window in get_rolling_token_windows(
                        token_list=self.tok_encode(request.args[0]), prefix_token=first,
                        max_seq_len=model.config.max_length, context_len=1,
                    )
                ]
                for request in requests
            ]  # fmt: skip
            sums = iter(score([window for each in windows for window in each]))
            return [sum(next(sums).logprob for _ in each) for each in windows]

        def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
            """Completions; requests with the same settings are drawn together. The key of each is its place."""
            found: dict[int, str] = {}
            settings = [sampling_of(request.args[1], new) for request in requests]
            for config in dict.fromkeys(settings):
                numbers = [number for number, own in enumerate(settings) if own == config]
                room = model.config.max_length - config.longest
                if room < 1:
                    raise InputError(
                        f"max_gen_toks={config.longest}: the model's length is {model.config.max_length}; lower it"
                    )
                prompts = [(self.tok_encode(requests[number].args[0]) or [first])[-room:] for number in numbers]
                drawn = sample_texts(
                    model, params, tokenizer, prompts, dataclasses.replace(config, samples=1), seed, rows=rows,
                    prompt_ids=numbers,
                )  # fmt: skip
                found |= {number: samples[0].text for number, samples in zip(numbers, drawn, strict=True)}
            return [found[number] for number in range(len(requests))]

        @property
        def tokenizer_name(self) -> str:
            """What the cache of chat prompts is kept under."""
            return tokenizer.fingerprint

        def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
            """A conversation as text, by the tokenizer's chat template."""
            turns = [Message(role=one["role"], content=one["content"]) for one in chat_history]
            return tokenizer.render_chat(turns, add_generation_prompt)

    return Harness()
