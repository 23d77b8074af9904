"""Settings of the experiments in configs/: the start model and its problems, which all share, and what each adds."""

import dataclasses

from mtjax.data.sources.arithmetic import Arithmetic
from mtjax.errors import InputError
from mtjax.model.decoder import DecoderConfig
from mtjax.optim import OptimConfig
from mtjax.validation import PositiveInt, check_types


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setup:
    """The start model, its training data, and the budget of every arm; part of each experiment."""

    init_from: str | None = None
    """What the start model itself starts from: a run folder, a Hugging Face folder, a hub id or `smollm2`, with its own
    tokenizer; None trains a new one on the tokenizer of the task."""
    model: DecoderConfig = DecoderConfig(max_length=128)
    """Shape of a new decoder, whose `vocab_size` is the tokenizer's; with `init_from`, its adapter."""
    start_source: Arithmetic = Arithmetic(count=20_000, split="train", slip_probability=0.5, habit_share=0.8)
    """What the start model imitates; `habit_share` of it drops carries and borrows, which plants a kind of mistake."""
    check_source: Arithmetic = Arithmetic(count=96, seed=2, split="validation")
    """Problems of the stop rule; used for nothing else."""
    test_source: Arithmetic = Arithmetic(count=160, seed=3, split="test")  # Held-out problems to measure on.
    optim: OptimConfig = OptimConfig(learning_rate=3e-3, warmup_steps=100, schedule="constant", b2=0.98)
    """Optimizer of the start model."""
    arm_optim: OptimConfig = OptimConfig(learning_rate=1e-3, warmup_steps=20, schedule="constant", b2=0.98)
    """Optimizer of every arm, with fresh moments."""
    batch_size: PositiveInt = 64  # Rows per update, an even number; a pair has two.
    start_batch_size: PositiveInt | None = None  # Rows per update of the start model; None takes `batch_size`.
    sequence_length: PositiveInt = 96  # Tokens per row.
    max_segments: PositiveInt = 3  # Most examples in a row.
    start_steps: PositiveInt = 900  # Budget of the start model; the experiment fails if the stop rule does not hold.
    check_every: PositiveInt = 50  # Steps between checks of the stop rule.
    target: tuple[float, float] = (0.4, 0.7)
    """The stop rule: sampled accuracy (pass@1 at temperature 1) on `check_source` within these bounds."""
    arm_steps: PositiveInt = 120  # Updates of each arm.
    seeds: tuple[int, ...] = (0, 1, 2)  # Seeds of the arms; each is trained once per seed.
    samples: PositiveInt = 16  # Solutions per test problem, at temperature 1.
    answer_length: PositiveInt = 64  # Most tokens of a solution.
    rows: PositiveInt = 512  # Solutions that are drawn side by side.
    ks: tuple[int, ...] = (1, 2, 4, 8)  # k of pass@k; at most `samples`.
    seed: int = 0  # Seed of the start model and of all sampling.
    output: str = "runs/demo"  # Folder of the report, its plots and `results.json`.

    def __post_init__(self) -> None:
        check_types(self)
        if self.model.adapter is not None and self.init_from is None:
            raise InputError("model.adapter: an adapter needs a trained model to stand on; name it with --init_from")
        low, high = self.target
        if not 0 <= low < high <= 1:
            raise InputError(f"target={self.target}: expected 0 <= low < high <= 1, such as (0.3, 0.7)")
        check_ks(self.ks, self.samples, "ks", "samples")
        if not self.seeds:
            raise InputError("seeds=(): expected at least one seed")
        if self.batch_size % 2:
            raise InputError(f"batch_size={self.batch_size}: expected an even number, so that pairs fill the same rows")
        check_looks(getattr(self, "looks", 1), self.arm_steps)


def check_ks(ks: tuple[int, ...], samples: int, name: str, of: str) -> None:
    """Raise InputError unless every k can be estimated from so many samples."""
    if not ks or max(ks) > samples or min(ks) < 1:
        raise InputError(f"{name}={ks}: expected numbers from 1 to {of}={samples}")


