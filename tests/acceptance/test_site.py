"""The site of the documentation: its tables come from the code, its pages name only what exists, and it builds."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.images.draw import pictures
from docs.reference.write import FOLDER, options_of_commands, pages
from tests.support.paths import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
MADE = pages()
DRAWN = pictures()
COMMANDS = options_of_commands()


def lines_of_code(page: Path) -> Iterator[str]:
    """Every line of a block, and every piece of code inside a sentence."""
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^```.*?^```", text, re.MULTILINE | re.DOTALL):
        yield from block.replace("\\\n", " ").splitlines()
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("name", sorted(MADE))
def test_a_page_of_reference_tables_says_what_the_code_says(name: str) -> None:
    written = (FOLDER / name).read_text(encoding="utf-8")
    assert written == MADE[name], "run python -m docs.reference.write"


@pytest.mark.parametrize("name", sorted(DRAWN))
def test_a_picture_is_what_its_script_draws(name: str) -> None:
    drawn = (ROOT / "docs" / "images" / name).read_text(encoding="utf-8")
    assert drawn == DRAWN[name], "run python -m docs.images.draw"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_and_options_of_a_page_exist(page: Path) -> None:
    for line in lines_of_code(page):
        for called in re.findall(
            r"(?:^|[ /;&(])braid ([a-z][a-z-]*.*)", re.sub(r"kubectl .*", "", line.split("  #")[0])
        ):
            words = called.split()
            name = next((" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in COMMANDS), None)
            group = [path for path in COMMANDS if path.startswith(f"{words[0].split('|')[0]} ")]
            assert name is not None or group, f"{line}: there is no command {words[0]}"
            known = COMMANDS[name] if name is not None else set().union(*(COMMANDS[path] for path in group))
            options = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
            assert options <= known, f"{line}: braid {name} has no {sorted(options - known)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_settings_of_a_page_exist(page: Path) -> None:
    named = set(re.findall(r"\bBRAID_[A-Z0-9_]*[A-Z0-9]\b", page.read_text(encoding="utf-8")))
    known = set(re.findall(r"BRAID_\w+", MADE["settings.md"]))
    assert named <= known | {"BRAID_AXE", "BRAID_SCREENSHOTS"}


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "reference" / "python.html").exists()
