import pytest
import scipy.linalg  # noqa: F401 - its BLAS is among those that are told
from threadpoolctl import threadpool_info, threadpool_limits

from torchprobe.threads import blas_threads


def blas():
    return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]


@pytest.fixture(autouse=True)
def _two_threads():
    """However many the environment of the tests allows."""
    with threadpool_limits(limits=2, user_api="blas"):
        assert set(blas()) == {2}
        yield


def test_narrow_layers_get_one_thread_of_blas_and_all_come_back():
    before = blas()
    with blas_threads(256):
        assert set(blas()) == {1}
    assert blas() == before


def test_wide_layers_keep_the_threads_there_are():
    before = blas()
    with blas_threads(4096):
        assert blas() == before
