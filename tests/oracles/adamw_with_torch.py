"""Run by an interpreter with torch: five steps of AdamW with clipping and a decay mask, for `tests/optim`.

`python tests/oracles/adamw_with_torch.py > tests/optim/adamw_torch.json` makes the golden values again.
"""

import json

import numpy as np
import torch

SETTINGS = {"learning_rate": 0.01, "b1": 0.9, "b2": 0.95, "eps": 1e-8, "clip_norm": 1.0}
DECAY = {"kernel": 0.1, "scale": 0.0, "bias": 0.0}  # what mtjax decays by default


def golden():
    """Start, gradients and the parameters after each step."""
    rng = np.random.default_rng(0)
    shapes = {"kernel": (3, 4), "scale": (4,), "bias": (4,)}
    draw = lambda size: {name: np.round(size * rng.normal(size=shape), 4).tolist() for name, shape in shapes.items()}
    start = draw(1.0)
    gradients = [draw(size) for size in (2.0, 0.05, 1.0, 0.0, 3.0)]  # clipped and not
    params = {name: torch.tensor(value, requires_grad=True) for name, value in start.items()}
    groups = [{"params": [params[name]], "weight_decay": DECAY[name]} for name in params]
    betas = (SETTINGS["b1"], SETTINGS["b2"])
    optimizer = torch.optim.AdamW(groups, lr=SETTINGS["learning_rate"], betas=betas, eps=SETTINGS["eps"])
    after = []
    for gradient in gradients:
        for name, value in gradient.items():
            params[name].grad = torch.tensor(value)
        torch.nn.utils.clip_grad_norm_(params.values(), SETTINGS["clip_norm"])
        optimizer.step()
        after.append({name: value.detach().tolist() for name, value in params.items()})
    return {"settings": SETTINGS, "start": start, "gradients": gradients, "params": after}


if __name__ == "__main__":
    print(json.dumps(golden()))
