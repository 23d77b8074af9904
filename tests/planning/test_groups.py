"""Groups of devices in all their spellings, and which mesh axis they run along."""

import numpy as np
import pytest

from mtjax.planning.collectives import axes_of, read_groups


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("replica_groups={{0,1},{2,3}}, use_global_device_ids=true", [[0, 1], [2, 3]]),
        ("replica_groups=[2,4]<=[8], x", [[0, 1, 2, 3], [4, 5, 6, 7]]),
        # iota(8) as [4,2], turned to [2,4]: 0 2 4 6 / 1 3 5 7, and then in rows of 4.
        ("replica_groups=[2,4]<=[4,2]T(1,0), x", [[0, 2, 4, 6], [1, 3, 5, 7]]),
        ("replica_groups=mesh['a'=2,'b'=4] {'b'}, x", [[0, 1, 2, 3], [4, 5, 6, 7]]),
        ("replica_groups=mesh['a'=2,'b'=4] {'a'}, x", [[0, 4], [1, 5], [2, 6], [3, 7]]),
        # device_ids: iota(8) as [2,4], turned, is 0 4 1 5 2 6 3 7; axis a of 4 strides over it by 2.
        ("replica_groups=mesh['a'=4,'b'=2], device_ids=([2,4]T(1,0)) {'a'}, x", [[0, 1, 2, 3], [4, 5, 6, 7]]),
        # Of an axis of 8 the middle part of 2 behind 2: 0..7 as [2,2,2], groups along the second.
        ("replica_groups=mesh['a'=8] {'a':(2)2}, x", [[0, 2], [1, 3], [4, 6], [5, 7]]),
        ("channel_id=1, source_target_pairs={{0,1},{1,0},{2,3}}", [[0, 1], [1, 0], [2, 3]]),
        ("replica_groups={}, x", [[0, 1, 2, 3, 4, 5, 6, 7]]),
    ],
)
def test_every_spelling(text, groups):
    assert read_groups(text, 8).tolist() == groups


@pytest.mark.parametrize(
    ("groups", "axes"),
    [
        ([[0, 1, 2, 3], [4, 5, 6, 7]], "fsdp+tensor"),
        ([[0, 4], [1, 5], [2, 6], [3, 7]], "data"),
        ([[0, 1], [2, 3], [4, 5], [6, 7]], "tensor"),
        ([[0, 1, 2, 3, 4, 5, 6, 7]], "data+fsdp+tensor"),
        ([[0, 3], [1, 2]], "fsdp+tensor (part)"),  # differs in both, but has two of the four
    ],
)
def test_axes_of_a_mesh_of_two_by_two_by_two(groups, axes):
    assert axes_of(np.array(groups), (2, 2, 2), ("data", "fsdp", "tensor")) == axes
