"""Ranks that fail or hang end with their cause, and nothing keeps running."""

import sys
import time

import pytest

from .launcher import LaunchError, launch

pytestmark = pytest.mark.engines


def test_every_rank_runs_and_is_heard():
    assert launch("engines.launched", ["well"], ranks=3, group=False) == [f"rank {rank} of 3\n" for rank in range(3)]


def test_a_rank_that_fails_ends_all_and_tells_why():
    began = time.monotonic()
    with pytest.raises(LaunchError, match=r"rank 1 with 1\.\n(.|\n)*ValueError: the cause"):
        launch("engines.launched", ["fail"], ranks=3, group=False)
    assert time.monotonic() - began < 60  # the others sleep for ten minutes


def test_ranks_that_hang_show_where():
    with pytest.raises(LaunchError, match=r"The time was up(.|\n)*launched\.py"):
        launch("engines.launched", ["hang"], ranks=2, timeout_s=2, group=False)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the names of threads from /proc")
def test_no_thread_of_a_process_group_outlives_it():
    # One that does may abort the process when the interpreter is gone, after everything went well.
    assert launch("engines.leaving", ranks=2, group=False) == ["True []\n"] * 2
