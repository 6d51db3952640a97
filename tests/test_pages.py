"""What a person sees in a browser: the start page and the explorer, from our own origin and nowhere else."""

import asyncio
import json
from pathlib import Path

import pytest

from bioscope_gql.web.pages import EXPLORER, Pages
from tests.browser import CHROMIUM, Page, a_page
from tests.lab import PASSWORD, PATIENCE_SECONDS, Lab, a_picture

HTML = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
needs_explorer = pytest.mark.skipif(
    not (EXPLORER / "index.html").exists(), reason="the explorer is not built: make web"
)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")


async def test_a_browser_gets_the_start_page_under_a_strict_policy(lab: Lab) -> None:
    answer = await lab.http.get("/", headers=HTML)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "<script>" not in answer.text
    for name in ("start.css", "start.js", "icon.svg"):
        asset = await lab.http.get(f"/assets/{name}")
        assert asset.status_code == 200, name
        assert asset.headers["x-content-type-options"] == "nosniff"


@needs_explorer
async def test_a_browser_gets_the_explorer_and_programs_get_graphql_at_the_same_address(lab: Lab) -> None:
    page = await lab.http.get("/graphql", headers=HTML)
    program = await lab.http.get("/graphql", params={"query": "{ __typename }"}, headers={"accept": "*/*"})
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "unsafe-eval" not in page.headers["content-security-policy"]
    assert "script-src 'self';" in page.headers["content-security-policy"]
    assert "://" not in page.text
    assert program.json()["data"] == {"__typename": "Query"}


@needs_explorer
async def test_the_explorers_files_may_be_kept_for_ever(lab: Lab) -> None:
    [script, *_] = [file.name for file in (EXPLORER / "assets").glob("index-*.js")]
    answer = await lab.http.get(f"/explorer/assets/{script}")
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert "immutable" in answer.headers["cache-control"]


@pytest.mark.parametrize(
    "path", ["/assets/start.html", "/assets/..%2Fpages.py", "/explorer/assets/%2e%2e%2findex.html"]
)
async def test_no_other_file_is_served(lab: Lab, path: str) -> None:
    answer = await lab.http.get(path)
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (404, "NOT_FOUND")


def test_without_the_explorer_a_page_says_what_to_do(tmp_path: Path) -> None:
    answer = Pages(tmp_path).explorer()
    assert (answer.status_code, b"make web" in answer.body) == (200, True)


async def signed_in(page: Page, login: str) -> None:
    await page.until("document.querySelector('[aria-label*=Account]')")
    await page.run("document.querySelector('[aria-label*=Account]').click()")
    for name, value in (("login", login), ("password", PASSWORD)):
        await page.until(f"document.querySelector('input[name={name}]')")
        await page.run(f"document.querySelector('input[name={name}]').focus()")
        await page.write(value)
    await page.run("document.querySelector('form.bioscope-panel button').click()")
    await page.until("document.querySelector('.bioscope-panel strong')")


async def go_on(page: Page, tab: str, variables: object | None = None) -> None:
    """Open one of the tabs, say what its variables are, and run it."""
    button = (
        f"[...document.querySelectorAll('.graphiql-tab-button')].find(b => b.textContent.includes('{tab}'))"
    )
    await page.until(button)
    await page.run(f"{button}.click()")
    if variables is not None:
        editor = "document.querySelector('.graphiql-editor-tool .monaco-editor .native-edit-context,"
        editor += " .graphiql-editor-tool .monaco-editor textarea')"
        await page.until(editor)
        await page.run(f"{editor}.focus()")
        for kind in ("keyDown", "keyUp"):
            await page.tell(
                "Input.dispatchKeyEvent", type=kind, modifiers=2, key="a", code="KeyA",
                windowsVirtualKeyCode=65, commands=["selectAll"],
            )  # fmt: skip
        text = json.dumps(variables)
        await page.paste(text)
        # GraphiQL heeds what is typed a moment later; then its tabs, which it keeps, say it too.
        tabs = "JSON.parse(localStorage.getItem('graphiql:tabState'))"
        await page.until(f"{tabs}.tabs[{tabs}.activeTabIndex].variables === {json.dumps(text)}")
    await page.until("document.querySelector('.graphiql-execute-button')")
    await page.run("document.querySelector('.graphiql-execute-button').click()")


def shows(text: str) -> str:
    """Whether the answer has a text. Monaco writes blanks as no-break spaces, and only what is in view."""
    answer = "document.querySelector('.graphiql-response')?.textContent.replaceAll('\\u00a0', ' ')"
    return f"{answer}?.includes({text!r})"


@needs_explorer
@needs_chromium
async def test_a_person_does_the_whole_journey_in_the_explorer_without_any_other_network(
    lab: Lab, tmp_path: Path
) -> None:
    ada = await lab.an_analyst()
    dataset = await ada.a_dataset()
    picture = tmp_path / "smear.png"
    picture.write_bytes(a_picture())
    async with lab.a_worker() as worker, a_page(tmp_path / "profile") as page:
        await page.open(f"{lab.url}/graphql")
        await signed_in(page, ada.username)
        await go_on(page, "WhoAmI")
        await page.until(shows(ada.username))

        await page.run("document.querySelector('[aria-label*=Files]').click()")
        await page.until("document.querySelector('input[type=file]')")
        await page.choose("input[type=file]", [picture])
        await go_on(page, "Upload", {"input": {"datasetId": dataset, "files": []}})
        await page.until(shows("UploadedImage"))

        await go_on(page, "Run", {"input": {"target": {"datasetId": dataset}}})
        await page.until(shows("PENDING"))
        run = await lab.db.value("select id::text from classifications")
        await go_on(page, "Watch", {"id": run})
        await page.until(shows("QUEUED"))
        async with asyncio.timeout(PATIENCE_SECONDS):
            await worker.answer(await worker.job())
        await page.until(shows("COMPLETED"))
        await page.picture(tmp_path / "explorer.png")

    assert page.errors == []
    assert {
        request for request in page.requests if not request.startswith((lab.url, "data:", "blob:"))
    } == set()
