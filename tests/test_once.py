"""Work that several want is done once, for as long as anybody wants it."""

import asyncio

import pytest

from bioscope_gql.live.once import Once


class Workshop:
    """Work that ends when it is told to."""

    def __init__(self) -> None:
        self.begun = self.cancelled = 0
        self.result: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def work(self) -> str:
        self.begun += 1
        try:
            return await self.result
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_all_who_want_the_same_get_one_result_and_so_does_who_comes_soon_after() -> None:
    once, shop = Once[str](), Workshop()
    asked = [asyncio.create_task(once.get("key", shop.work)) for _ in range(3)]
    await turns()
    shop.result.set_result("done")
    assert await asyncio.gather(*asked) == ["done"] * 3
    assert await once.get("key", shop.work) == "done"
    assert await once.get("another", shop.work) == "done"
    assert shop.begun == 2


async def test_who_leaves_takes_nothing_from_the_others() -> None:
    once, shop = Once[str](), Workshop()
    first, second = (asyncio.create_task(once.get("key", shop.work)) for _ in range(2))
    await turns()
    first.cancel()
    await turns()
    shop.result.set_result("done")
    assert await second == "done"
    assert first.cancelled()
    assert (shop.begun, shop.cancelled) == (1, 0)


async def test_work_that_nobody_waits_for_any_more_is_ended_before_the_last_has_left() -> None:
    once, shop = Once[str](), Workshop()
    asked = [asyncio.create_task(once.get("key", shop.work)) for _ in range(2)]
    await turns()
    for task in asked:
        task.cancel()
    await asyncio.wait(asked)
    assert (shop.begun, shop.cancelled) == (1, 1)
    again = Workshop()
    again.result.set_result("new")
    assert await once.get("key", again.work) == "new"


async def test_a_failure_is_told_to_all_who_wait_and_to_nobody_after() -> None:
    once, shop = Once[str](), Workshop()
    asked = [asyncio.create_task(once.get("key", shop.work)) for _ in range(2)]
    await turns()
    shop.result.set_exception(LookupError("no"))
    assert [str(each) for each in await asyncio.gather(*asked, return_exceptions=True)] == ["no", "no"]
    again = Workshop()
    again.result.set_result("yes")
    assert await once.get("key", again.work) == "yes"


async def test_a_result_is_forgotten_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bioscope_gql.live.once.GOOD_SECONDS", 0.0)
    once, shop = Once[str](), Workshop()
    shop.result.set_result("done")
    await once.get("key", shop.work)
    await turns()
    await once.get("key", shop.work)
    assert shop.begun == 2
