"""What processes that share a run tell each other, two of them as threads that meet at a barrier."""

import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest

from companion.errors import InputError
from companion.estimate.processes import ALONE, Processes, Together, launched


@pytest.mark.parametrize("number", ["0", "1"])
def test_others_that_do_not_come_are_waited_for(monkeypatch, number):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    for name, value in {"RANK": number, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("companion.estimate.processes._PATIENCE", timedelta(seconds=1))
    with pytest.raises(InputError, match=f"WORLD_SIZE is 2, expected so many processes that meet at 127.0.0.1:{port}"):
        launched()


def in_two(work):
    """What `work` gives, or raises, in each of two processes that gather each other's words."""
    said, meeting = ["", ""], Barrier(2, timeout=30.0)

    def process(number):
        def gathered(text):
            said[number] = text
            meeting.wait()
            found = list(said)
            meeting.wait()  # before the next word
            return found

        try:
            return work(Processes(number, 2, number, gathered))
        except Exception as error:
            return error

    with ThreadPoolExecutor(2) as both:
        return list(both.map(process, range(2)))


def failing(number):
    if number == 1:
        raise ValueError("no such luck")
    return number


def test_what_one_process_meets_all_raise():
    found = in_two(lambda processes: processes.together(lambda: failing(processes.number)))
    assert [type(each) for each in found] == [Together, Together]
    assert {str(each) for each in found} == {f"{found[0]}"}
    assert "no such luck" in str(found[0]) and str(found[0]).endswith("(process 1)")


def test_what_none_meets_each_has():
    assert in_two(lambda processes: processes.together(lambda: processes.number)) == [0, 1]


def test_the_first_does_and_all_know():
    done = []
    assert in_two(lambda processes: processes.by_first(lambda: done.append(processes.number))) == [None, None]
    assert done == [0]
    for each in in_two(lambda processes: processes.by_first(lambda: failing(1))):
        assert isinstance(each, Together) and str(each).endswith("(process 0)")


def test_each_process_has_a_device_of_its_machine(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    found = [Processes(local, 8, local).device("cuda") for local in range(6)]
    assert found == ["cuda:0", "cuda:1", "cuda:2", "cuda:3", "cuda:0", "cuda:1"]
    assert Processes(5, 8, 5).device("cuda:0") == "cuda:1"
    assert (ALONE.device("cuda:2"), Processes(5, 8, 5).device("cpu")) == ("cuda:2", "cpu")


def test_alone_an_error_is_as_it_is():
    with pytest.raises(ValueError, match="no such luck"):
        ALONE.together(lambda: failing(1))
