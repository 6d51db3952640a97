"""Links to pictures and their thumbnails: what they open, for whom, for how long."""

import io

import httpx
import pytest
from PIL import Image

from tests.clients import a_client
from tests.lab import Lab, Refused, a_picture
from tests.test_images import PNG, one

LINKS = """
query ($id: ID!, $seconds: Int! = 300) {
  image(id: $id) { downloadUrl(expiresIn: $seconds) thumbnailUrl
    small: thumbnailUrl(size: SMALL) large: thumbnailUrl(size: LARGE) }
}
"""


async def test_links_lead_to_the_original_and_its_thumbnails(lab: Lab) -> None:
    ada = await lab.a_user()
    data = a_picture(3, (600, 300))
    image = await one(ada, "血 1.png", data)
    links = await ada.ask(LINKS, id=image["id"])
    async with a_client() as anybody:
        original = await anybody.get(links["downloadUrl"])
        part = await anybody.get(links["downloadUrl"], headers={"range": "bytes=10-19"})
        thumbnails = [await anybody.get(links[name]) for name in ("small", "thumbnailUrl", "large")]

    assert (original.status_code, original.content) == (200, data)
    assert original.headers["content-type"] == "image/png"
    assert original.headers["x-content-type-options"] == "nosniff"
    assert original.headers["content-disposition"] == (
        "attachment; filename=\"_ 1.png\"; filename*=UTF-8''%E8%A1%80%201.png"
    )
    assert (part.status_code, part.content) == (206, data[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(data)}"
    for answer, longest in zip(thumbnails, (128, 256, 512), strict=True):
        assert (answer.headers["content-type"], answer.headers["content-disposition"]) == (
            "image/webp",
            "inline",
        )
        with Image.open(io.BytesIO(answer.content)) as opened:
            assert (opened.format, opened.size) == ("WEBP", (longest, longest // 2))


async def test_an_altered_or_expired_link_opens_nothing(lab: Lab) -> None:
    ada = await lab.a_user()
    image, other = await one(ada), await one(ada, data=a_picture(5))
    link = (await ada.ask(LINKS, id=image["id"], seconds=1))["downloadUrl"]
    expiry = int(httpx.URL(link).params["exp"])
    key = await lab.db.value("select storage_path from images where id = $1::uuid", image["id"])
    foreign = await lab.db.value("select storage_path from images where id = $1::uuid", other["id"])
    altered = [
        link.replace(f"exp={expiry}", f"exp={expiry + 3600}"),
        link.replace(key, foreign),
        link.replace("cell.png", "cell.html"),
        link.replace("image/png", "text/html"),
        link[:-1] + ("A" if link[-1] != "A" else "B"),
        link.partition("?")[0],
    ]
    answers = [await lab.http.get(each) for each in altered]
    assert [(each.status_code, PNG in each.content) for each in answers] == [(403, False)] * len(altered)

    await lab.until("select extract(epoch from clock_timestamp()) >= $1", expiry)
    expired = await lab.http.get(link)
    assert (expired.status_code, expired.json()["error"]["code"]) == (403, "LINK_EXPIRED")


async def test_a_link_lives_one_second_to_one_hour(lab: Lab) -> None:
    ada = await lab.a_user()
    image = await one(ada)
    for seconds in (0, 3601, -1, 2**31):
        with pytest.raises(Refused) as wrong:
            await ada.ask(LINKS, id=image["id"], seconds=seconds)
        assert wrong.value.codes == ["BAD_USER_INPUT"], seconds
    for seconds in (1, 3600):
        assert (await ada.ask(LINKS, id=image["id"], seconds=seconds))["downloadUrl"].startswith(lab.url)
