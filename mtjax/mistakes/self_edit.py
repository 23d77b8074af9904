"""The policy edits its own right steps: RISE's self-editing (Xu et al., 2025, arXiv 2410.06638; `kaishxu/RISE`).

The structure is that of the released code: three fenced blocks, one instruction drawn by what the text holds, at most
the last four sentences offered, the answer prefilled up to an opening fence and read up to the closing one. The wording
is ours: the paper's is not in our sources. Decoding is greedy, as there.
"""

import random
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mtjax.data.problem import Message
from mtjax.mistakes.inject_config import InjectConfig

Generate = Callable[[list[str]], list[str]]
"""From prompts to continuations, closing fence included where the model wrote one."""

FENCE = "```"
SENTENCES = 4
"""At most so many sentences of a step, the last ones, are offered for editing."""


class Template(NamedTuple):
    """One way to ask for an edit.

    Attributes:
        type: the registered error type that it asks for.
        instruction: one sentence.
    """

    type: str
    instruction: str


VALUES = Template("value_series", "Edit the current step by changing one value, or a series of related values, in it.")
VALUE = Template("value", "Edit the current step by changing the one value in it.")
EQUATION = (
    Template("substitution", "Edit the current step by making a wrong substitution in its calculation."),
    Template("dropped_term", "Edit the current step by deleting one term of its calculation."),
    Template("operator", "Edit the current step by changing one operator symbol of its calculation."),
    Template("swap", "Edit the current step by swapping two terms of its calculation."),
)
WORDS = Template("misread", "Edit the current step by changing related words, so that the question is misread.")
QUIET = "Change as little as you can, and do not mention anywhere that an error was made."


def templates_for(text: str) -> tuple[Template, ...]:
    """The templates that fit a text, of which one is drawn uniformly.

    More than one group of digits: change values. Exactly one: change the value. An `=`: substitution, deletion,
    operator and swap besides. Neither digits nor `=`: change words. So an equation's values are changed in one case of
    five, which is not the share of such slips among natural errors.

    >>> [template.type for template in templates_for("x = 4")]
    ['value', 'substitution', 'dropped_term', 'operator', 'swap']
    """
    groups = len(re.findall(r"[0-9]+", text))
    numeric = (VALUES,) if groups > 1 else (VALUE,) if groups == 1 else ()
    return (*numeric, *(EQUATION if "=" in text else ())) or (WORDS,)


def offered(step: str) -> tuple[int, int]:
    """Which part of a step is offered for editing: its last four sentences at most, without white space around them.

    Sentences end at a line break, or at a full stop and a space.

    >>> step = "One. Two. Three.\\nFour. Five is 5."
    >>> step[slice(*offered(step))]
    'Two. Three.\\nFour. Five is 5.'
    """
    starts = [0, *(match.end() for match in re.finditer(r"\n|(?<=\.) ", step))]
    starts = [start for start, end in zip(starts, [*starts[1:], len(step)], strict=True) if step[start:end].strip()]
    start = starts[-SENTENCES:][0] if starts else 0
    start += len(step[start:]) - len(step[start:].lstrip())
    return start, max(start, len(step.rstrip()))


class EditRequest(NamedTuple):
    """What the model is asked about one step.

    Attributes:
        user: the user's turn.
        prefill: how the answer begins: a label and an opening fence.
        start: where the offered part starts in the step.
        end: one behind its last character.
        type: the type of error asked for.
    """

    user: str
    prefill: str
    start: int
    end: int
    type: str


PREFILL = f"Edited step:\n{FENCE}\n"


def edit_request(question: str, prefix: str, step: str, rng: random.Random) -> EditRequest:
    """The request to edit one right step.

    Args:
        question: the problem.
        prefix: the solution up to and with the step's header.
        step: the right step.
        rng: draws the template.
    """
    start, end = offered(step)
    template = rng.choice(templates_for(step[start:end]))
    blocks = (("Question", question), ("Initial answer", prefix), ("Current step", step[start:end]))
    shown = "\n\n".join(f"{label}:\n{FENCE}\n{text.strip()}\n{FENCE}" for label, text in blocks)
    return EditRequest(f"{shown}\n\n{template.instruction} {QUIET}", PREFILL, start, end, template.type)


def parse_edit(output: str) -> str | None:
    """The edited text: what stands in front of the closing fence, without white space around it.

    None where there is no closing fence (the model ran on), or nothing in front of it.

    >>> parse_edit("48 / 2 = 26 clips\\n```\\nI changed ..."), parse_edit("48 / 2 =")
    ('48 / 2 = 26 clips', None)
    """
    edited, fence, _ = output.partition(FENCE)
    return edited.strip() or None if fence else None


def put_in_place(step: str, request: EditRequest, edited: str) -> str:
    """The step with the offered part replaced where it stands.

    By position: the released code replaces by text, which changes every copy of a repeated passage.
    """
    return step[: request.start] + edited + step[request.end :]


def plain_chat(user: str, prefill: str) -> str:
    """A request as plain text, for models without a chat template."""
    return f"{user}\n\n{prefill}"


def self_edit(
    requests: Sequence[EditRequest], generate: Generate, render: Callable[[str, str], str] = plain_chat
) -> list[str | None]:
    """The edited parts, one per request; None where the output could not be read.

    Args:
        requests: what to ask.
        generate: the policy, decoding greedily.
        render: `(user's turn, prefilled answer) -> prompt`, such as a chat template.
    """
    outputs = generate([render(request.user, request.prefill) for request in requests])
    if len(outputs) != len(requests):
        raise ValueError(f"generate gave {len(outputs)} texts for {len(requests)} prompts; expected one each")
    return [parse_edit(output) for output in outputs]


class Editor(NamedTuple):
    """The model that edits.

    Attributes:
        generate: greedy decoding.
        about: what the edits depend on, such as the model's fingerprint and the decoding settings.
        render: `(user's turn, prefilled answer) -> prompt`.
    """

    generate: Generate
    about: dict[str, Any]
    render: Callable[[str, str], str] = plain_chat


def local_editor(loaded: Any, fingerprint: str, settings: InjectConfig) -> Editor:
    """A loaded model (`mtjax.runs.loading.load_any`) as an editor; `fingerprint` identifies its parameters."""
    from mtjax.sampling.config import SamplingConfig
    from mtjax.sampling.texts import sample_texts

    model, params, tokenizer, end_ids = loaded[:4]
    # The fences of the prompt come before the answer, so the first fence of the answer closes the edit.
    sampling = SamplingConfig(temperature=0.0, max_new_tokens=settings.max_new_tokens, stop=(FENCE,))

    def generate(prompts: list[str]) -> list[str]:
        if not prompts:
            return []
        drawn = sample_texts(model, params, tokenizer, prompts, sampling, 0, rows=settings.rows, end_ids=end_ids)
        return [tokenizer.decode(list(samples[0].tokens)) for samples in drawn]

    def render(user: str, prefill: str) -> str:
        if tokenizer.chat_template is None:
            return plain_chat(user, prefill)
        return tokenizer.render_chat((Message(role="user", content=user),), True) + prefill

    decode = {"temperature": 0.0, "max_new_tokens": settings.max_new_tokens, "prefill": PREFILL}
    about = {"model": settings.model or "", "fingerprint": fingerprint, "tokenizer": tokenizer.fingerprint}
    return Editor(generate, {**about, "decode": decode}, render)
