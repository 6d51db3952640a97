"""Which jobs of a partition are done, and so from where a successor would have to read."""


class Progress:
    """The offsets of one partition as one owner of it sees them.

    Jobs are done in any order; only the prefix in which every job is done may be committed.
    """

    def __init__(self) -> None:
        self.lost = False
        self._open: dict[int, None] = {}
        self._next = 0
        self._committed = 0

    @property
    def held(self) -> int:
        """How many jobs were read and are not done."""
        return len(self._open)

    def read(self, offset: int) -> None:
        """A job to be done; offsets come in order."""
        self._open[offset] = None
        self._next = offset + 1

    def passed(self, offset: int) -> None:
        """A job that needs nothing done."""
        self._next = offset + 1

    def done(self, offset: int) -> None:
        self._open.pop(offset, None)

    @property
    def to_commit(self) -> int | None:
        """The offset to go on from, if it has moved since the last commit."""
        prefix = next(iter(self._open), self._next)
        return prefix if prefix > self._committed else None

    def committed(self, offset: int) -> None:
        self._committed = offset
