"""The problems that the examples of a batch were made from, and what they say about each example."""

from collections.abc import Sequence

from mtjax.config import Config
from mtjax.data.examples import make_example
from mtjax.data.problem import Problem
from mtjax.data.tasks import Task
from mtjax.data.tasks.pair import choose_pairs
from mtjax.data.tokenizer import Tokenizer
from mtjax.inspection.batch_view import PackedSequence


def problems_of(config: Config, parts: Sequence[PackedSequence]) -> dict[str, Problem]:
    """The problem of each example, by the example's name: the one with the longest id that starts the name."""
    names: dict[str, list[str]] = {}
    for name in {part.name for part in parts}:
        words = name.split("/")
        for end in range(1, len(words)):  # ids may contain slashes
            names.setdefault("/".join(words[:end]), []).append(name)
    found: dict[str, Problem] = {}
    for problem in config.data.source.problems(config.data.on_error).items:
        for name in names.get(problem.id, ()):
            if len(problem.id) > len(found[name].id if name in found else ""):
                found[name] = problem
    return found


def notes_of(part: PackedSequence, problem: Problem | None) -> list[str]:
    """What is known of an example besides its text: kind of pair, error type, and its numbers."""
    notes = [f"{part.extras['kind'] and 'step' or 'full'} pair"] if "kind" in part.extras else []
    if problem is not None and len(part.at) == 2:
        rendering = part.name.removeprefix(f"{problem.id}/")
        kinds = {name: pair.error_type for name, pair in choose_pairs(problem, None, None)}
        notes += [f"error type {kinds[rendering]}"] if kinds.get(rendering) else []
    rest = {name: value for name, value in part.extras.items() if name not in ("kind", "polarity")}
    return notes + [f"{name} {value:g}" for name, value in rest.items()]


def right_answer(
    part: PackedSequence, problem: Problem | None, task: Task, tokenizer: Tokenizer
) -> tuple[Sequence[int], int] | None:
    """For a wrong answer, the tokens of the right answer that shares its longest beginning, and where its own starts.

    None for a right answer, and where the problem has no right answer or the text was shortened.
    """
    if part.extras.get("polarity", 1.0) or problem is None:
        return None
    texts = task.render(problem, tokenizer)
    made = {text.name: make_example(text, problem.id, tokenizer, boundary="allow") for text in texts}
    own = made.get(part.name.removeprefix(f"{problem.id}/"))
    if own is None or own.tokens.tolist() != part.tokens.tolist():
        return None
    right = [x.tokens[x.prompt_tokens :].tolist() for x in made.values() if x.extras.get("polarity") == 1]
    answer = own.tokens[own.prompt_tokens :].tolist()
    return (max(right, key=lambda tokens: common_prefix(tokens, answer)), own.prompt_tokens) if right else None


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """Length of the longest common prefix."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(first), len(second)))
