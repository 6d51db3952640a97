"""A worker as a process: what signals, a killed process and a parent's end do to the work in hand."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bioscope_gql.events.messages import Topics
from bioscope_gql.worker.options import Options, from_command_line
from tests.worker_lab import LIMIT_SECONDS, ROOT, Lab, a_lab, a_process, logged

pytestmark = pytest.mark.timeout(90)

PROGRAM = """
import os
from pathlib import Path
from bioscope_gql.worker.sdk import Picture, Worker

worker = Worker("m", "1")

@worker.classify
def classify(picture: Picture) -> dict[str, float]:
    if picture.data.startswith(b"/"):
        Path(picture.data.decode()).read_bytes()  # a named pipe: until somebody writes into it
    if picture.data == b"deadly":
        os._exit(9)
    return {"a": 1}

worker.main()
"""


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with a_lab(tmp_path) as lab:
        yield lab


@pytest.fixture
def program(tmp_path: Path) -> Path:
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    return file


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A picture with this path in it is classified when `go` is called."""
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path


async def go(gate: Path) -> None:
    await asyncio.wait_for(asyncio.to_thread(gate.write_bytes, b"go"), LIMIT_SECONDS)


async def exit_code(process: asyncio.subprocess.Process) -> int:
    return await asyncio.wait_for(process.wait(), LIMIT_SECONDS)


