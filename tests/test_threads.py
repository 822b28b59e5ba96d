import threading

import pytest
import scipy.linalg  # noqa: F401 - its BLAS is among those that are told
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from torchprobe.threads import blas_threads, in_threads


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


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_all_work_is_done_once_however_many_threads_there_are(monkeypatch, n, n_threads):
    monkeypatch.setattr(torch, "get_num_threads", lambda: n_threads)
    done = [0] * n

    def work(items):
        for at in range(*items.indices(n)):
            done[at] += 1

    in_threads(work, n)
    assert done == [1] * n


def test_little_work_stays_in_its_thread(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    threads = set()
    in_threads(lambda _: threads.add(threading.get_ident()), 7, at_least=4)
    assert threads == {threading.get_ident()}


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_in_any_thread_is_raised(monkeypatch, failing):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)

    def work(items):
        if items.start == failing:
            raise KeyError(items.start)

    with pytest.raises(KeyError, match=str(failing)):
        in_threads(work, 2)
