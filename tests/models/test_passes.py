"""Passes side by side: the same bits for any number of threads."""

import threading

import numpy as np
import pytest
import torch

from cmburden.detect.candidates import probability_map
from cmburden.detect.grid import NetworkVolume
from cmburden.detect.network import SpotNet
from cmburden.models import passes
from cmburden.models.passes import side_by_side
from cmburden.models.precision import FAST, SINGLE

CPU = torch.device("cpu")


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("number", [1, 3])
def test_each_pass_has_one_thread_and_no_gradients(threads, number):
    threads(number)
    seen = side_by_side(
        [lambda: (torch.get_num_threads(), torch.is_inference_mode_enabled())] * 5, CPU, SINGLE
    )
    assert seen == [(1, True)] * 5 and torch.get_num_threads() == number


def test_results_are_in_order_and_passes_run_at_the_same_time(threads):
    threads(3)
    meeting = threading.Barrier(3, timeout=60)  # broken unless three wait for each other

    def one(number: int) -> int:
        meeting.wait()
        return number

    numbers = [lambda n=n: one(n) for n in range(3)]
    assert side_by_side(numbers, CPU, SINGLE) == [0, 1, 2]


def test_few_passes_lie_in_memory(threads):
    threads(64)
    at_once, most = [], []
    lock = threading.Lock()

    def one() -> None:
        with lock:
            at_once.append(1)
            most.append(len(at_once))
        threading.Event().wait(0.01)
        with lock:
            at_once.pop()

    side_by_side([one] * 12, CPU, SINGLE)
    assert max(most) <= passes._MOST


def test_a_fault_of_a_pass_is_raised_and_the_threads_are_as_before(threads):
    threads(2)

    def ill() -> None:
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        side_by_side([ill, lambda: None], CPU, SINGLE)
    assert torch.get_num_threads() == 2


def test_half_precision_is_that_of_each_thread(threads, monkeypatch):
    monkeypatch.setattr("cmburden.models.precision.half_of", lambda device: torch.bfloat16)
    threads(2)
    kinds = {
        how: side_by_side([lambda: (torch.ones(4, 4) @ torch.ones(4, 4)).dtype] * 2, CPU, how)
        for how in (SINGLE, FAST)
    }
    assert kinds == {SINGLE: [torch.float32] * 2, FAST: [torch.bfloat16] * 2}


def test_the_map_of_a_scan_does_not_depend_on_the_threads(threads):
    rng = np.random.default_rng(0)
    image = rng.normal(1, 0.3, (48, 52, 60)).astype(np.float32)
    volume = NetworkVolume(image, np.ones_like(image), np.eye(4), (0.75, 0.75, 2.0))
    torch.manual_seed(0)
    network = SpotNet(4).eval()
    maps = []
    for number in (1, 2, 4):
        threads(number)
        maps.append(probability_map(network, volume, CPU))
    assert maps[0].tobytes() == maps[1].tobytes() == maps[2].tobytes()
