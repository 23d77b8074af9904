"""What a run says of itself: lines that survive a kill, the model's FLOPs by hand, what TensorBoard is told."""

import json
import struct
from typing import NamedTuple

import jax
import numpy as np
import pytest
from tensorboardX.proto import event_pb2

from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.training.metrics_log import MetricsLog, Progress, StepFlops, Work, cut_back, flops_per_token, peak_flops
from mtjax.training.trackers import Tracked
from mtjax.training.trackers.tensorboard import TensorBoard


class Device(NamedTuple):
    device_kind: str
    platform: str = "tpu"


def test_cut_back_keeps_whole_lines_up_to_the_step(tmp_path):
    file = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"step": step, "loss": 1 / 3}) for step in (1, 2, 3)]
    file.write_bytes("\n".join([*lines, "[1]", "null", '{"loss": 2}']).encode() + b'\n\xff\xfe\n{"step": 2, "lo')
    cut_back(file, 2)
    assert file.read_text().splitlines() == lines[:2]
    cut_back(tmp_path / "none", 2)


def test_lines_hold_every_bit(tmp_path):
    log = MetricsLog(Tracked(tmp_path, {}))
    log.write(1, {"loss": 1 / 3})
    log.close()
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"step": 1, "loss": 1 / 3}


def events(folder):
    """Records of TensorBoard files: length (8 bytes), its checksum (4), an event, its checksum (4)."""
    for file in sorted(folder.iterdir()):
        data = file.read_bytes()
        while data:
            size = struct.unpack("<Q", data[:8])[0]
            yield event_pb2.Event.FromString(data[12 : 12 + size])
            data = data[16 + size :]


def test_tensorboard_forgets_what_a_killed_process_logged_of_later_steps(tmp_path):
    log = MetricsLog(Tracked(tmp_path, {}, first=7), [TensorBoard()])
    log.write(8, {"loss": 0.5})
    log.close()
    found = list(events(tmp_path / "tensorboard"))
    assert [event.step for event in found if event.session_log.status == event_pb2.SessionLog.START] == [8]
    assert [(event.step, value.tag, value.simple_value) for event in found for value in event.summary.value] == [
        (8, "loss", 0.5)
    ]


@pytest.mark.parametrize("tied", [False, True])
def test_flops_by_hand(tied):
    # Layers 2, H 2, K 4, G 1, D 8, F 16, V 10. A block: q 8*8, k and v 8*4 each, o 8*8, MLP 3*8*16, two norms of 8:
    # 64 + 64 + 64 + 384 + 16 = 592. Two blocks, the last norm, a head of 8*10: 1184 + 8 + 80 = 1272. Attention over
    # T = 5: 6*2*2*4*5 = 480. Together 6*1272 + 480 = 8112; a tied head is the embedding, counted once as well.
    shape = DecoderConfig(
        vocab_size=10, width=8, layers=2, heads=2, kv_heads=1, head_dim=4, mlp_width=16, max_length=5, tied=tied
    )
    params = jax.eval_shape(make_language_model(shape).init, jax.random.key(0))
    count = sum(x.size for x in jax.tree.leaves(params)) - (0 if tied else 10 * 8)
    assert flops_per_token(count, shape.layers, shape.heads, shape.head_dim, 5) == 8112


@pytest.mark.parametrize("passes", [[3], [3, 1], [4, 2]])
def test_the_work_of_a_step_by_hand(passes):
    # As above: N = 1272 parameters, attention 2 L H K = 2 * 2 * 2 * 4 = 32 a pass and pair of positions, causal halves.
    shape = DecoderConfig(
        vocab_size=10, width=8, layers=2, heads=2, kv_heads=1, head_dim=4, mlp_width=16, max_length=5, tied=False
    )
    flops, params = StepFlops(), jax.eval_shape(make_language_model(shape).init, jax.random.key(0))
    for count in passes:
        flops.add(shape, params, count)
    pairs = np.array([[[1, 1, 2, 2, 2], [1, 1, 1, 1, 0]], [[1, 0, 0, 0, 0], [0, 0, 0, 0, 0]]])
    # 10 tokens of 20, on both sides, in texts of 2, 3, 4 and 1: the squares of their lengths add up to 30.
    tokens, each = 10, 2 * 1272 * 10 + 32 * 30
    assert flops.work(pairs, rows=2)[:2] == (tokens, sum(passes) * each)
    assert flops.work(pairs, rows=8)[:2] == (4 * tokens, 4 * sum(passes) * each)  # three other hosts have as many
    assert flops.work(0 * pairs, rows=2)[:2] == (0, 0)


def test_peaks_are_the_tables_and_a_cpu_has_none():
    assert peak_flops([Device("TPU v5 lite")] * 4) == 4 * 197e12  # not "TPU v5"
    assert peak_flops([Device("NVIDIA H100 80GB HBM3", "gpu")]) == 989e12
    assert peak_flops([Device("NVIDIA H100 PCIe", "gpu")]) == 756e12
    assert peak_flops([Device("cpu", "cpu")] * 8) is None  # its measured peak swings, so MFU came out above 100 %


def test_progress_by_hand(capsys, monkeypatch):
    clock = iter([0.0, 10.0, 12.0, 14.0])  # made; the first step, which compiled; two steps of two seconds
    monkeypatch.setattr("mtjax.training.metrics_log.time.perf_counter", lambda: next(clock))
    progress = Progress(total=63, start=0, peak=1e4)
    assert progress.update(1, 2.0, Work(100, 5000)) == {}  # a speed of 0 would be no speed
    progress.update(2, 2.0, Work(100, 5000, waited=0.5))
    # 200 tokens in 4 seconds: 50 a second, times 50 FLOPs over 1e4 is a quarter; 60 steps of 2 seconds are left.
    found = progress.update(3, 1.5, Work(100, 5000, waited=0.1))
    assert 0.01 < found.pop("time/memory_gb") < 1000
    assert found.pop("time/step") == 2.0
    assert found == {"time/tokens_per_second": 50.0, "time/mfu": 0.25, "time/input_wait": pytest.approx(0.15)}
    progress.said = -100.0
    monkeypatch.setattr("mtjax.training.metrics_log.time.perf_counter", lambda: 14.0)
    progress.update(3, 1.5, Work(0, 0))
    assert "step 3/63  loss 1.5000  50 tokens/s  MFU 25.0%  2:00 left" in capsys.readouterr().out
