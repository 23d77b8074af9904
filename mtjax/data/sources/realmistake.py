"""ReaLMistake: responses of language models that experts have labelled as right or wrong."""

import dataclasses
import pathlib
from typing import Any, ClassVar

from mtjax.data.problem import Problem
from mtjax.data.sources.base import SOURCES, FileSource, field_of
from mtjax.errors import InputError

TASKS = ("math_word_problem_generation", "finegrained_fact_verification", "answerability_classification")
"""The tasks, which are folders of the published archive; a record that tells none is of the task `realmistake`."""


@SOURCES.register("realmistake")
@dataclasses.dataclass(frozen=True)
class RealMistake(FileSource):
    """ReaLMistake (`data/TASK/MODEL.jsonl`): a prompt, and the response of GPT-4 or Llama 2 with a label by experts.

    The response is the right solution of the prompt, or the wrong one. The problem's source is
    `TASK:MODEL/CATEGORY+CATEGORY` with the categories of its errors; the task is the record's `task_name`, or else the
    name of the file's folder. For detecting errors read it through
    `data.source:error_detection`. Its authors publish a locked archive and ask that examples are not posted as plain
    text: unpack it yourself, and keep it out of repositories.

    Source: Kamoi et al., "Evaluating LLMs at Detecting Errors in LLM Responses", COLM 2024 (arXiv 2404.03602);
    `psunlpgroup/ReaLMistake` at 1419363: its README calls the label of the archive `label`, its code
    (`src/get_dataset_stats`) and the copy on Hugging Face `error_label`, so both are read; the metadata are as in its
    published outputs (`error_detection_outputs`). The archive itself was not opened.
    """

    marks: ClassVar[tuple[str, ...]] = ("llm_response", "human_explanation")
    example: ClassVar[str] = (
        '{"input": "Write a problem whose answer is 7.", "llm_response": "What is 3 + 5?", "label": "error",'
        ' "error_categories": ["Reasoning Correctness"], "human_explanation": "3 + 5 is 8.",'
        ' "metadata": {"task_name": "math_word_problem_generation", "llm_response_model": "gpt-4-0613"}}\n'
    )

    def parse(self, record: Any, where: str, id: str) -> Problem:
        """One right or wrong solution."""
        question, text = (field_of(record, key, str, where) for key in ("input", "llm_response"))
        key = "error_label" if "error_label" in record else "label"
        label = field_of(record, key, str, where)
        if label not in ("error", "no_error"):
            raise InputError(f"{where}: '{key}' is {label!r}; expected 'error' or 'no_error'")
        categories = record.get("error_categories") or []
        if not isinstance(categories, list) or not all(isinstance(one, str) for one in categories):
            raise InputError(f"{where}: 'error_categories' is {categories!r:.80}; expected a list of texts")
        about = record.get("metadata")
        about = about if isinstance(about, dict) else {}
        names = (about.get("task_name"), pathlib.Path(where.rpartition(":")[0]).parent.name)
        task, model = next((name for name in names if name in TASKS), "realmistake"), about.get("llm_response_model")
        task += f":{model}".replace("/", "_") if model else ""
        right, wrong = ((), (text,)) if label == "error" else ((text,), ())
        kinds = f"/{'+'.join(categories)}" if categories and label == "error" else ""
        return Problem(id, question, "", right, wrong, source=f"{task}{kinds}")
