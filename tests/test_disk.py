"""What the disk store does beyond the promise of all stores: files, modes, races, links, a full disk."""

import asyncio
import fcntl
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioscope_gql.storage.blobs import BlobMissing, StoreUnavailable
from bioscope_gql.storage.disk import DiskStore
from bioscope_gql.storage.folder import DRAFT_SECONDS, DRAFTS
from tests.stores import a_disk_store, keys_of, read

KEY = "images/a/b"
LARGE = bytes(range(256)) * (64 << 10)
"""16 MiB."""

SEGMENTS = st.text(alphabet="ab-._0", min_size=1, max_size=3).filter(lambda text: text[0] not in "-._")
KEYS = st.lists(SEGMENTS, min_size=1, max_size=4).map("/".join)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data" / "files"


@pytest.fixture
async def store(root: Path) -> AsyncIterator[DiskStore]:
    async with a_disk_store(root) as store:
        yield store


async def put(store: DiskStore, key: str = KEY, data: bytes | Path = b"x") -> None:
    await store.put(key, data, content_type="image/png", sha256=None)


def drafts(root: Path) -> list[str]:
    return os.listdir(root / DRAFTS)


async def test_files_are_for_their_owner_only(store: DiskStore, root: Path) -> None:
    before = os.umask(0)
    try:
        await put(store)
    finally:
        os.umask(before)

    assert (root / KEY).read_bytes() == b"x"
    modes = {path.relative_to(root).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*")}
    assert modes == {".drafts": 0o700, "images": 0o700, "images/a": 0o700, "images/a/b": 0o600}
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


async def test_reading_a_folder_that_is_not_there_makes_none(store: DiskStore, root: Path) -> None:
    assert await keys_of(store) == []
    await store.delete([KEY])
    with pytest.raises(BlobMissing):
        await read(store, KEY)
    assert not root.exists()


async def test_directories_that_become_empty_are_removed(store: DiskStore, root: Path) -> None:
    await put(store, "images/a/b/c")
    await put(store, "images/d")
    await store.delete(["images/a/b/c"])
    assert sorted(os.listdir(root / "images")) == ["d"]
    await store.delete(["images/d"])
    assert os.listdir(root) == [DRAFTS]


async def test_a_put_that_is_cancelled_leaves_no_draft_and_the_old_bytes(
    store: DiskStore, root: Path
) -> None:
    await put(store, data=b"old")
    pipe = root.parent / "pipe"
    os.mkfifo(pipe)
    task = asyncio.create_task(put(store, data=pipe))
    writer = await asyncio.to_thread(open, pipe, "wb")  # returns once the store has begun to read
    with suppress(BrokenPipeError), writer:  # broken where the thread saw the end before it saw more
        await asyncio.to_thread(writer.write, LARGE[: 2 << 20])
        [draft] = drafts(root)
        async with asyncio.timeout(10):
            while (root / DRAFTS / draft).stat().st_size < 2 << 20:  # until it waits for more
                await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()  # it waits for its thread, which waits for the pipe
        writer.write(b"more")
    with pytest.raises(asyncio.CancelledError):
        await task

    assert drafts(root) == []
    assert await read(store, KEY) == b"old"


async def test_puts_and_deletions_of_neighbours_never_hinder_each_other(store: DiskStore) -> None:
    """A deletion removes the directory into which a put is about to rename its draft."""

    async def come_and_go(number: int) -> None:
        key = f"images/a/{number % 3}/{number}"
        for _ in range(60):
            await put(store, key, b"%d" % number)
            await store.delete([key])
        await put(store, key, b"%d" % number)

    await asyncio.gather(*(come_and_go(number) for number in range(8)))
    assert [await read(store, key) for key in sorted(await keys_of(store))] == [
        b"%d" % number for number in (0, 3, 6, 1, 4, 7, 2, 5)
    ]


async def test_one_key_may_be_written_deleted_and_read_at_once(store: DiskStore) -> None:
    written, left = [bytes([number]) * 300_000 for number in range(4)], 2

    async def write() -> None:
        nonlocal left
        for data in written * 10:
            await put(store, data=data)
        left -= 1

    async def delete() -> None:
        while left:
            await store.delete([KEY])

    async def look() -> None:
        for _ in range(60):
            with suppress(BlobMissing):
                assert await read(store, KEY) in written
            assert await keys_of(store) in ([], [KEY])

    await asyncio.gather(write(), write(), delete(), look(), look())


async def test_two_processes_may_share_a_folder(root: Path) -> None:
    program = (
        "import asyncio, sys; from pathlib import Path; from tests import stores\n"
        "async def main(root, key):\n"
        "    async with stores.a_disk_store(Path(root)) as store:\n"
        "        for _ in range(150):\n"
        "            await store.put(key, b'x', content_type='image/png', sha256=None)\n"
        "            await store.delete([key])\n"
        "asyncio.run(main(*sys.argv[1:]))\n"
    )
    running = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, str(root), f"images/a/{name}", cwd=Path(__file__).parents[1]
        )
        for name in "ab"
    ]
    assert [await process.wait() for process in running] == [0, 0]


