"""mtjax beside its peers on the same work: SmolLM2-135M in float32 on GSM8K text. `make bench PEERS=PYTHON`.

python tests/benchmarks/peers/run.py --peers PYTHON [--work sft dpo] [--laps 5] [--gsm8k train.jsonl] [--out DIR]

PYTHON is an interpreter with torch, transformers, trl and datasets; `--tunix OTHER` adds Tunix, which OTHER has (the
package google-tunix, in an environment of its own). Each peer is measured against mtjax alone: both processes stay and
take two turns each of some laps (steps); the second start of mtjax is warm. A lap's tokens are real ones, padding is
not counted. MFU is what the real tokens need (the head on targets alone, the reference's pass where there is one) over
the fastest float32 product of the model's shapes that XLA, NumPy or torch computes here (`peak.py`). Where other
programs use the processors, figures are printed and no verdict.
"""

import argparse
import json
import os
import pathlib
import random
import re
import statistics
import subprocess
import sys
import time

from mtjax.data.tokenizer import load_tokenizer

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[2]
QUIET = 0.4
"""Load of other programs, per core, from which on no verdict is given."""

TRL = {
    "trl, default": [],
    "trl, no checkpointing": ["gradient_checkpointing=false"],
    "trl, packed": ["gradient_checkpointing=false", "packing=true", "per_device_train_batch_size=2"],
}
"""Settings of TRL. Packed rows have 1,024 tokens: two of them, as mtjax takes, since eight do not fit into 24 GiB."""
OWN = {
    "mtjax": [],
    "mtjax, cached reference": ["CACHED"],
    "mtjax, least memory": ["CACHED", "--model.remat=full", "--chunk=64"],
}
"""Settings of mtjax; all but the first are measured with the work dpo alone, without a peer."""


def contenders(work: str, peers: str, tunix: str | None = None) -> dict[str, list[str]]:
    """The command of each contender, without model and data; mtjax comes first, Tunix last, where there is one."""
    own = {name: [sys.executable, str(HERE / "of_mtjax.py"), work, *words] for name, words in OWN.items()}
    if work == "sft":
        own = {"mtjax": own["mtjax"]}
    threads = str(os.cpu_count())
    settings = {name: words for name, words in TRL.items() if work == "sft" or "packing=true" not in words}
    theirs = {name: [peers, str(HERE / "of_trl.py"), work, threads, *words] for name, words in settings.items()}
    if work == "dpo":
        cached = ["gradient_checkpointing=false", "precompute_ref_log_probs=true"]
        theirs["trl, cached reference"] = [peers, str(HERE / "of_trl.py"), work, threads, *cached]
    else:
        theirs["torch loop"] = [peers, str(HERE / "of_torch.py"), work, threads]
    one = {f"{name}, 1 thread": [*words[:3], "1", *words[4:]] for name, words in theirs.items()}
    script, remats = str(HERE / "of_tunix.py"), {"tunix": "none", "tunix, layers computed again": "decoder"}
    others = {name: [tunix, script, work, f"remat={remat}"] for name, remat in remats.items()} if tunix else {}
    return own | theirs | one | others


def prepare(gsm8k: str, out: pathlib.Path, problems: int = 128) -> dict[str, pathlib.Path]:
    """SmolLM2 as a Hugging Face folder, solutions as prompt and completion, and pairs with one digit changed."""
    out.mkdir(parents=True, exist_ok=True)
    model = out / "smollm2"
    if not model.exists():
        words = [sys.executable, "-m", "mtjax.export", "smollm2", str(model), "--dtype=float32"]
        subprocess.run(words, check=True, cwd=ROOT, stdout=sys.stderr)
    random.seed(0)
    lines = pathlib.Path(gsm8k).read_text().splitlines()[:problems]
    texts, pairs = [], []
    for row in map(json.loads, lines):
        prompt = f"Question: {row['question']}\nAnswer:"
        numbers = list(re.finditer(r"\d", row["answer"]))
        place = random.choice(numbers).start()
        wrong = f"{row['answer'][:place]}{(int(row['answer'][place]) + 1) % 10}{row['answer'][place + 1 :]}"
        texts.append({"prompt": prompt, "completion": " " + row["answer"]})
        pairs.append({"prompt": prompt, "chosen": " " + row["answer"], "rejected": " " + wrong})
    files = {"model": model, "sft": out / "sft.jsonl", "dpo": out / "dpo.jsonl"}
    for name, rows in (("sft", texts), ("dpo", pairs)):
        files[name].write_text("".join(json.dumps(row) + "\n" for row in rows))
    return files


