"""A device: puts each number that it is told into its spool, and says it back once it is taken. Arguments: URL, key file, folder."""

import sys
from pathlib import Path

from clients import wirelog_spool
from tests.waiting import SECONDS

# When number 0 was measured.
EPOCH = 1_700_000_000


def main(url: str, key_file: str, folder: str) -> None:
    # A test does not wait as long as a device would.
    wirelog_spool.FIRST_PAUSE, wirelog_spool.LONGEST_PAUSE = 0.05, 0.2
    with wirelog_spool.Spool(url, "lobby", Path(key_file).read_text(), "pi", folder) as spool:
        for line in sys.stdin:
            spool.put({"n": int(line)}, time=EPOCH + int(line))
            sys.stdout.write(line)
            sys.stdout.flush()
        spool.close(SECONDS)


if __name__ == "__main__":
    main(*sys.argv[1:])
