"""What every test starts from, and what none may leave behind."""

import pytest
import torch
from processes import Processes
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack


@pytest.fixture(autouse=True)
def seeded():
    """Each test draws the same random numbers, whatever ran before it."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def undisturbed():
    """No dispatch mode of ours outlives the forward pass that it followed."""
    yield
    assert not _get_current_dispatch_mode_stack(), "a dispatch mode was left on the stack"


@pytest.fixture(scope="module")
def two():
    """Two processes, for the tests of one file."""
    processes = Processes(2)
    yield processes
    processes.close()
