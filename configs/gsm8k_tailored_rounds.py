"""Tailored learning of SmolLM2-135M-Instruct on GSM8K: a teacher answers the student's own mistakes, three rounds.

Command:  python -m mtjax.rounds configs/gsm8k_tailored_rounds.py --curation.teacher.url=http://localhost:8000/v1
Machine:  one GPU or TPU for the student, and any OpenAI-compatible server for the teacher; its key is taken from
          MTJAX_API_KEY.
Time:     not measured.
Expect:   unknown, because this config has not been run. The paper's student is GPT-J-6B, its teacher ChatGPT.

A round samples 4 solutions of each training problem. Of a problem that was failed, the teacher sees the question and a
wrong solution and writes a right one for it; the student learns these by likelihood, and by a triplet loss that draws
its hidden states to another right solution and away from its own wrong one. What the teacher says is kept in
`teacher/` of the run folder: `--curation.teacher.url= --curation.teacher.recorded=FILE` reads such a file instead.
Data: data/gsm8k/train.jsonl and test.jsonl of GSM8K (Cobbe et al. 2021, MIT licence).
"""

import dataclasses
import pathlib

from mtjax.config import CheckpointConfig, read_file
from mtjax.data.sources.gsm8k import Gsm8k
from mtjax.data.tasks.base import QUESTION_ANSWER
from mtjax.data.tasks.triplet import TripletTask
from mtjax.mistakes.curation.tailored import Tailored
from mtjax.objectives.self_reflection import SelfReflection
from mtjax.runs.rounds.config import Measure, Rounds
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.teacher import Teacher

parent = read_file(pathlib.Path(__file__).with_name("gsm8k_smollm2_nll.py"))

train = dataclasses.replace(
    parent,
    data=dataclasses.replace(
        parent.data,
        source=Gsm8k("data/gsm8k/train.jsonl"),
        task=TripletTask(template=QUESTION_ANSWER, anchors="first"),
        sequence_length=512,
    ),
    objective=SelfReflection(ratio=0.5, margin=1.0),
    held_out=None,
    checkpoint=CheckpointConfig(every=1, keep=2),
    batch_size=16,
    run_dir="runs/gsm8k_tailored_rounds",
)

rounds = Rounds(
    train=train,
    rounds=3,
    sampling=SamplingConfig(samples=4, max_new_tokens=128),
    curation=Tailored(teacher=Teacher(url="http://localhost:8000/v1")),
    passes=2,
    measure=Measure(source=Gsm8k("data/gsm8k/test.jsonl"), samples=4, limit=200),
)
