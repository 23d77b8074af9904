"""DeAL: each token is chosen with a look at where a greedy continuation from it leads."""

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Ge

from mtjax.data.encoding import continuation
from mtjax.distributed.placement import read_whole
from mtjax.errors import InputError
from mtjax.sampling.local import LocalSampler, as_sample
from mtjax.sampling.sampler import Batches, Contrasted, Numbers, ProblemSamples, Prompt, Sampler, Stop, Unusable, cut
from mtjax.sampling.search.base import SEARCHES
from mtjax.sampling.search.lookahead import lookahead_search
from mtjax.sampling.search.tree import Path
from mtjax.sampling.texts import TokenSample, encoded
from mtjax.sampling.values import last_hidden, padded, values_of
from mtjax.sharing import shared
from mtjax.types import LanguageModel
from mtjax.validation import PositiveInt, check_types


@shared()
def _program(model: LanguageModel, count: int) -> Any:
    """`(params, tokens [N, T], lengths [N]) -> ([N, count], [N, count])`: the likeliest tokens, log-probabilities."""

    def run(params: Any, tokens: Any, lengths: Any) -> Any:
        logits = model.logits(params, last_hidden(model, params, tokens, lengths))
        log_probs = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
        values, places = jax.lax.top_k(log_probs, count)
        return places, values

    return jax.jit(run)


@SEARCHES.register("deal")
@dataclasses.dataclass(frozen=True)
class Deal:
    """Decoding-time alignment (DeAL): beam search whose scores look ahead, so that an answer reaches what it should.

    Formula: a token is valued by `log P(y_1..t) + weight h(y_1..t+l)`, where the last l tokens are a greedy
    continuation. `h = share of the keywords in the text + value_weight V`, V the value head at the end of the
    continuation. For another goal, register a subclass with its own `goal`. The most likely `candidates` tokens of each
    of the `beams` beams are tried. Gives the finished answers of a prompt, best first, at most `beams`; temperature and
    `samples` do not count. Each token costs `beams x candidates` continuations.

    Source: Huang et al., "DeAL: Decoding-time Alignment for Large Language Models", 2024 (arXiv 2402.06147), section 3;
    the paper's own numbers are not known to us.
    """

    needs_local: ClassVar[bool] = True  # a model on this machine; servers are refused

    weight: Annotated[float, Ge(0)] = 10.0  # Of the heuristic beside log-probabilities (lambda); 0 is a beam search.
    keywords: tuple[str, ...] = ()  # Texts that an answer should have, told apart by case.
    value_weight: Annotated[float, Ge(0)] = 0.0  # Of the value head; above 0 it needs a model with one.
    candidates: PositiveInt = 3  # Next tokens that are tried for each beam (k).
    lookahead: PositiveInt = 10  # Tokens of the greedy continuation (l).
    beams: PositiveInt = 1  # Answers that are written side by side.

    def __post_init__(self) -> None:
        check_types(self, "search")
        if "" in self.keywords:
            raise InputError("search.keywords has an empty text, which every answer has; leave it out")

    def goal(self, texts: Sequence[str]) -> list[float]:
        """How well each text does what an answer should do: the share of the keywords that it has."""
        return [sum(word in text for word in self.keywords) / max(len(self.keywords), 1) for text in texts]

    def __call__(
        self, sampler: Sampler, prompts: Sequence[Prompt], seed: int, stopped: Stop, numbers: Numbers = None
    ) -> Batches:
        """The answers of one prompt after the other; InputError for a sampler that is not a local model."""
        if not isinstance(sampler, LocalSampler):
            raise InputError("search:deal needs a local model, whose next tokens it can see: choose search:independent")
        if self.value_weight and sampler.model.value is None:
            raise InputError(
                f"search.value_weight={self.value_weight} needs a model with a value head: train one with "
                "model.value_head:value_head and objective:alphamath, or leave it out"
            )
        for number in range(len(prompts)) if numbers is None else numbers:
            prompt: Any = prompts[number]
            if isinstance(prompt, Unusable):
                yield [ProblemSamples(number, [], prompt.note)]
            else:
                ids = encoded(sampler.tokenizer, prompt)
                if isinstance(ids, Contrasted):
                    raise InputError("search:deal reads one prompt, decoder:contrastive two: choose one of them")
                yield [ProblemSamples(number, _search(self, sampler, ids))]
            if stopped():
                return


def _search(settings: Deal, sampler: LocalSampler, prompt: Sequence[int]) -> list[Any]:
    model, tokenizer, rows = sampler.model, sampler.tokenizer, settings.beams * settings.candidates
    most, longest = model.config.max_length, sampler.sampling.longest
    greedy = dataclasses.replace(
        sampler,
        sampling=dataclasses.replace(
            sampler.sampling, samples=1, temperature=0.0, top_k=0, top_p=1.0, max_new_tokens=settings.lookahead
        ),
        rows=rows, by_token=True,
    )  # fmt: skip
    said = lambda tokens: [token for token in tokens if token not in tokenizer.end_ids]
    text = lambda tokens: str(continuation(tokenizer.decode, list(prompt), said(tokens)))
    stop = sampler.sampling.stop

    def ends(tokens: Sequence[int]) -> bool:
        return tokens[-1] in tokenizer.end_ids or bool(stop and any(word in text(tokens) for word in stop))

    def next_tokens(paths: Sequence[Path]) -> list[list[tuple[int, float]]]:
        texts = [[*prompt, *path.tokens] for path in paths]
        count = min(settings.candidates, model.config.vocab_size)
        rows_of = padded(texts, settings.beams, most, tokenizer.pad_id)
        found = _program(model, count)(sampler.params, *rows_of)
        both = zip(*(part.tolist() for part in read_whole(found)), strict=True)
        return [list(zip(*one, strict=True)) for one in list(both)[: len(paths)]]

    def heuristic(paths: Sequence[Path]) -> list[float]:
        if not settings.weight:
            return [0.0] * len(paths)
        whole = [list(path.tokens) for path in paths]
        room = most - len(prompt) - len(paths[0].tokens)
        open_ones = [number for number, path in enumerate(paths) if not path.ended and room >= settings.lookahead]
        asked = [[*prompt, *whole[number]] for number in open_ones]
        for batch in greedy.draw(asked, 0, lambda: False) if asked else ():
            for one in batch:
                whole[open_ones[one.number]] += one.samples[0].token_ids
        found = settings.goal([text(tokens) for tokens in whole])
        if settings.value_weight:
            ids = [[*prompt, *said(tokens)] for tokens in whole]
            values = values_of(model, sampler.params, ids, rows=rows, pad_id=tokenizer.pad_id)
            found = [h + settings.value_weight * value for h, value in zip(found, values, strict=True)]
        return found

    paths = lookahead_search(
        next_tokens, heuristic, ends, beams=settings.beams, weight=settings.weight,
        longest=min(longest, most - len(prompt)),
    )  # fmt: skip
    drawn = [
        TokenSample(
            cut(text(path.tokens), stop), path.tokens, float(np.sum(path.logprobs, dtype=np.float64)), 0.0, path.ended,
            path.logprobs,
        )
        for path in paths
    ]  # fmt: skip
    return [as_sample(one, tokenizer, sampler.by_token) for one in drawn]
