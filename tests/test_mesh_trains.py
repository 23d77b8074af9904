"""From config to run folder on a mesh of eight devices; test_every_objective_trains.py has the rest on one."""

import pytest

from mtjax.distributed.sharding import MeshSpec
from mtjax.objectives.rise import Rise
from tests.test_every_objective_trains import trains_resumes_and_is_measured


@pytest.mark.slow
def test_pairs_with_a_reference_train_and_resume_on_a_mesh(tmp_path):
    trains_resumes_and_is_measured(Rise(), tmp_path, mesh=MeshSpec(data=2, fsdp=2, context=2))
