"""How the code reads: docstrings that begin with a verb or a noun, short functions, and air."""

import ast
import io
import tokenize

import pytest
from running import REPOSITORY, SOURCES

RIDDLES = {"what", "whether", "of", "how", "which", "where", "when", "that"}
LONGEST = 60  # lines of a function
TOKENS, BLANK = 9.0, 0.04  # the most tokens a line, the least share of blank lines in functions
LAYOUT = {
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.COMMENT,
    tokenize.ENDMARKER,
}


def functions_in(path) -> list[ast.FunctionDef]:
    return [
        node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)
    ]


def docstrings_in(source: str) -> list[str]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, documented)]
    return [text for node in nodes if (text := ast.get_docstring(node))]


def riddles_in(source: str) -> list[str]:
    """The docstrings whose first word tells the reader neither what is done nor what it is."""
    return [
        text for text in docstrings_in(source) if text.split()[0].lower().strip(",:") in RIDDLES
    ]


def name_of(path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_docstrings_begin_with_a_verb_or_a_noun(path):
    assert riddles_in(path.read_text()) == []


def test_a_riddle_is_found():
    source = '"""Whether it is."""\ndef f():\n    """Of all, the last."""\ndef g():\n    """Return it."""'
    assert riddles_in(source) == ["Whether it is.", "Of all, the last."]


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_functions_are_short(path):
    long = [
        (function.name, length)
        for function in functions_in(path)
        if (length := function.end_lineno - function.lineno + 1) > LONGEST
    ]
    assert long == []


def test_there_is_air():
    tokens = lines = inside = blank = 0
    for path in SOURCES:
        text = path.read_text()
        found = [
            token
            for token in tokenize.generate_tokens(io.StringIO(text).readline)
            if token.type not in LAYOUT and not token.string.startswith(('"""', 'r"""'))
        ]
        tokens += len(found)
        lines += len({token.start[0] for token in found})
        for function in functions_in(path):
            body = text.splitlines()[function.lineno - 1 : function.end_lineno]
            inside += len(body)
            blank += sum(not line.strip() for line in body)
    assert tokens / lines <= TOKENS and blank / inside >= BLANK
