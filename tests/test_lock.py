import subprocess
import sys
from pathlib import Path

import pytest

from realtime.lock import AlreadyServing, ServeLock

HOLD = """
import sys
from pathlib import Path
from realtime.lock import ServeLock
lock = ServeLock(Path(sys.argv[1]), shared=False)
lock.take()
print("taken", flush=True)
sys.stdin.read()
"""


def test_a_second_server_on_the_same_folder_is_refused_by_a_sentence(tmp_path: Path) -> None:
    first, second = ServeLock(tmp_path, shared=False), ServeLock(tmp_path, shared=False)
    first.take()
    with pytest.raises(AlreadyServing) as refused:
        second.take()
    assert str(refused.value) == (
        f"Another Wirelog server already uses {tmp_path} (it holds serve.lock). "
        "Stop it first, or give both the same REDIS_URL so that they share every stream."
    )
    first.release()
    second.take()
    second.release()


@pytest.mark.parametrize("held, wanted, granted", [(True, True, True), (True, False, False), (False, True, False)])
def test_servers_that_redis_joins_share_it_and_one_alone_does_not(tmp_path: Path, held: bool, wanted: bool, granted: bool) -> None:
    first, second = ServeLock(tmp_path, held), ServeLock(tmp_path, wanted)
    first.take()
    if granted:
        second.take()
    else:
        with pytest.raises(AlreadyServing):
            second.take()
    second.release()
    first.release()


def test_releasing_what_was_never_taken_is_no_error(tmp_path: Path) -> None:
    ServeLock(tmp_path, shared=False).release()


def test_the_kernel_takes_it_from_a_process_that_is_killed(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"taken\n"
        lock = ServeLock(tmp_path, shared=False)
        with pytest.raises(AlreadyServing):
            lock.take()
        holder.kill()
        holder.wait()
        lock.take()
        lock.release()
