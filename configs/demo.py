"""The demo: a small model makes mistakes, is trained on them in four ways, and is measured.

Command:  make demo          (or python -m mtjax.recipe configs/demo.py)
Machine:  2 CPU cores, 6 min 23 s after set-up (time make demo, fresh clone); nothing is downloaded.
Expect:   a start model right half of the time, its own mistakes mined and checked, and a table of pass@1, pass@8
          and maj@8 with intervals over three seeds. Runs, mined solutions and the report are in runs/demo.

The start model is taught, on purpose, a recognisable kind of mistake: four in five of the solutions it imitates drop
carries and borrows, each with probability one half. With errors of many kinds the prefix was not learned.
"""

from mtjax.experiments.config import Demo

recipe = Demo()
