"""The demo: a small model makes mistakes, is trained on them in four ways, and is evaluated.

Command:  make demo
          After the set-up this is the same as python -m mtjax.recipe configs/demo.py
Machine:  2 CPU cores, 6 min 23 s after set-up (`time make demo` in a fresh clone). Nothing is downloaded.
Expect:   a start model that is right half of the time; its own mistakes, mined and verified; and a table of pass@1,
          pass@8 and maj@8 with intervals over three seeds. Runs, mined solutions and the report are in runs/demo.

The start model is deliberately trained to make a recognisable kind of mistake: four in five of its training solutions
drop each carry and borrow with probability one half. With errors of many kinds, the prefix was not learned.
"""

from mtjax.experiments.config import Demo

recipe = Demo()
