"""The process that compiles, started by `environment`: a request on stdin, the answer in the file of its argument."""

import dataclasses
import json
import pathlib
import sys
from typing import Any

from mtjax import config as settings
from mtjax.errors import InputError
from mtjax.planning.topologies import find_topology


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """The reports of a request, as JSON: `{"reports": [...]}`, the first is what was asked for."""
    from mtjax.planning.compile import plan
    from mtjax.planning.search import nearest_that_fits, search

    config = settings.load(request["config"], request["overrides"])
    topology = find_topology(request["topology"], request["slices"])
    said = " ".join([request["config"], *request["overrides"]])
    run = lambda config, said, topology=topology: plan(
        config, topology, level=request["level"], phase=request["phase"], said=said, scratch=request["scratch"]
    )
    if request["search"]:
        return {"reports": [report.to_json() for report in search(config, topology, run, said, request["tries"])]}
    report = run(config, said)
    if not report.memory.fits:
        found = nearest_that_fits(config, topology, run, said, request["tries"])
        report = dataclasses.replace(report, advice=found)
    return {"reports": [report.to_json()]}


def main() -> int:
    """Answer one request."""
    request = json.loads(sys.stdin.read())
    try:
        made = answer(request)
    except InputError as error:
        made = {"error": str(error)}
    pathlib.Path(sys.argv[1]).write_text(json.dumps(made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
