"""What speculative decoding with n-gram drafts would gain: SmolLM2-135M in float32, greedy answers to GSM8K questions.

python tests/benchmarks/speculation.py [--problems=20] [--new=128]

A step that checks a draft of w - 1 tokens reads w tokens at once. The script times such steps of the model for each w,
and counts, on answers that the model has written itself, how many tokens a step would yield if drafts were copied from
the text so far: what followed the newest earlier place of its last three, two or one tokens. Both together bound what
speculation can gain: tokens of a step, divided by how much longer it takes than a step of one token.
"""

import argparse
import json
import pathlib
import resource
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from mtjax.runs.loading import load_any
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.texts import sample_texts

GSM8K = pathlib.Path(__file__).resolve().parents[2].parent / "shared" / "data" / "gsm8k" / "test.jsonl"
WIDTHS = (1, 2, 3, 4, 6, 8)


def spent() -> tuple[float, float]:
    """CPU seconds of the process, and the time."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime, time.perf_counter()


def costs(loaded, rows: int, length: int = 256, laps: int = 12) -> dict[int, tuple[float, float]]:
    """CPU seconds and seconds of a step of w tokens for each w, medians, with the widths in turn."""
    model, params = loaded.model, loaded.params

    def step(params, cache, tokens, positions):
        hidden, cache = model.decode(params, cache, tokens, positions)
        return jnp.argmax(model.logits(params, hidden), axis=-1), cache

    compiled = jax.jit(step, donate_argnums=1)
    found: dict[int, list] = {width: [] for width in WIDTHS}
    for lap in range(laps + 1):
        for width in WIDTHS:
            cache = model.init_cache(rows, length)
            tokens = np.full((rows, width), 7 + lap, np.int32)
            positions = np.tile(128 + np.arange(width, dtype=np.int32), (rows, 1))
            jax.block_until_ready(cache)
            before = spent()
            jax.block_until_ready(compiled(params, cache, tokens, positions))
            after = spent()
            if lap:
                found[width].append([b - a for a, b in zip(before, after, strict=True)])
    return {width: tuple(map(statistics.median, zip(*one, strict=True))) for width, one in found.items()}


def drafted(context: list[int], count: int) -> list[int]:
    """A draft of at most `count` tokens: what followed the newest earlier place of the last three, two or one."""
    for size in (3, 2, 1):
        tail = context[-size:]
        for start in range(len(context) - size - 1, -1, -1):
            if context[start : start + size] == tail:
                return context[start + size : start + size + count]
    return []


def yields(prompt: list[int], answer: list[int], width: int) -> float:
    """Tokens per step when the answer is written with drafts of `width - 1` tokens."""
    done, steps = 0, 0
    while done < len(answer):
        draft = drafted([*prompt, *answer[:done]], width - 1) if width > 1 else []
        right = 0
        while right < len(draft) and done + right < len(answer) and draft[right] == answer[done + right]:
            right += 1
        done, steps = min(done + right + 1, len(answer)), steps + 1
    return len(answer) / max(steps, 1)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=20)
    parser.add_argument("--new", type=int, default=128)
    wanted = parser.parse_args()
    loaded = load_any("smollm2")
    questions = [json.loads(line)["question"] for line in GSM8K.read_text().splitlines()[: wanted.problems]]
    prompts = [loaded.decoding.prompt(question) for question in questions]
    config = SamplingConfig(temperature=0.0, max_new_tokens=wanted.new)
    drawn = sample_texts(loaded.model, loaded.params, loaded.tokenizer, prompts, config, 0, rows=20)
    texts = [
        (loaded.tokenizer.encode(prompt).ids, list(row[0].tokens)) for prompt, row in zip(prompts, drawn, strict=True)
    ]
    kept = {width: statistics.mean(yields(*one, width) for one in texts) for width in WIDTHS}
    for rows in (1, 8, 32):
        cost = costs(loaded, rows)
        for width in WIDTHS:
            ratio = [cost[width][place] / cost[1][place] for place in (0, 1)]
            times = ", ".join(
                f"{value * 1e3:.1f} {unit}" for value, unit in zip(cost[width], ("CPU ms", "ms"), strict=True)
            )
            gains = [kept[width] / one for one in ratio]
            print(
                f"{rows} rows, steps of {width} tokens: {times}, {ratio[0]:.2f} and {ratio[1]:.2f} of one token; "
                f"{kept[width]:.2f} tokens a step: gain {gains[0]:.2f} in CPU seconds, {gains[1]:.2f} in time"
            )


if __name__ == "__main__":
    main()
