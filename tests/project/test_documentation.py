"""What the documentation shows is run, word for word; what it points to is there."""

import re

import pytest
from running import REPOSITORY

from utils.data import readers

PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    *sorted((REPOSITORY / "docs").glob("*.md")),
]
DIGITS = 600
EXAMPLES = [
    (page, code)
    for page in PAGES
    for code in re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
]


@pytest.mark.parametrize(
    "page, code",
    EXAMPLES,
    ids=[f"{page.name}-{number}" for number, (page, _) in enumerate(EXAMPLES)],
)
def test_an_example_runs_as_it_stands(page, code, tmp_path, monkeypatch, capsys):
    """Word for word, on fewer digits than there are."""
    images, labels = readers._digits()
    monkeypatch.setattr(readers, "_digits", lambda: (images[:DIGITS], labels[:DIGITS]))
    monkeypatch.chdir(tmp_path)
    exec(compile(code, str(page), "exec"), {})
    assert capsys.readouterr().out.strip()


def test_the_readme_searches_and_trains_in_fifteen_lines():
    [code] = [code for page, code in EXAMPLES if page.name == "README.md"]
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    assert all(word in code for word in ("descend(", "prepare_filters(", "build_model", "train("))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_headings_name_one(page):
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text()):
        headings = re.findall(
            r"^#+ (.*)$", ((page.parent / target) if target else page).read_text(), re.MULTILINE
        )
        assert anchor in {
            re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings
        }
