"""The processes that a test has started, among those that were there before it."""

import psutil

LIMIT_SECONDS = 20


class Children:
    """Made before a test starts any: what it lists afterwards is the test's own."""

    def __init__(self) -> None:
        self._before = set(psutil.Process().children(recursive=True))

    def now(self) -> list[psutil.Process]:
        return [each for each in psutil.Process().children(recursive=True) if each not in self._before]


def gone(processes: list[psutil.Process]) -> bool:
    """Whether all of them end, within some seconds; a zombie whose parent was killed has ended too."""
    _, left = psutil.wait_procs(processes, timeout=LIMIT_SECONDS)
    return all(process.status() == psutil.STATUS_ZOMBIE for process in left)
