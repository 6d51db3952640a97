"""Whether a file still holds the bytes that were uploaded, found out before any of them is served."""

import asyncio
from collections import OrderedDict
from weakref import WeakValueDictionary

import structlog

from bioscope_gql.storage.disk import OpenFile
from bioscope_gql.transport.ranges import Refused

REMEMBERED = 10_000
DAMAGED = (
    "This picture is damaged: its bytes are not those that were uploaded. "
    "Tell whoever runs the server, who can restore it from a backup."
)

logger = structlog.get_logger()


class Verification:
    """Compares files with their checksums, once for as long as they do not change.

    So each part of a large picture that is read range by range costs no more than its bytes. What rots
    on the disk without another time or size is seen again once it was forgotten, or by another process.
    """

    def __init__(self) -> None:
        self._good: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def refuse_damaged(self, file: OpenFile, sha256: str, *, key: str) -> None:
        """Return if these are the bytes that were uploaded.

        Raises:
            Refused: 500 DAMAGED, they are not; the log names the key.
        """
        if not await self.is_whole(file, sha256):
            logger.error("picture_damaged", key=key)
            raise Refused(500, "DAMAGED", DAMAGED)

    async def is_whole(self, file: OpenFile, sha256: str) -> bool:
        """Whether the bytes are those of this checksum; who asks at the same time waits for one reading."""
        known = (file.tag, sha256)
        lock = self._locks.setdefault(known, asyncio.Lock())
        async with lock:
            if known not in self._good:
                if await file.sha256() != sha256:
                    return False
                self._good[known] = None
                if len(self._good) > REMEMBERED:
                    self._good.popitem(last=False)
            self._good.move_to_end(known)
            return True