@pytest.mark.parametrize("asked_by", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_finishes_what_is_in_hand_and_leaves_the_rest_to_the_next(
    lab: Lab, program: Path, gate: Path, asked_by: signal.Signals
) -> None:
    in_hand, waiting = lab.a_job(bytes(gate)), [lab.a_job() for _ in range(4)]
    async with a_process(lab, program, "--concurrency", "1") as first:
        await lab.send(in_hand)
        await lab.said_of(in_hand, until=("started",))
        await lab.send(*waiting)
        first.send_signal(asked_by)
        await logged(lab, "pictures are in hand")
        await go(gate)
        answer = await lab.answer(in_hand)
        assert await exit_code(first) == 0
    announced = await lab.workers.until(lambda messages: len(messages) >= 2)

    async with a_process(lab, program, "--concurrency", "1"):
        answers = [await lab.answer(job) for job in waiting]

    assert answer["status"] == "ok"
    assert [message["status"] for message in announced] == ["up", "down"]
    assert [message["status"] for message in lab.results.messages] == ["started", *["ok"] * 5]
    assert answer["worker"]["name"] not in {each["worker"]["name"] for each in answers}


async def test_work_that_outlasts_the_stop_is_given_up_and_comes_again(
    lab: Lab, program: Path, gate: Path
) -> None:
    job = lab.a_job(bytes(gate))
    async with a_process(lab, program, "--stop-seconds", "0.2") as first:
        await lab.send(job)
        await lab.said_of(job, until=("started",))
        first.terminate()
        assert await exit_code(first) == 1

    async with a_process(lab, program):
        await lab.results.until(lambda messages: len(messages) >= 2)
        await go(gate)
        said = await lab.said_of(job)

    assert [message["status"] for message in said] == ["started", "started", "ok"]


async def test_a_worker_that_is_killed_loses_nothing(lab: Lab, program: Path, gate: Path) -> None:
    in_hand, others = lab.a_job(bytes(gate)), [lab.a_job() for _ in range(5)]
    async with a_process(lab, program, "--concurrency", "1") as first:
        await lab.send(in_hand)
        await lab.said_of(in_hand, until=("started",))
        await lab.send(*others)
        first.kill()
        assert await exit_code(first) == -signal.SIGKILL
    assert await lab.committed("m@1") == 0

    async with a_process(lab, program, "--concurrency", "1") as second:
        await lab.results.until(lambda messages: len(messages) >= 2)
        await go(gate)
        answers = [await lab.answer(job) for job in (in_hand, *others)]
        second.terminate()
        assert await exit_code(second) == 0

    assert [answer["status"] for answer in answers] == ["ok"] * 6
    assert await lab.committed("m@1") == 6


async def test_a_picture_that_kills_two_workers_does_not_meet_a_third(lab: Lab, program: Path) -> None:
    """The second finds that the first died: it says `started`, and the third goes on behind the picture."""
    deadly, other = lab.a_job(b"deadly"), lab.a_job()
    await lab.send(deadly)
    committed = []
    for _ in range(2):
        async with a_process(lab, program, "--concurrency", "1") as process:
            assert await exit_code(process) == 9
        committed.append(await lab.committed("m@1"))
    async with a_process(lab, program, "--concurrency", "1") as process:
        await lab.send(other)
        assert (await lab.answer(other))["status"] == "ok"
        process.terminate()
        assert await exit_code(process) == 0

    assert committed == [0, 1]
    assert [message["status"] for message in await lab.said_of(deadly, until=("started",))] == ["started"]
    assert await lab.committed("m@1") == 2


async def test_two_processes_share_the_jobs_and_one_takes_over_when_the_other_leaves(
    lab: Lab, program: Path
) -> None:
    async with a_process(lab, program) as first, a_process(lab, program) as second:
        await lab.workers.until(lambda messages: len(messages) >= 2)
        jobs = [lab.a_job() for _ in range(60)]
        await lab.send(*jobs)
        for job in jobs:
            await lab.answer(job)
        first.terminate()
        assert await exit_code(first) == 0
        more = [lab.a_job() for _ in range(12)]
        await lab.send(*more)
        answers = [await lab.answer(job) for job in more]

    assert {answer["status"] for answer in answers} == {"ok"}
    assert {answer["worker"]["name"].rpartition("-")[2] for answer in answers} == {str(second.pid)}


async def test_with_end_with_parent_the_end_of_its_input_is_a_stop(
    lab: Lab, program: Path, gate: Path
) -> None:
    job = lab.a_job(bytes(gate))
    async with a_process(lab, program, "--end-with-parent") as process:
        await lab.send(job)
        await lab.said_of(job, until=("started",))
        assert process.stdin is not None
        process.stdin.close()
        await go(gate)
        assert await exit_code(process) == 0

    assert (await lab.answer(job))["status"] == "ok"


async def test_a_worker_stops_in_time_while_the_broker_is_away(lab: Lab, program: Path) -> None:
    job = lab.a_job()
    async with a_process(lab, program) as process:
        await lab.send(job)
        await lab.answer(job)
        lab.broker.pause()
        process.terminate()
        assert await exit_code(process) == 0


async def test_the_example_is_a_worker(lab: Lab) -> None:
    from io import BytesIO

    from PIL import Image

    def png(level: int) -> bytes:
        file = BytesIO()
        Image.new("L", (4, 4), level).save(file, "PNG")
        return file.getvalue()

    bright, dark, none = (
        lab.a_job(data, name="brightness", version="1.0.0") for data in (png(255), png(51), b"text")
    )
    async with a_process(lab, ROOT / "examples/01_worker.py") as process:
        await lab.send(bright, dark, none)
        answers = [await lab.answer(job) for job in (bright, dark, none)]
        process.terminate()
        assert await exit_code(process) == 0

    assert answers[0]["scores"][0] == {"label": "bright", "confidence": 1.0}
    assert answers[1]["scores"][0] == {"label": "dark", "confidence": 0.8}
    assert answers[2]["error"]["code"] == "CORRUPT_IMAGE"


def test_a_worker_that_does_not_know_its_broker_says_what_to_set(program: Path) -> None:
    ran = subprocess.run(
        [sys.executable, str(program)],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ran.returncode == 2
    assert "set BIOSCOPE_KAFKA__BOOTSTRAP_SERVERS or give --bootstrap-servers." in ran.stderr


def test_options_come_from_the_variables_that_the_server_knows_too(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    options = from_command_line(
        ["--concurrency", "3"],
        {
            "BIOSCOPE_KAFKA__BOOTSTRAP_SERVERS": "kafka:9092",
            "BIOSCOPE_KAFKA__TOPICS__JOBS": "jobs.{model}",
            "BIOSCOPE_KAFKA__SECURITY__PROTOCOL": "sasl_plaintext",
            "BIOSCOPE_KAFKA__SECURITY__USERNAME": "worker",
            "BIOSCOPE_KAFKA__SECURITY__PASSWORD_FILE": str(secret),
            "BIOSCOPE_WORKER__API_URL": "https://bioscope.lab.example",
            "BIOSCOPE_WORKER__CLIENT_ID": "w",
            "BIOSCOPE_WORKER__CLIENT_SECRET_FILE": str(secret),
        },
    )

    assert options == Options(
        bootstrap_servers="kafka:9092",
        topics=Topics(jobs="jobs.{model}"),
        concurrency=3,
        security={
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": "worker",
            "sasl_plain_password": "s3cret",
        },
        api_url="https://bioscope.lab.example",
        client_id="w",
        client_secret="s3cret",
    )
    assert "s3cret" not in repr(options)


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        (["--concurrency", "0"], {}, "'0' is not a number from 1 upwards."),
        ([], {"BIOSCOPE_WORKER__CLIENT_SECRET_FILE": "/nowhere"}, "names /nowhere, which can't be read"),
        (
            [],
            {
                "BIOSCOPE_KAFKA__SECURITY__PROTOCOL": "SSL",
                "BIOSCOPE_KAFKA__SECURITY__CA_FILE": "/nowhere",
            },
            "A file of BIOSCOPE_KAFKA__SECURITY__... can't be used",
        ),
    ],
)
def test_options_that_can_not_be_meant_end_the_process_with_a_sentence(
    arguments: list[str], variables: dict[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        from_command_line(arguments, {"BIOSCOPE_KAFKA__BOOTSTRAP_SERVERS": "kafka:9092"} | variables)

    assert end.value.code == 2
    assert said in capsys.readouterr().err


def test_the_sdk_imports_neither_pillow_nor_numpy_nor_the_server() -> None:
    heavy = {"PIL", "numpy", "onnxruntime", "strawberry", "piccolo", "faststream"}
    program = f"import sys, bioscope_gql.worker.sdk; print(*sorted({heavy!r} & set(sys.modules)))"
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )

    assert ran.stdout.strip() == ""
