"""Tokens per second of sampling with SmolLM2-135M in float32, beside transformers and beside another checkout.

python tests/benchmarks/sampling.py mixed --runs=5 --torch=PYTHON --model=FOLDER   # 32 prompts x 128 tokens, greedy
python tests/benchmarks/sampling.py single --torch=PYTHON --model=FOLDER           # one prompt
python tests/benchmarks/sampling.py mined --before=CHECKOUT --problems=16          # GSM8K x 8 samples, temperature 1
python tests/benchmarks/sampling.py mined --before=CHECKOUT --new=512 --rows=32 --problems=4

Every contestant is a process that has loaded the model and compiled its programs; they take turns, so that other load
meets all alike, and medians are compared. PYTHON has torch and transformers; FOLDER is what `python -m mtjax.export
smollm2 FOLDER` writes. CPU seconds stand beside the wall time, because other load hardly moves them. The roofline is
the time that the products need at the measured peak, and the time that the weights, once for each step, and the cache
need at the measured bandwidth.
"""

import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time
from importlib.metadata import version

GSM8K = pathlib.Path(__file__).resolve().parents[2].parent / "shared" / "data" / "gsm8k" / "test.jsonl"
PARAMETERS, LAYERS, CACHED = 134_515_008, 30, 2 * 192  # of SmolLM2-135M; numbers that a layer caches for a token


def workload(name: str, problems: int, new: int = 256, rows: int = 64) -> dict:
    """Prompts and settings: half of the mixed prompts are questions of GSM8K, others are short or have two examples."""
    records = [json.loads(line) for line in GSM8K.read_text().splitlines()]
    chat = lambda text: f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"
    if name == "mined":
        prompts = [chat(one["question"]) for one in records[:problems]]
        return {"prompts": prompts, "new": new, "samples": 8, "rows": rows, "temperature": 1.0}
    mixed = []
    for number in range(32):
        text = records[number]["question"]
        if number % 4 == 0:
            text = f"What is {number + 3} times {number + 5}?"
        elif number % 8 == 7:
            shots = [f"Q: {one['question']}\nA: {one['answer']}" for one in records[100 + number : 102 + number]]
            text = "\n\n".join([*shots, f"Q: {text}\nA:"])
        mixed.append(chat(text))
    common = {"new": 128, "samples": 1, "temperature": 0.0}
    return common | ({"prompts": mixed[1:2], "rows": 1} if name == "single" else {"prompts": mixed, "rows": 32})


def spent() -> tuple[float, float]:
    """CPU seconds of this process, and the time."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime, time.perf_counter()


def ours(work: dict):
    """A call that draws with the mtjax that is on the path, and gives the number of tokens of each answer."""
    from mtjax.runs.loading import load_any
    from mtjax.sampling.config import SamplingConfig
    from mtjax.sampling.texts import sample_texts

    loaded = load_any("smollm2")
    config = SamplingConfig(work["temperature"], max_new_tokens=work["new"], samples=work["samples"])
    tokenizer, rows = loaded.decoding.tokenizer, work["rows"]

    def call() -> list[int]:
        drawn = sample_texts(loaded.model, loaded.params, tokenizer, work["prompts"], config, 0, rows=rows)
        return [len(sample.tokens) for row in drawn for sample in row]

    return call


def theirs(work: dict, folder: str, threads: int):
    """The same with transformers, all prompts in one batch."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    given = tokenizer(work["prompts"], return_tensors="pt", padding=True)
    ends = torch.tensor(model.generation_config.eos_token_id).flatten()
    torch.set_num_threads(threads)

    def call() -> list[int]:
        drawn = model.generate(**given, do_sample=False, max_new_tokens=work["new"])
        new = drawn[:, given.input_ids.shape[1] :]
        ended = torch.isin(new, ends).int().cumsum(1)
        return (ended - torch.isin(new, ends).int() == 0).sum(1).tolist()

    return call


def serve(words: list[str]) -> None:
    """A contestant: load, run once, and run again for every line of standard input."""
    kind, work, *rest = words
    made = ours(json.loads(work)) if kind == "ours" else theirs(json.loads(work), rest[0], int(rest[1]))
    made()
    print("ready", flush=True)
    for _ in sys.stdin:
        cpu, wall = spent()
        lengths = made()
        cpu, wall = (after - before for after, before in zip(spent(), (cpu, wall), strict=True))
        print(json.dumps({"lengths": lengths, "cpu": cpu, "wall": wall}), flush=True)


