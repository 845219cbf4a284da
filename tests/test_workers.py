"""Pieces of work on several processes: the same results, also when processes are lost."""

import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from cepscope.errors import CepscopeError, DataError, ParameterError
from cepscope.workers import Share, Workers


def square(number: int) -> int:
    return number**2


def square_of_even(number: int) -> int:
    if number % 2:
        raise DataError(f"{number} is odd")
    return number**2


def square_or_die(folder: str, number: int) -> int:
    """Die at the first try of 3, as a process does that the system ends for want of memory."""
    mark = Path(folder) / "died"
    if number == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


def die(_number: int) -> None:
    time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGKILL)


def settings_of_threads(_number: int) -> tuple[str, ...]:
    return tuple(os.environ.get(name, "") for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"))


@pytest.mark.parametrize("count", [1, 2])
def test_results_come_in_the_order_of_the_pieces(count):
    seen = []
    assert Workers(count=count).map(square, range(7), done=seen.append) == [n**2 for n in range(7)]
    assert sorted(seen) == [n**2 for n in range(7)]


def test_nothing_to_do_is_done():
    assert Workers(count=2).map(square, []) == []


def test_an_error_comes_back_as_it_is():
    with pytest.raises(DataError, match=r"^3 is odd$"):
        Workers(count=2).map(square_of_even, [2, 3, 4])


def test_processes_have_one_thread_for_products():
    assert set(Workers(count=2).map(settings_of_threads, range(3))) == {("1", "1")}


def test_pieces_of_a_lost_process_are_done_again(tmp_path):
    got = Workers(count=2).map(partial(square_or_die, str(tmp_path)), range(8))
    assert got == [n**2 for n in range(8)]
    assert (tmp_path / "died").exists()


def test_a_piece_that_always_ends_its_process_is_given_up():
    with pytest.raises(CepscopeError, match="ended from outside 3 times"):
        Workers(count=2).map(die, range(2))


def test_a_number_that_nobody_chose_can_be_replaced():
    assert Workers().unless_asked(1) == Workers(count=1)
    assert Workers(count=3).unless_asked(1) == Workers(count=3)
    assert Workers(cluster="dask:2").unless_asked(1) == Workers(cluster="dask:2")


@pytest.mark.parametrize(
    "given", [{"count": -1}, {"cluster": "10.0.0.1"}, {"cluster": "dask:0"}, {"count": 2, "cluster": "dask:2"}]
)
def test_what_is_no_place_to_work_is_refused(given):
    with pytest.raises(ParameterError, match=r"Received: \S+"):
        Workers(**given)


def test_shares_are_all_pieces_once():
    shares = [Share.parse(f"{i}/3").of(range(10)) for i in (1, 2, 3)]
    assert sorted(n for share in shares for n in share) == list(range(10))


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "a/b", "-1/2", "1/2/3", ""])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(ParameterError, match=re.escape(f"as 3/8. Received: {text!r}")):
        Share.parse(text)


@pytest.mark.slow
def test_a_cluster_does_the_same(cluster, tmp_path):
    assert Workers(cluster=cluster.address).map(square, range(9), folder=tmp_path) == [n**2 for n in range(9)]
    with pytest.raises(DataError, match=r"^3 is odd$"):
        Workers(cluster=cluster.address).map(square_of_even, [2, 3, 4])
    with pytest.raises(DataError, match="does not see"):
        Workers(cluster=cluster.address).map(square, [1], folder=tmp_path / "absent")


@pytest.mark.slow
def test_a_cluster_loses_a_worker(cluster, tmp_path):
    got = Workers(cluster=cluster.address).map(partial(square_or_die, str(tmp_path)), range(8))
    assert got == [n**2 for n in range(8)]
    assert (tmp_path / "died").exists()


def nap(_number: int) -> None:
    time.sleep(0.5)


INTERRUPTED = """
import sys, time
from cepscope.workers import Workers
try:
    Workers(count=2).map(time.sleep, [0.2] * 100, done=lambda _nothing: print("one", flush=True))
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_an_interrupt_reaches_this_process_only():
    """Ctrl-C goes to all processes of a terminal; those that work would each tell where they were."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    job = subprocess.Popen([sys.executable, "-c", INTERRUPTED], text=True, start_new_session=True, **streams)
    assert job.stdout.readline() == "one\n"
    os.killpg(job.pid, signal.SIGINT)
    assert job.communicate(timeout=60)[1] == ""
    assert job.returncode == 130


@pytest.mark.slow
def test_a_cluster_without_workers_is_not_waited_for(monkeypatch):
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    monkeypatch.setattr("cepscope.workers.PATIENCE", 3)
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as here:
        workers = Workers(cluster=here.scheduler_address)
        with pytest.raises(DataError, match="or its last worker, was lost"):
            workers.map(nap, range(20), done=lambda _nothing: here.scale(0))


@pytest.mark.slow
def test_a_cluster_of_this_machine():
    assert Workers(cluster="dask:2").map(square, range(5)) == [0, 1, 4, 9, 16]
