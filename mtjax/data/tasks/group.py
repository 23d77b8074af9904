"""Groups as a task: several candidates of one prompt, with rewards and advantages."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge

from mtjax.data.advantages import AnyAdvantage
from mtjax.data.advantages.base import About
from mtjax.data.advantages.baselines import Grpo
from mtjax.data.problem import Candidate, Problem
from mtjax.data.tasks.base import PLAIN, TASKS, Rendered, Sampled, SpecialTokens
from mtjax.data.tasks.templated import TemplateTask
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError
from mtjax.validation import check_types


@TASKS.register("group")
@dataclasses.dataclass(frozen=True, kw_only=True)
class GroupTask(TemplateTask):
    """Candidates of one prompt side by side, with rewards: what policy gradients and other losses of groups train on.

    Formula: candidate g of segment s is segment s of side g of a batch `(B, G, T)`; each reads `template(question) +
    text`, weight 1 on the text and its end token. The sides of a row fill up apart.

    Candidates are those of a record with their rewards (format `group`, mined solutions), or else the right solutions
    with reward 1 and the wrong ones with 0. One whose reward is not known is left out, and so is a problem with fewer
    than two. Advantages compare all candidates of a problem; then every `size` of them are one example, and the sides
    that the last one lacks are empty.

    A batch carries `extras["segment_NAME"]` `[B, G, S]` for `reward`, `advantage`, `polarity` (1 where the reward is
    above 0), `success_rate` (share of the problem's candidates whose reward is above 0), `finished`, and each of the
    record's `numbers`; and with `logprobs` the sampler's log-probabilities `extras["sampled_logprob"]` `[B, G, T]`.
    """

    name: ClassVar[str] = "group"
    needs: ClassVar[str] = "at least two candidates with rewards, or right and wrong solutions"
    ragged: ClassVar[bool] = True
    before: ClassVar[Mapping[str, Any]] = {**TemplateTask.before, "after": ""}

    template: str = PLAIN  # Text around the question, with `{question}` once, or `chat` for the chat template.
    size: Annotated[int, Ge(2)] = 8  # Candidates of one example, G: the sides of a batch.
    advantage: AnyAdvantage = Grpo()  # type: ignore[valid-type]
    """How rewards become advantages."""
    logprobs: Literal["none", "own", "proposal"] = "none"
    """Recorded log-probabilities to carry: none, the sampling model's own, or those of the distribution that was drawn
    from, which differ under top-p, top-k or a temperature. A candidate without them is an error."""
    cut: Literal["drop", "keep"] = "drop"
    """A candidate that was cut at a longest length: compared, but not trained (DAPO's overlong filtering), or trained
    without end token."""
    equal: Literal["keep", "drop"] = "keep"  # Problems whose candidates all have the same reward.
    after: str = ""
    """Train only what follows the last place of this text in a candidate, whatever its case, such as `Confidence:` in
    SaySelf's second stage. A candidate without it is trained whole; "" trains all whole."""
    strip: bool = False  # Cut white space around questions and candidates; off trains them exactly as given.
    special_tokens: SpecialTokens = "text"  # What special tokens in questions and candidates are: text, or control.

    def __post_init__(self) -> None:
        super().__post_init__()
        check_types(self, "task")

    @property
    def sides(self) -> int:  # type: ignore[override]
        """Candidates of one example."""
        return self.size

    def render(self, problem: Problem, tokenizer: Tokenizer | None = None) -> list[Rendered]:
        """The candidates of a problem, `size` for each example; empty sides at the end."""
        members = candidates_of(problem)
        if len(members) < 2:
            return []
        rewards = np.array([one.reward for one in members], np.float64)
        if self.equal == "drop" and rewards.max() == rewards.min():
            return []
        try:
            about = (self._about(members, tokenizer),) if getattr(self.advantage, "needs_about", False) else ()
            advantages = self.advantage(rewards, *about)  # type: ignore[operator]
        except InputError as error:
            raise InputError(f"{problem.place}: {error}") from error
        rate = float(np.mean(rewards > 0))
        made: list[Rendered | None] = [None] * len(members)
        for number, (one, advantage) in enumerate(zip(members, advantages, strict=True)):
            if one.finished or self.cut == "keep":
                extras = {"reward": one.reward, "advantage": float(advantage), "polarity": float((one.reward or 0) > 0)}
                extras |= {"success_rate": rate, "finished": float(one.finished), **one.numbers}
                made[number] = self._candidate(problem, one, extras, tokenizer)
        rendered = []
        for number, some in enumerate(made[start : start + self.size] for start in range(0, len(made), self.size)):
            name = f"group/{number}"
            absent = Rendered(name, "", (), 0, False, {"finished": 0.0})
            sides = [absent if one is None else one._replace(name=name) for one in some]
            rendered += [*sides, *[absent] * (self.size - len(sides))] if any(some) else []
        return rendered

    def _about(self, members: Sequence[Candidate], tokenizer: Tokenizer | None) -> About:
        """Lengths of the candidates, of recorded tokens where there are some, and the numbers that all of them have."""
        count = lambda text: len(text) if tokenizer is None else len(tokenizer.encode(text).ids)
        lengths = [len(one.ids) or count(self.text(one.text, tokenizer)) + one.finished for one in members]
        common = set.intersection(*(set(one.numbers) for one in members))
        numbers = {name: np.array([one.numbers[name] for one in members], np.float64) for name in common}
        return About(np.array(lengths, np.float64), numbers)

    def _candidate(
        self, problem: Problem, one: Candidate, extras: Mapping[str, Any], tokenizer: Tokenizer | None
    ) -> Rendered:
        """One side, with the tokens that were drawn and their log-probabilities where the task carries them."""
        text = self.text(one.text, tokenizer)
        rendered = self.sequences(problem, "", text, extras, tokenizer, ends=one.finished, shared=True)[0]
        if self.after and (found := list(re.finditer(re.escape(self.after), text, re.IGNORECASE))):
            first = rendered.spans[-1]
            start = rendered.text.rfind(text, first.start, first.end) + found[-1].end()
            rendered = rendered._replace(spans=(first._replace(start=start),))
        if self.logprobs == "none":
            return rendered
        logprobs = one.logprobs if self.logprobs == "own" else one.proposal_logprobs
        if not logprobs:
            key = "logprobs" if self.logprobs == "own" else "proposal_logprobs"
            raise InputError(
                f"{problem.place}: a candidate has no {key}: record them (`python -m mtjax.mine --logprobs=True` "
                "does), or set data.task.logprobs=none"
            )
        sampled = Sampled(one.ids, {"sampled_logprob": logprobs})
        if not one.ids:
            return rendered._replace(sampled=sampled)
        closed = one.finished and (tokenizer is None or one.ids[-1] == tokenizer.end_id)  # not by a stop text
        return rendered._replace(ends=False, sampled=sampled, extras={**rendered.extras, "finished": float(closed)})

    def ends(self, extras: Mapping[str, float]) -> bool:
        """Candidates that ended by themselves are closed by the end token; empty sides are not."""
        return extras.get("finished", 1.0) > 0


def candidates_of(problem: Problem) -> list[Candidate]:
    """The candidates whose reward is known; else right solutions with reward 1 and wrong ones with reward 0."""
    if known := [one for one in problem.candidates if one.reward is not None]:
        return known
    rewarded = {1.0: problem.right, 0.0: problem.wrong}
    return [Candidate(text, reward) for reward, texts in rewarded.items() for text in texts]