def roofline(work: dict, lengths: list[int], prompt_tokens: int) -> str:
    """Least seconds for this work on this machine, by its products and by its memory traffic."""
    import numpy as np

    matrix, vector = np.ones((2048, 2048), np.float32), np.ones(64 << 20, np.float32)

    def shortest(call) -> float:
        times = []
        for _ in range(5):
            begun = time.perf_counter()
            call()
            times.append(time.perf_counter() - begun)
        return min(times)

    peak = 2 * 2048**3 / shortest(lambda: matrix @ matrix)
    bandwidth = vector.nbytes / shortest(vector.sum)
    tokens, rows = sum(lengths), min(work["rows"], len(lengths))
    products = 2 * PARAMETERS * (tokens + prompt_tokens * 0.8) / peak  # a prompt's head is computed once
    steps = max(max(lengths), -(-tokens // rows))
    mean = prompt_tokens / max(len(work["prompts"]), 1) + tokens / len(lengths) / 2
    traffic = (steps * PARAMETERS * 4 + tokens * mean * LAYERS * CACHED * 4) / bandwidth
    return (
        f"roofline: products {products:.1f} s at {peak / 1e9:.0f} GFLOP/s, memory {traffic:.1f} s at "
        f"{bandwidth / 1e9:.1f} GB/s of one thread"
    )


def main() -> None:
    """Start the contestants, let them take turns, print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", choices=["mixed", "single", "mined"])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--problems", type=int, default=16, help="of the workload mined, as are --new and --rows")
    parser.add_argument("--new", type=int, default=256, help="longest answer, in tokens")
    parser.add_argument("--rows", type=int, default=64, help="answers drawn side by side")
    parser.add_argument("--torch", help="Python with torch and transformers")
    parser.add_argument("--model", help="Hugging Face folder of the same model")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="of transformers")
    parser.add_argument("--before", help="another checkout of mtjax")
    asked = parser.parse_args()
    work = workload(asked.workload, asked.problems, asked.new, asked.rows)
    here = str(pathlib.Path(__file__).resolve().parents[2])
    own = [sys.executable, __file__, "serve", "ours", json.dumps(work)]
    contestants = {"mtjax": (own, here)}
    if asked.before:
        contestants["before"] = (own, asked.before)
    for threads in asked.threads if asked.torch and asked.model else ():
        words = [asked.torch, __file__, "serve", "theirs", json.dumps(work), asked.model, str(threads)]
        contestants[f"transformers, {threads} thread{'s' * (threads > 1)}"] = (words, "")
    running = {}
    for name, (words, path) in contestants.items():
        env = os.environ | {"PYTHONPATH": path, "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
        running[name] = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
    for name, process in running.items():  # nobody begins while others still compile
        assert process.stdout is not None
        if not process.stdout.readline():
            sys.exit(f"{name} ended: see its error above")
    found: dict[str, list[dict]] = {name: [] for name in running}
    for _ in range(asked.runs):
        for name, process in running.items():
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            if not (line := process.stdout.readline()):
                sys.exit(f"{name} ended: see its error above")
            found[name].append(json.loads(line))
    for process in running.values():
        process.stdin.close()
        process.wait()
    versions = f"jax {version('jax')}, jaxlib {version('jaxlib')}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}"
    print(f"{versions}, {asked.workload}, {asked.runs} runs, medians")
    rate = lambda runs, what: statistics.median(sum(one["lengths"]) / one[what] for one in runs)
    for name, runs in found.items():
        faster = rate(found["mtjax"], "wall") / rate(runs, "wall")
        less = rate(found["mtjax"], "cpu") / rate(runs, "cpu")
        print(
            f"{name}: {sum(runs[0]['lengths']):,} tokens, {rate(runs, 'wall'):.1f} tokens/s, "
            f"{rate(runs, 'cpu'):.1f} tokens per CPU s; mtjax: {faster:.2f} times as fast, {less:.2f} by CPU time"
        )
    from mtjax.data.tokenizer import load_tokenizer

    encode = load_tokenizer("smollm2").encode
    print(roofline(work, found["mtjax"][0]["lengths"], sum(len(encode(text).ids) for text in work["prompts"])))


if __name__ == "__main__":
    serve(sys.argv[2:]) if sys.argv[1:2] == ["serve"] else main()