LAYERS, HEAD = 106_203_456, 28_311_552
"""Numbers in the matrices of SmolLM2-135M's layers, and of its head."""


def needed(work: str, name: str, share: float) -> float:
    """GFLOP that a real token needs in one update: 6 for each number of the matrices, and 2 more for a reference."""
    passes = 6 if work == "sft" or "cached" in name or "least" in name else 8
    return passes * (LAYERS + share * HEAD) / 1e9


def share_of_targets(file: pathlib.Path) -> float:
    """The share of the tokens of examples, or of both sides of pairs, that are targets; an end token is one."""
    encode = load_tokenizer("smollm2").encode
    prompts, targets = 0, 0
    for row in map(json.loads, file.read_text().splitlines()):
        sides = [row[name] for name in ("completion", "chosen", "rejected") if name in row]
        prompts += len(sides) * len(encode(row["prompt"]).ids)
        targets += sum(len(encode(text).ids) + 1 for text in sides)
    return targets / (prompts + targets)


def peak(peers: str) -> float:
    """GFLOP/s of the fastest product here, over the libraries at hand."""
    found = {}
    for library, python in {"jax": sys.executable, "numpy": sys.executable, "torch": peers}.items():
        done = subprocess.run([python, str(HERE / "peak.py"), library], check=True, capture_output=True, text=True)
        found[library] = json.loads(done.stdout)["wall"]
    print("peak of float32 products, GFLOP/s:", ", ".join(f"{name} {rate:.0f}" for name, rate in found.items()))
    return max(found.values())