async def test_symbolic_links_are_never_followed(store: DiskStore, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    await put(store, "images/a/b")
    (root / "images/a/link").symlink_to(outside / "secret")
    (root / "images/way").symlink_to(outside)

    assert await keys_of(store) == ["images/a/b"]
    for key in ("images/a/link", "images/way/secret"):
        with pytest.raises(StoreUnavailable, match="is a symbolic link"):
            await read(store, key)
    for refused in (
        put(store, "images/way/secret"),
        put(store, "images/way/new"),
        store.delete(["images/way/secret"]),
    ):
        with pytest.raises(StoreUnavailable, match="is a symbolic link"):
            await refused
    assert {path.name: path.read_bytes() for path in outside.iterdir()} == {"secret": b"secret"}

    await put(store, "images/a/link", b"a file now")
    await store.delete(["images/a/link", "images/a/b"])
    assert (outside / "secret").read_bytes() == b"secret"


async def test_the_folder_itself_may_be_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "files").symlink_to(tmp_path / "disk")
    async with a_disk_store(tmp_path / "files") as store:
        await put(store)
        assert await keys_of(store) == [KEY]
        await store.delete([KEY])


async def test_what_others_put_there_is_neither_listed_nor_entered(store: DiskStore, root: Path) -> None:
    await put(store)
    deep = root / "lost+found" / Path(*["x"] * 30)
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(b"x")
    (root / "Thumbs.db").write_bytes(b"x")
    (root / "images" / ".DS_Store").write_bytes(b"x")
    os.mkfifo(root / "images" / "pipe")
    assert await keys_of(store) == [KEY]


@settings(max_examples=40, deadline=None)
@given(
    keys=st.sets(KEYS, max_size=12), prefix=st.one_of(st.just(""), KEYS), after=st.one_of(st.just(""), KEYS)
)
def test_a_listing_equals_the_sorted_keys(keys: set[str], prefix: str, after: str) -> None:
    files = {key for key in keys if not any(other.startswith(f"{key}/") for other in keys)}

    async def list_them() -> list[str]:
        with tempfile.TemporaryDirectory() as folder:
            for key in files:
                path = Path(folder, key)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
            async with a_disk_store(Path(folder)) as store:
                return await keys_of(store, prefix, after)

    assert asyncio.run(list_them()) == sorted(key for key in files if key.startswith(prefix) and key > after)


async def test_the_check_clears_old_drafts_away_and_leaves_those_that_are_young_or_held(root: Path) -> None:
    (root / DRAFTS).mkdir(parents=True)
    old, held, young = (root / DRAFTS / name for name in ("old", "held", "young"))
    for file in (old, held, young):
        file.write_bytes(b"half a picture")
    now = young.stat().st_mtime
    for file in (old, held):
        os.utime(file, (now - DRAFT_SECONDS - 1,) * 2)
    os.utime(young, (now - DRAFT_SECONDS + 60,) * 2)
    with held.open("rb") as file_of_another:
        fcntl.flock(file_of_another, fcntl.LOCK_EX)
        async with a_disk_store(root, clock=lambda: now) as store:
            await store.check()
            assert await keys_of(store) == []
    assert sorted(drafts(root)) == ["held", "young"]


async def test_a_folder_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    async with a_disk_store(tmp_path / "file") as store:
        with pytest.raises(StoreUnavailable) as raised:
            await store.check()
    assert (
        str(raised.value)
        == f"The picture store {tmp_path / 'file'} does not work: Not a directory. Check the disk."
    )


ON_A_SMALL_DISK = """
import asyncio, sys
from pathlib import Path
from tests import stores
from bioscope_gql.storage.blobs import StoreUnavailable

async def main(root):
    async with stores.a_disk_store(root / "files") as store:
        async def put(key, data):
            await store.put(key, data, content_type="image/png", sha256=None)
        await put("images/a", b"old")
        for key in ("images/a", "images/b"):
            try:
                await put(key, bytes(3 << 20))
            except StoreUnavailable as error:
                print(error)
        print(await stores.keys_of(store), await stores.read(store, "images/a"))
        print(list((root / "files/.drafts").iterdir()))
        await put("images/a", b"new")
        print(await stores.read(store, "images/a"))

asyncio.run(main(Path(sys.argv[1])))
"""


def in_a_namespace(*command: str) -> list[str]:
    return ["unshare", "--user", "--map-root-user", "--mount", *command]


def test_a_full_disk_is_named_and_harms_nothing(tmp_path: Path) -> None:
    mount = f"mount -t tmpfs -o size=2m none {tmp_path}"
    if (
        not shutil.which("unshare")
        or subprocess.run(in_a_namespace("sh", "-c", mount), check=False).returncode
    ):
        pytest.skip("this machine lets us mount no small disk of our own")
    ran = subprocess.run(
        in_a_namespace(
            "sh", "-c", f'{mount} && exec "$@"', "sh", sys.executable, "-c", ON_A_SMALL_DISK, str(tmp_path)
        ),
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    full = f"The disk of the picture store {tmp_path}/files is full. Make room there and try again."
    assert ran.stdout.splitlines() == [full, full, "['images/a'] b'old'", "[]", "b'new'"], ran.stderr
