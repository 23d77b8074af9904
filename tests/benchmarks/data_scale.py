"""Measures the first pass and the second start on generated data, and the input wait with a simulated device.

python tests/benchmarks/data_scale.py generate FILE EXAMPLES [WORDS]
python tests/benchmarks/data_scale.py start FILE CACHE [PROCESSES]   # twice: the first pass, then the second start
python tests/benchmarks/data_scale.py wait FILE CACHE         # 40 steps of 0.25 s, 64 x 2,048 tokens
"""

import json
import random
import resource
import sys
import time


def generate(file: str, examples: str, words: str = "20") -> None:
    """Write a file of short examples, each with about so many words in its answer."""
    chance = random.Random(0)
    vocabulary = [f"word{number} " for number in range(2_000)]
    with open(file, "w") as out:
        for _ in range(int(examples)):
            a, b = chance.randint(10, 999), chance.randint(10, 999)
            answer = "".join(chance.choices(vocabulary, k=int(words) - 19)) if int(words) > 20 else ""
            record = {
                "prompt": f"Tom has {a} apples and buys {b} more. How many apples are there now?",
                "completion": f"{answer}{a} + {b} = {a + b}, so there are {a + b} apples.",
            }
            out.write(json.dumps(record) + "\n")


def start(file: str, cache: str, processes: str = "0"):
    """Batches of a file; prints seconds to the first batch, tokens per second, and memory."""
    from mtjax.data.ahead import read_ahead
    from mtjax.data.batches import DataConfig, make_batches
    from mtjax.data.sources import Jsonl
    from mtjax.data.tasks import CompletionTask
    from mtjax.data.tokenizer import load_tokenizer

    def peak(whose: int = resource.RUSAGE_SELF) -> float:
        return resource.getrusage(whose).ru_maxrss / 1024

    tokenizer, before, began = load_tokenizer("smollm2"), peak(), time.perf_counter()
    config = DataConfig(
        source=Jsonl(file), task=CompletionTask(), sequence_length=2048, cache_dir=cache, workers=int(processes) or None
    )
    batches = make_batches(config, tokenizer, batch_size=64, seed=0)
    batches.batch_at(0)
    seconds, tokens = time.perf_counter() - began, batches.report.tokens
    print(batches.report)
    print(batches.made_of)
    print(f"{seconds:.1f} s to the first batch, {tokens:,} tokens, {tokens / seconds:,.0f} a second")
    print(f"peak memory {peak():,.0f} MiB, {peak() - before:,.0f} more than with the tokenizer alone")
    both = (resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    cpu = sum(one.ru_utime + one.ru_stime for one in both)
    print(f"peak memory of a worker {peak(resource.RUSAGE_CHILDREN):,.0f} MiB; {cpu:,.0f} CPU seconds in all")
    return read_ahead(batches)


def wait(file: str, cache: str) -> None:
    """The share of time that a loop of 0.25 s a step waits for its batches."""
    batches = start(file, cache)
    batches.batch_at(0)
    first, began = batches.waited(), time.perf_counter()
    for step in range(1, 41):
        time.sleep(0.25)
        batches.batch_at(step)
    total = time.perf_counter() - began
    print(f"waited {batches.waited() - first:.3f} s of {total:.1f} s: {(batches.waited() - first) / total:.2%}")
    batches.close()


if __name__ == "__main__":
    {"generate": generate, "start": start, "wait": wait}[sys.argv[1]](*sys.argv[2:])
