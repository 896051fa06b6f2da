"""Python loads this at its start: a process that may open only 100 files."""

import resource

resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
