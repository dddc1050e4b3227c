"""The places of files, and the treatment of files that are there."""

import re
from dataclasses import MISSING, dataclass

from utils.errors import UserError
from utils.settings.fields import Settings, setting

PUBLISHED = "published"  # the name of the paper's own results


def check_name(save: str) -> str:
    """Return ``save`` if it can be part of a file name. Raises UserError."""
    if not re.fullmatch(r"\w[\w.+-]{0,150}", save):
        raise UserError(f"{save!r}: a name has letters, digits, and _ . + - only, and no slash")
    if save == PUBLISHED:
        raise UserError(f"{save!r}: this name stands for the published figures; choose another")
    return save


def seed_of(save: str) -> int:
    """Return the X of a name NAME_X, or else 0."""
    number = re.search(r"_(\d{1,9})$", save)
    return int(number[1]) if number else 0


@dataclass(frozen=True, kw_only=True)
class Folders(Settings):
    """The folders of the records of searches, and of results and plots."""

    record_dir: str = setting("prune_record", "where searches are recorded", metavar="DIR")
    plot_dir: str = setting("saved_plots", "where results and plots are", metavar="DIR")


@dataclass(frozen=True, kw_only=True)
class Places(Folders):
    """All folders that a run reads and writes."""

    data: str = setting("data", "where data sets are, or are downloaded to", metavar="DIR")
    model_dir: str = setting(
        "saved_models", "where weights and unfinished work are kept", metavar="DIR"
    )


@dataclass(frozen=True, kw_only=True)
class Storage(Places):
    """The files that a run reads and writes."""

    save: str = setting(
        MISSING,
        "name of this run; NAME_X without --seed has the seed X",
        check=check_name,
        metavar="NAME",
        required=True,
    )
    cache: bool = setting(
        True,
        "decode the images of a folder at each start, and those that do not fit into memory in "
        "each epoch, instead of once into a file below --record-dir",
    )
    resume: bool = setting(False, "go on where this run was interrupted")
    overwrite: bool = setting(False, "begin anew, replacing what is stored under this name")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resume and self.overwrite:
            raise UserError(
                "--overwrite begins anew and --resume goes on: give one of them. A run that was "
                "begun with --overwrite goes on with --resume alone"
            )
