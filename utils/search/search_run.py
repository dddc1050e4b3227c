"""The files of a search: its record, a CSV of rows per iteration, its checkpoint. Earlier work is
found, or refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from model import is_imported, pixels_in
from utils.data import Data
from utils.errors import UserError
from utils.records import paths
from utils.records.files import write_json, write_rows
from utils.records.run import Begun, Provenance, Run, same_settings
from utils.records.searches import (
    RULES,
    IterationRecord,
    SearchRecord,
    network_entries,
    read_search,
    refuse_changed_network,
)
from utils.records.shapes import recorded, shape_in
from utils.settings import SearchSettings, Storage, dataset_name, search_preset, stored

# not compared as settings: a record has the model and the name of the data set at its top
NOT_COMPARED = ("model", "dataset")


class SearchRun(Run):
    """A search under its name; ``found`` is the record that an earlier run left, or a new one."""

    def __init__(self, settings: SearchSettings, storage: Storage):
        self.settings, self.storage, preset = settings, storage, search_preset(settings.dataset)
        super().__init__(
            paths.search_record(storage.record_dir, storage.save),
            paths.unfinished_search(storage.model_dir, settings.model, storage.save),
            resume=storage.resume,
            defaults=stored(
                preset.morphnet() if settings.morph else preset, (*NOT_COMPARED, "iterations")
            ),
        )
        self.found: SearchRecord = {"iterations": []}  # the record so far

    @property
    def iterations(self) -> list[IterationRecord]:
        """The finished iterations."""
        return self.found["iterations"]

    def finished(self) -> bool:
        """Return True if nothing is left to do.

        Raises UserError where earlier work under this name can't be continued.
        """
        if self.storage.overwrite:
            return False

        if not self.result.exists():
            if not self.resume:
                self.refuse_remains()
            return False

        # a record: of these settings, and finished?
        self.found = read_search(
            self.storage.record_dir,
            self.storage.save,
            self.settings.model,
            dataset_name(self.settings.dataset),
        )
        same_settings(
            self.result,
            stored(self.settings, NOT_COMPARED),
            {**self.defaults, **self.found["settings"]},
            ("iterations",),
        )
        refuse_changed_network(self.result, self.found, self.settings.model)

        if len(self.iterations) >= self.settings.iterations:
            self.forget_own_checkpoint(
                lambda begun: bool(begun["iteration"] < len(self.iterations))
            )
            return True

        # it has to be continued
        refuse_old_rules(self.result, self.found)
        if is_imported(self.settings.model) and "min_width" not in self.found["settings"]:
            raise UserError(
                f"{self.result}: begun by a version that searched narrow layers with 10 filters "
                "more; it can be swept as it "
                "is, but not gone on with. Choose another --save, or --overwrite"
            )

        if not self.resume:
            raise UserError(
                f"--save {self.storage.save}: {self.result} has {len(self.iterations)} of "
                f"{self.settings.iterations} "
                "iterations; --resume goes on with them, --overwrite begins anew"
            )
        return False

    def refuse_remains(self) -> None:
        """Raise UserError for an interrupted first iteration, or files of something else."""
        if self.checkpoint.exists():
            raise UserError(
                f"--save {self.storage.save}: an interrupted search has this name; --resume goes "
                "on with it, --overwrite begins anew"
            )
        if rows := paths.all_search_rows(self.storage.record_dir, self.storage.save):
            raise UserError(
                f"{rows[0]}: there is a file of this name, but no record {self.result} that it "
                "belongs to; choose another --save, or --overwrite"
            )

    def begin(self, data: Data, provenance: Provenance) -> None:
        """Open the record: the one found, or a new one.

        Raises UserError where the data are not those that it was begun with.
        """
        if self.iterations and (begun := shape_in(self.found)) != data.shape:
            raise UserError(
                f"{self.result}: begun with {begun['num_classes']} classes of {pixels_in(begun)} "
                f"pixels; the data now has {data.num_classes} of {pixels_in(data.shape)}"
            )
        # nothing that the user can mend stands in the way of the new search any more
        if self.storage.overwrite:
            self.discard()
            for rows in paths.all_search_rows(self.storage.record_dir, self.storage.save):
                rows.unlink(missing_ok=True)

        settings = stored(self.settings, NOT_COMPARED)
        if not self.iterations:
            self.found = {
                "model": self.settings.model,
                "dataset": data.name,
                **recorded(data.shape),
                "rules": RULES,
                "settings": settings,
                **network_entries(self.settings.model),
                **provenance,
                "iterations": [],
            }
        self.found["settings"] = settings

    def record(self, iterations: list[IterationRecord], rows: list[list[int]]) -> None:
        """Record the last of the ``iterations``, and its ``rows``."""
        write_rows(
            paths.search_rows(self.storage.record_dir, self.storage.save, len(iterations) - 1), rows
        )
        self.found["iterations"] = iterations
        write_json(self.result, self.found)
        self.checkpoint.unlink(missing_ok=True)

    def resume_iteration(
        self, iteration: int, filters: list[int], data: Data, load: Callable[[dict[str, Any]], None]
    ) -> bool:
        """Begin an iteration, from its checkpoint if there is one. Returns True if there is.

        ``load`` gets the checkpoint's state. A checkpoint may be of an earlier iteration, if the
        process was killed between writing the record and removing it; it is then ignored. Raises
        UserError.
        """

        def is_over(begun: Begun) -> bool:
            if begun["iteration"] >= iteration:
                refuse_old_rules(self.checkpoint, begun)
            return bool(begun["iteration"] < iteration)

        self.begun_with = {
            "iteration": iteration,
            "filters": filters,
            "dataset": data.name,
            "images": len(data.train),
            "rules": RULES,
            **stored(self.settings, (*NOT_COMPARED, "iterations")),
        }
        return self.restore(load, is_over)


def refuse_old_rules(path: Path, stored: Any) -> None:
    """Raise UserError for the unfinished search of a version with other rules."""
    if stored.get("rules") != RULES:
        raise UserError(
            f"{path}: begun by a version that pruned one epoch later than the paper; it can be "
            "swept as it is, but not gone on with. Choose another --save, or --overwrite"
        )
