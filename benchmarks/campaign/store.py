"""Stores what a campaign has found: one JSON file for each part, and archives of unfinished work.

Few files, and small ones: they have to be carried to the machine with the GPU and back.
"""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from utils.errors import UserError
from utils.records.files import read_json, replacing, write_json

Facts = dict[str, Any]
PARTS = ("agreement", "speed", "headline")
KIND = "benchmarks/gpu.py"  # how the files are known
ARCHIVES, LARGEST = 4, 15 * 2**20  # archives of unfinished work, bytes in each


class Store:
    """The facts of each piece, by part and name, in the folder ``out``."""

    def __init__(self, out: Path, scale: str):
        self.out, self.scale = out, scale
        self.parts: dict[str, dict[str, Facts]] = {part: {} for part in PARTS}

    @classmethod
    def open(cls, out: Path, done: Path | None, scale: str) -> Store:
        """Return the store in ``out``, with what is stored in ``done``. Raises UserError."""
        store = cls(out, scale)
        found = read_parts(done, scale) if done else {}
        same = done is not None and out.exists() and out.resolve() == done.resolve()
        if out.exists() and not out.is_dir():
            raise UserError(f"--out {out}: is a file, not a folder")
        if not same and (there := [name for name in names_in(out) if (out / name).exists()]):
            raise UserError(
                f"--out {out}: has {there[0]} of a campaign; go on with it by --done {out}, or "
                "choose another folder"
            )
        out.mkdir(parents=True, exist_ok=True)
        for part, pieces in found.items():
            store.parts[part] = pieces
            if not same:
                store.write(part)
        if done and not same:
            for path in archives(done):
                shutil.copyfile(path, out / path.name)
        return store

    def write(self, part: str) -> None:
        """Write the file of one part."""
        content = {"kind": KIND, "scale": self.scale, "pieces": self.parts[part]}
        write_json(part_file(self.out, part), content)

    def keep(self, part: str, name: str, facts: Facts) -> None:
        """Store the facts of a piece."""
        self.parts[part][name] = facts
        self.write(part)

    def has(self, part: str, name: str, *, again: bool = False) -> bool:
        """Return True if a piece has ended; with ``again`` only if it ended well."""
        facts = self.parts[part].get(name)
        if facts is None or "unfinished" in facts:
            return False
        return not (again and "error" in facts)

    def pack(self, folder: Path, paths: Sequence[Path]) -> list[Path]:
        """Archive unfinished work, ``paths`` below ``folder``, in place of what was archived.

        Returns what is too large for it.
        """
        groups, left = grouped(paths)
        for number, group in enumerate(groups):
            content = io.BytesIO()
            with tarfile.open(fileobj=content, mode="w:gz", compresslevel=1) as archive:
                for path in group:
                    data = path.read_bytes()  # at once: the file may be replaced meanwhile
                    entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
                    entry.size = len(data)
                    archive.addfile(entry, io.BytesIO(data))
            with replacing(archive_file(self.out, number)) as temporary:
                temporary.write_bytes(content.getvalue())
        for number in range(len(groups), ARCHIVES):
            archive_file(self.out, number).unlink(missing_ok=True)
        return left

    def unpack(self, folder: Path) -> None:
        """Put the unfinished work back below ``folder``. Raises UserError for a damaged archive."""
        for path in archives(self.out):
            try:
                with tarfile.open(path) as archive:
                    archive.extractall(folder, filter="data")
            except (tarfile.TarError, EOFError, OSError) as error:
                raise UserError(f"{path}: damaged ({error}); restore it or remove it") from None


def grouped(paths: Sequence[Path]) -> tuple[list[list[Path]], list[Path]]:
    """Return files in groups that fit into an archive each, and those that fit into none."""
    groups: list[list[Path]] = []
    left, room = [], 0
    for path in paths:
        size = path.stat().st_size
        if size > LARGEST:
            left.append(path)
            continue
        if size > room:
            if len(groups) == ARCHIVES:
                left.append(path)
                continue
            groups.append([])
            room = LARGEST
        groups[-1].append(path)
        room -= size
    return groups, left


def part_file(folder: Path, part: str) -> Path:
    """Return the file of one part."""
    return folder / f"{part}.json"


def archive_file(folder: Path, number: int) -> Path:
    """Return an archive of unfinished work."""
    return folder / f"unfinished-{number}.tar.gz"


def archives(folder: Path) -> list[Path]:
    """Return the archives that are there."""
    return [path for n in range(ARCHIVES) if (path := archive_file(folder, n)).is_file()]


def names_in(folder: Path) -> list[str]:
    """Return the names of all files that a store may have."""
    return [part_file(folder, part).name for part in PARTS] + [
        archive_file(folder, number).name for number in range(ARCHIVES)
    ]


def read_parts(folder: Path, scale: str | None = None) -> dict[str, dict[str, Facts]]:
    """Return what is stored in ``folder``, of a campaign of this ``scale`` if one is given.

    An empty folder has nothing stored. Raises UserError for anything else without stored parts.
    """
    if not folder.is_dir():
        raise UserError(f"--done {folder}: there is no such folder; leave it out to begin")
    paths = {part: part_file(folder, part) for part in PARTS}
    there = {part: path for part, path in paths.items() if path.exists()}
    if not there and (others := sorted(path.name for path in folder.iterdir())):
        names = ", ".join(path.name for path in paths.values())
        raise UserError(f"--done {folder}: has {others[0]}, and none of {names}")
    return {part: checked(path, scale) for part, path in there.items()}


def checked(path: Path, scale: str | None) -> dict[str, Facts]:
    """Return the pieces in a part's file. Raises UserError."""
    content = read_json(path)
    pieces = content.get("pieces") if isinstance(content, dict) else None
    if (
        not isinstance(pieces, dict)
        or content.get("kind") != KIND
        or not all(isinstance(facts, dict) for facts in pieces.values())
    ):
        raise UserError(f"{path}: not a part of a campaign; give the --out of an earlier call")
    if scale not in (None, content.get("scale")):
        raise UserError(
            f"{path}: of a {content.get('scale')} campaign, and this one is {scale}; "
            "give --small, or leave it out, as there"
        )
    return pieces
