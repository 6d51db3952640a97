"""The start page and the explorer, everything from our own origin: no page of ours asks a foreign server."""

import mimetypes
from collections.abc import Mapping
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

HERE = Path(__file__).parent
PAGES = HERE / "pages"
EXPLORER = HERE / "static"
"""What Vite makes of `web/`; it is there once that was built."""

STRICT = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
EXPLORER_POLICY = (
    f"{STRICT}; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:"
)
"""Monaco, its editor, writes styles of its own; scripts come from files only and none is made of text."""

PAGE_POLICY = f"{STRICT}; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
TYPES = {".js": "text/javascript", ".css": "text/css", ".ttf": "font/ttf", ".svg": "image/svg+xml"}
"""What a machine's own table says of these is not always so."""


class Pages:
    """Routes of the pages. Of files only names are served that were there when the process began."""

    def __init__(self, explorer: Path = EXPLORER) -> None:
        self._own = files_of(PAGES)
        self._explorer = files_of(explorer / "assets")
        index = explorer / "index.html"
        self._index = index.read_bytes() if index.is_file() else None

    def routes(self) -> list[Route]:
        return [
            Route("/", self.start),
            Route("/assets/{name}", self.asset),
            Route("/explorer/assets/{name}", self.explorer_asset),
        ]

    async def start(self, _request: Request) -> Response:
        """What this is, whether it is well, and where to go."""
        return page((PAGES / "start.html").read_bytes(), PAGE_POLICY)

    def explorer(self) -> Response:
        """GraphiQL; where it was not built, a page that says how."""
        if self._index is None:
            return page((PAGES / "unbuilt.html").read_bytes(), PAGE_POLICY)
        return page(self._index, EXPLORER_POLICY)

    async def asset(self, request: Request) -> Response:
        return served(self._own, request.path_params["name"], "public, max-age=300")

    async def explorer_asset(self, request: Request) -> Response:
        """Its names change with what is in them, so they may be kept for ever."""
        return served(self._explorer, request.path_params["name"], "public, max-age=31536000, immutable")


def files_of(folder: Path) -> Mapping[str, Path]:
    """The files of a folder by name; pages have routes of their own."""
    if not folder.is_dir():
        return {}
    return {file.name: file for file in folder.iterdir() if file.is_file() and file.suffix != ".html"}


def page(content: bytes, policy: str) -> Response:
    headers = {**HEADERS, "Content-Security-Policy": policy, "Cache-Control": "no-cache", "Vary": "Accept"}
    return Response(content, 200, headers, "text/html; charset=utf-8")


def served(files: Mapping[str, Path], name: str, cache: str) -> Response:
    file = files.get(name)
    if file is None:
        message = f"There is no file {name[:100]!r} here."
        return JSONResponse({"errors": [{"message": message, "extensions": {"code": "NOT_FOUND"}}]}, 404)
    media = TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0]
    return FileResponse(file, headers={**HEADERS, "Cache-Control": cache}, media_type=media)
