"""What every test starts from."""

import pytest
import torch


@pytest.fixture(autouse=True)
def seeded():
    """Each test draws the same random numbers, whatever ran before it."""
    torch.manual_seed(0)
