"""Which jobs of a partition are done, and so from where a successor would have to read."""


class Progress:
    """The offsets of one partition as one owner of it sees them.

    Jobs are done in any order; only the prefix in which every job is done may be committed. `suspects` of
    them were perhaps in the hands of an owner that died.
    """

    def __init__(self, offset: int, *, suspects: int) -> None:
        self.lost = False
        self._suspects = suspects
        self._open: dict[int, None] = {}
        self._next = offset
        self._committed = offset

    @property
    def held(self) -> int:
        """How many jobs were read and are not done."""
        return len(self._open)

    def read(self, offset: int) -> bool:
        """A job to be done; offsets come in order. Whether it is a suspect."""
        self._open[offset] = None
        self._next = offset + 1
        self._suspects -= 1
        return self._suspects >= 0

    def passed(self, offset: int) -> None:
        """A job that needs nothing done."""
        self._next = offset + 1

    def done(self, offset: int) -> None:
        self._open.pop(offset, None)

    @property
    def prefix(self) -> int:
        """The offset to go on from."""
        return next(iter(self._open), self._next)

    @property
    def to_commit(self) -> int | None:
        """The same, if it has moved since the last commit."""
        return self.prefix if self.prefix > self._committed else None

    def committed(self, offset: int) -> None:
        self._committed = offset