class Process:
    """A contender that waits for its next lap."""

    def __init__(self, name: str, words: list[str], work: str, files: dict[str, pathlib.Path], cache: pathlib.Path):
        cached = "CACHED" in words
        words = [word for word in words if word != "CACHED"]
        words = [*words[:3], str(files["model"]), str(files[work]), *words[3:]]
        if cached:
            words += ["--reference.kind=cached", f"--reference.cache_dir={files[work]}.reference"]
        environment = os.environ | {
            "PEERS_STARTED": repr(time.time()), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false",
            "PYTHONPATH": f"{ROOT}:{HERE}", "JAX_COMPILATION_CACHE_DIR": str(cache / "jax"),
            "PYTHONDONTWRITEBYTECODE": "",
            "GLIBC_TUNABLES": "" if words[1].endswith(("of_trl.py", "of_torch.py")) else "glibc.malloc.hugetlb=1",
        }  # fmt: skip
        self.name, self.log = name, (cache / f"{re.sub(r'[^a-z0-9]+', '_', name)}.log").open("w")
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            words, cwd=HERE, env=environment, stdin=pipe, stdout=pipe, stderr=self.log, text=True
        )
        self.about, self.laps = self.read(), []

    def read(self) -> dict:
        """The next line; ends the benchmark with the end of the contender's log where there is none."""
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} ended: {pathlib.Path(self.log.name).read_text()[-1500:]}")
        return json.loads(line)

    def lap(self, *, counts: bool) -> None:
        """One lap, while the others wait."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        found = self.read()
        self.laps += [found] if counts else []

    def turn(self, laps: int) -> None:
        """Some laps, and one before them that is not counted: a virtual machine may take the memory of who waits."""
        for number in range(laps + 1):
            self.lap(counts=number > 0)

    def end(self) -> dict:
        """Close the process; what it measured."""
        self.process.stdin.close()
        return {"name": self.name, "about": self.about, "laps": self.laps, **self.read()}


def load_of_others(seconds: float = 2.0) -> float:
    """Processor seconds that other programs use per second, from /proc/stat, per core; this one sleeps meanwhile."""
    read = lambda: list(map(int, pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]))
    before = read()
    time.sleep(seconds)
    spent = [now - was for now, was in zip(read(), before, strict=True)]
    return 1 - (spent[3] + spent[4]) / max(sum(spent), 1)


def row_of(found: dict, items: str, gflop: float, limit: float) -> dict:
    """The medians of a contender, whose tokens need `gflop` each where `limit` GFLOP/s are the most."""
    median = lambda name, per: statistics.median(lap[per] / lap[name] for lap in found["laps"])
    return {
        "name": found["name"], "tokens/s": median("wall", "tokens"), "tokens/CPU s": median("cpu", "tokens"),
        "MFU %": 100 * median("wall", "tokens") * gflop / limit,
        f"{items}/s": median("wall", "items"), f"{items}/CPU s": median("cpu", "items"),
        "step 1 begins s": found["about"]["first_step_begins"], "step 1 ends s": found["about"]["first_step_seconds"],
        "peak MiB": found["peak_mib"], "laps": len(found["laps"]),
    }  # fmt: skip


def main() -> None:
    """Measure, print a table for each work, and write every lap to `results.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True, help="interpreter with torch, transformers, trl and datasets")
    parser.add_argument("--tunix", help="interpreter with google-tunix")
    parser.add_argument("--work", nargs="+", default=["sft", "dpo"], choices=["sft", "dpo"])
    parser.add_argument("--only", nargs="+", help="names of the settings to measure, instead of all")
    parser.add_argument("--laps", type=int, default=5)
    parser.add_argument("--gsm8k", default="data/gsm8k/train.jsonl", help="file of GSM8K problems with their answers")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / ".cache" / "peers")
    wanted = parser.parse_args()
    files, results = prepare(wanted.gsm8k, wanted.out.absolute()), []
    busy, limit = load_of_others(), peak(wanted.peers)
    for work in wanted.work:
        share = share_of_targets(files[work])
        all_of_them = contenders(work, wanted.peers, wanted.tunix)
        own = [name for name in all_of_them if name.startswith("mtjax")]
        asked = [name for name in all_of_them if name != own[0] and (not wanted.only or name in wanted.only)]
        for name, ours in [(None, name) if name in own else (name, own[0]) for name in asked]:
            pair = [Process(one, all_of_them[one], work, files, wanted.out.absolute()) for one in (ours, name) if one]
            for laps in (-(-wanted.laps // 2), wanted.laps // 2):
                for one in pair:
                    one.turn(laps)
            found = [one.end() for one in pair]
            items = "examples" if work == "sft" else "pairs"
            rows = [row_of(one, items, needed(work, one["name"], share), limit) for one in found]
            ratio = rows[0]["tokens/s"] / rows[-1]["tokens/s"], rows[0]["tokens/CPU s"] / rows[-1]["tokens/CPU s"]
            for row in rows:
                print(work, " | ".join(f"{key} {x if isinstance(x, str) else round(x, 1)}" for key, x in row.items()))
            if name:
                print(f"{work}: mtjax / {name}: {ratio[0]:.2f} in wall time, {ratio[1]:.2f} in CPU seconds", flush=True)
            results.append({"work": work, "against": name, "found": found})
    busy = max(busy, load_of_others())
    if busy > QUIET:
        print(f"no verdict: other programs used {busy:.0%} of the processors before or after the runs")
    (wanted.out / "results.json").write_text(json.dumps({"busy": busy, "peak": limit, "results": results}, indent=1))


if __name__ == "__main__":
    main()
