"""Graders: whether a sample solves its problem, one file for each way to judge it."""

from typing import Annotated, Any

from mtjax.evaluation.graders.answer import AnswerGrader, gold_answer
from mtjax.evaluation.graders.base import GRADERS, Grader
from mtjax.registry import import_modules

import_modules(__name__)

AnyGrader = Annotated[Any, GRADERS]  # The type of a setting that holds a grader; on the command line `grader:steps`.

__all__ = ["GRADERS", "AnswerGrader", "AnyGrader", "Grader", "gold_answer"]