def check_looks(looks: int, steps: int) -> None:
    """Raise InputError for more measurements than steps."""
    if looks > steps:
        raise InputError(f"looks={looks}: expected at most one measurement per step, of which there are {steps}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Overfit:
    """Cross-entropy against DCO on a training set small enough to overfit, within the demo.

    It starts from an early checkpoint of the start model. Once that has the planted mistake and no other, exact
    solutions cure it within 50 steps, and coverage does not fall: measured, pass@1 .43 to .85, pass@32 .96 to .97.
    """

    start_at: float = 0.1  # Start at the first check of the stop rule with at least this sampled accuracy.
    source: Arithmetic = Arithmetic(count=300, seed=5, split="train")  # The training set, with exact solutions.
    test_source: Arithmetic = Arithmetic(count=192, seed=6, split="test")  # Held-out problems.
    n: PositiveInt = 32  # Samples that DCO trains for.
    steps: PositiveInt = 120  # Updates of each arm.
    looks: PositiveInt = 3  # Measurements of pass@k during each arm, the end included.
    samples: PositiveInt = 32  # Solutions per held-out problem, at temperature 1.
    ks: tuple[int, ...] = (1, 8, 32)  # k of pass@k; at most `samples`.

    def __post_init__(self) -> None:
        check_types(self)
        check_ks(self.ks, self.samples, "ks", "samples")
        check_looks(self.looks, self.steps)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Demo(Setup):
    """Learn from one's own mistakes, on generated arithmetic: start, mine, continue in four ways, measure."""

    mine_source: Arithmetic = Arithmetic(count=800, seed=1, split="train")
    """Problems to mine: the model solves them, the checker says which solutions are right."""
    mine_samples: PositiveInt = 4  # Solutions drawn per mined problem, at temperature 1.
    overfit: Overfit = Overfit()  # The small training set.

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.overfit.start_at <= self.target[0]:
            raise InputError(
                f"overfit.start_at={self.overfit.start_at}: expected 0 to target[0]={self.target[0]}, where the start "
                "model stops at the latest"
            )


METHODS = ("right only", "no prefix", "mistake tuning", "DPO + NLL", "RISE", "DCO", "unlikelihood")
"""Names of the methods of a comparison; configs/compare.py defines them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison(Setup):
    """Seven ways to go on from one's own right and wrong solutions, at equal forward positions, each at its best rate.

    A killed run resumes: each arm is written to `output` as soon as it is done.
    """

    methods: tuple[str, ...] = METHODS
    """Which methods, and in which order; the first is what the others are compared with, and must be "right only"."""
    mine_source: Arithmetic = Arithmetic(count=800, seed=1, split="train")
    """Problems to mine: the model solves them, the checker says which solutions are right."""
    mine_samples: PositiveInt = 8  # Solutions drawn per mined problem, at temperature 1.
    validation_source: Arithmetic = Arithmetic(count=128, seed=4, split="validation")
    """Problems on which learning rates are chosen; they share no expression with the test problems."""
    rates: tuple[float, ...] = (1e-4, 3e-4, 1e-3, 3e-3)  # The grid of learning rates, the same for every method.
    tune_seed: int = 100  # Data order of the arms that choose the learning rate; not one of `seeds`.
    tune_samples: PositiveInt = 8  # Solutions per validation problem.
    tune_k: PositiveInt = 1  # The rate with the highest pass@k on validation problems is taken, for this k.
    looks: PositiveInt = 4  # Measurements of pass@k during each arm, the end included.
    full_pairs: PositiveInt = 4  # Most pairs of whole solutions per problem, for DPO + NLL and RISE.
    step_pairs: PositiveInt = 4  # Most pairs of steps with an injected error per problem, for RISE.
    beta: float = 0.4  # Beta of DPO + NLL and RISE; 0.4 is RISE's released code.
    nll_weight: float = 0.2
    """Weight of their gated cross-entropy, summed over tokens. RISE's own is not known; half of beta pulls, while the
    gate is open, as hard as DPO does at the reference."""
    dco_n: PositiveInt = 32  # Samples that DCO trains for; the largest k that is measured makes the two match.
    unlikelihood_weight: float = 0.001
    """Weight of the tokens of wrong solutions. Most are right ones near p = 1, where -log(1 - p) is steep: measured on
    validation problems after 50 steps, weight 0.1 ends at pass@1 .03, 0.01 at .43 and 0.001 at .60."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ks((self.tune_k,), self.tune_samples, "tune_k", "tune_samples")
        if self.methods[:1] != METHODS[:1] or len(set(self.methods)) < len(self.methods):
            raise InputError(f"methods={self.methods}: expected {METHODS[0]!r} first, and none twice")
        if not self.rates or min(self.rates) <= 0:
            raise InputError(f"rates={self.rates}: expected learning rates above 0")
        if self.tune_seed in self.seeds:
            raise InputError(f"tune_seed={self.tune_seed} is one of seeds={self.seeds}: choose another")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Coverage(Setup):
    """Does cross-entropy on a small training set lose coverage while pass@1 rises, and does DCO keep it?

    Everything is done once per seed: a start model, a training set of its own, and both arms. A killed run resumes.
    """

    train_source: Arithmetic = Arithmetic(count=500, seed=500, split="train")
    """The small training set, with exact solutions; seed s of `seeds` takes that of source seed `seed + s`."""
    n: PositiveInt = 32  # Samples that DCO trains for.
    looks: PositiveInt = 5  # Measurements of pass@k during each arm, the end included.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Map(Setup):
    """When do mistakes help: a factorial of methods, data and starts, each cell trained and measured by itself.

    Several processes may run the same command at once on one `output`: they share the folder alone, and each takes the
    cells that nobody has. A killed process loses the cell that it was at.
    """

    mine_source: Arithmetic = Arithmetic(count=1600, seed=1, split="train", sums_first=True)
    """Problems to mine with each start model; a cell trains on the first of them."""
    mine_samples: PositiveInt = 8  # Solutions drawn per mined problem, at temperature 1.
    validation_source: Arithmetic = Arithmetic(count=96, seed=4, split="validation", sums_first=True)
    """Problems on which learning rates are chosen; they share no expression with any test problems."""
    more_steps: Arithmetic = Arithmetic(count=80, seed=5, split="test", min_operands=5, max_operands=6, sums_first=True)
    """Test problems with more steps than any training problem."""
    larger_numbers: Arithmetic = Arithmetic(count=80, seed=6, split="test", low=1, high=29, sums_first=True)
    """Test problems with numbers of which some are larger than any of training."""
    other_order: Arithmetic = Arithmetic(count=80, seed=7, split="test", sums_first=False)
    """Test problems with an order of sums and differences that no training problem has."""
    rates: tuple[float, ...] = (1e-4, 3e-4, 1e-3)  # Learning rates to choose from, the same for every method.
    tune_seed: int = 100  # Data order of the runs that choose the learning rate; not one of the others.
    tune_samples: PositiveInt = 8  # Solutions per validation problem.
    extra_seeds: tuple[int, ...] = (3, 4)
    """Seeds that are added to a cell, and to what it is compared with, where a main interval includes 0."""
    line: tuple[float, ...] = (0.25, 0.5, 0.75)  # Places between start (0) and end (1) to measure.
    contrast_weight: float = 1.0  # Weight of the contrast of the right and the wrong prefix as a decoder.
    weak_at: float = 0.15  # The weaker model: the first check of the stop rule with at least this sampled accuracy.
    level: float = 0.05  # Level of the rule for "helps", after adjustment.
    slices: tuple[str, ...] = ()  # Run only these slices; none given runs all.
    cells: tuple[str, ...] = ()  # Run only the cells with these names; none given runs all.
    page: str = ""  # A Markdown file to write the results into, between its two marks.

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.rates or min(self.rates) <= 0:
            raise InputError(f"rates={self.rates}: expected learning rates above 0")
        if set(self.seeds) & set(self.extra_seeds) or self.tune_seed in (*self.seeds, *self.extra_seeds):
            raise InputError(
                f"seeds={self.seeds}, extra_seeds={self.extra_seeds}, tune_seed={self.tune_seed}: expected every one "
                "once"
            )
        if not 0 < self.weak_at <= self.target[0]:
            raise InputError(f"weak_at={self.weak_at}: expected more than 0 and at most target[0]={self.target[0]}")
        if any(not 0 < place < 1 for place in self.line):
            raise InputError(f"line={self.line}: expected places between 0 and 1; both ends are measured anyway")
        if not 0 < self.level < 1:
            raise InputError(f"level={self.level}: expected a number between 0 and 1, such as 0.05")

    @property
    def tests(self) -> dict[str, Arithmetic]:
        """The test sets by name, that of the training distribution first."""
        return {
            "as trained": self.test_source,
            "more steps": self.more_steps,
            "larger numbers": self.larger_numbers,
            "other order": self.other_order,
        }
