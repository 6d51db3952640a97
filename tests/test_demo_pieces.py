"""What `bioscope demo` is made of: drawn smears, files in requests, the table and the report."""

import hashlib
import io
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bioscope_gql.commands.demo_account import Account
from bioscope_gql.commands.demo_pictures import FORM_BYTES, Refused, batches, drawn, found_in, measured
from bioscope_gql.commands.demo_report import Report, Shown
from bioscope_gql.commands.demo_screen import Screen
from bioscope_gql.commands.demo_smears import KINDS, draw
from bioscope_gql.commands.demo_table import Row, by_name, shortened
from bioscope_gql.commands.demo_work import MODEL, Classified, Uploaded
from bioscope_gql.errors import Problem
from bioscope_gql.worker import reference, smear

# ------------------------------------------------------------------------------------ drawing


def test_a_drawn_smear_is_the_same_for_the_same_seed_and_different_for_another() -> None:
    first, again, other = (draw("neutrophil", seed).image.tobytes() for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert draw("monocyte", 1, size=(320, 240)).image.size == (320, 240)


def test_every_kind_is_drawn_and_the_reference_model_names_it() -> None:
    assert reference.NAME == MODEL
    model = smear.Smear(smear.WEIGHTS)
    for number, kind in enumerate(KINDS):
        found = model.classify(np.asarray(draw(kind, number).image))
        assert (found.scores[0][0], found.counts["WBC"]) == (kind, int(kind != "no_leukocyte"))


async def test_smears_are_drawn_by_a_process_of_their_own_and_all_differ(tmp_path: Path) -> None:
    told: list[None] = []
    files = await drawn(tmp_path / "new", 6, lambda: told.append(None))

    assert [file.name for file in files] == [f"smear-0{number}.jpg" for number in range(1, 7)]
    assert sorted(files) == sorted((tmp_path / "new").iterdir())
    assert len(told) == 6
    assert len({hashlib.sha256(file.read_bytes()).digest() for file in files}) == 6
    with Image.open(files[0]) as picture:
        assert (picture.format, picture.size) == ("JPEG", (640, 480))


async def test_a_folder_that_cannot_be_drawn_into_is_a_problem_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Problem, match="could not be drawn"):
        await drawn(tmp_path / "file", 1, lambda: None)


# ------------------------------------------------------------------------------------ files


def test_a_folder_is_walked_by_name_without_what_is_hidden(tmp_path: Path) -> None:
    for name in ("b.jpg", "a/z.png", "a/.hidden", ".git/c.jpg", "c/d/e.tif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "a/loop").symlink_to(tmp_path)

    assert [str(file.relative_to(tmp_path)) for file in found_in(tmp_path)] == [
        "a/z.png",
        "b.jpg",
        "c/d/e.tif",
    ]


def test_an_empty_folder_is_said_to_be_empty(tmp_path: Path) -> None:
    (tmp_path / ".hidden").touch()
    with pytest.raises(Problem, match="holds no files: choose a folder with pictures"):
        found_in(tmp_path)


def test_requests_keep_to_what_the_server_takes() -> None:
    files = [(Path(name), size) for name, size in zip("abcdefgh", (1, 1, 1, 60, 70, 1, 1, 1), strict=True)]

    by_number = batches(files, most_files=2, most_bytes=10**9)
    by_size = batches(files, most_files=100, most_bytes=FORM_BYTES + 100)

    assert ["".join(map(str, batch)) for batch in by_number] == ["ab", "cd", "ef", "gh"]
    assert ["".join(map(str, batch)) for batch in by_size] == ["abcd", "efgh"]


def test_what_no_request_can_hold_or_nobody_can_read_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(1001))
    (tmp_path / "right").write_bytes(bytes(1000))
    files = [tmp_path / name for name in ("gone", "large", "right")]

    sendable, refused = measured(files, most_bytes=FORM_BYTES + 1000)

    assert sendable == [(tmp_path / "right", 1000)]
    assert [(each.name, each.code) for each in refused.values()] == [
        ("gone", "UNREADABLE"),
        ("large", "TOO_LARGE"),
    ]


# ------------------------------------------------------------------------------------ the screen


def test_the_table_has_a_line_for_each_picture_and_means_and_sums_below() -> None:
    out = io.StringIO()
    Screen(out).table(
        [
            Row("a.jpg", "neutrophil", 0.9, 10, 1, 0, 20),
            Row("próbka №1 [bold]x[/bold].png", "monocyte", 0.5, 5, 2, 3, 41),
            Row("evil\x1b[2J.jpg"),
        ]
    )
    lines = [re.split(r"  +", line) for line in out.getvalue().splitlines()]
    assert lines == [
        ["Picture", "Label", "Confidence", "Red cells", "Leukocytes", "Platelets", "ms"],
        ["a.jpg", "neutrophil", "0.90", "10", "1", "0", "20"],
        ["próbka №1 [bold]x[/bold].png", "monocyte", "0.50", "5", "2", "3", "41"],
        ["evil?[2J.jpg", "no result"],
        [""],
        ["3 pictures", "0.70", "15", "3", "3", "30"],
        [""],
    ]


def test_long_names_lose_their_middle_and_pictures_stand_in_the_order_of_their_numbers() -> None:
    assert shortened("a-very-long-name.jpg", 14) == "a-very…ame.jpg"
    assert shortened("short.jpg", 14) == "short.jpg"
    names = ["b2.jpg", "B10.jpg", "b1.jpg", "a.jpg"]
    assert sorted(names, key=lambda name: by_name(Row(name))) == ["a.jpg", "b1.jpg", "b2.jpg", "B10.jpg"]


def test_a_picture_that_failed_is_told_with_its_reason_and_makes_the_end_a_bad_one() -> None:
    failed = Classified(["COMPLETED", "PARTIAL"], [Refused("b.jpg", "CORRUPT_IMAGE", "It is broken.")], 1.5)
    rows = [Row("a.jpg", "monocyte", 0.5), Row("b.jpg")]
    shown = Shown(Account("demo", "secret"), "id", Uploaded(["a.jpg", "b.jpg"]), failed, rows)
    out = io.StringIO()

    Report(shown, url="http://here", data_dir=Path("/data"), is_drawn=False, goes_on=True).tell(Screen(out))

    assert "1 picture could not be classified:\nb.jpg  CORRUPT_IMAGE  It is broken.\n" in out.getvalue()
    assert "2 runs in 1.5 s: COMPLETED, PARTIAL\n" in out.getvalue()
    assert not shown.is_well
    assert replace(shown, classified=Classified(["COMPLETED"])).is_well
    assert not replace(shown, rows=[]).is_well
