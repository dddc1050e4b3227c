"""A search from its settings to its record: checks, locks and files around the descent."""

from model import Shape, count_params, widths_of
from model.errors import OverBudget
from utils.data.channels import checked_channels
from utils.errors import UserError
from utils.records.method import impossible
from utils.records.run import provenance
from utils.records.searches import SearchRecord
from utils.search.descent import descend, searched_widths
from utils.search.search_run import SearchRun
from utils.settings import Machine, SearchSettings, Storage, least_width
from utils.settings.commands import after_search, tell_next
from utils.training.compare import check_training
from utils.training.prepare import check_memory, prepare


def search(
    settings: SearchSettings, storage: Storage, machine: Machine | None = None
) -> SearchRecord:
    """Run a search, or continue one, and record each iteration as it ends.

    Returns the record. Raises UserError.
    """
    channels = checked_channels(
        settings.model,
        settings.dataset,
        settings.ratio,
        image_size=settings.image_size,
        channels=settings.channels,
        keep=settings.keep,
    )

    run = SearchRun(settings, storage)
    with run.exclusive():
        if run.finished():
            print(
                f"{run.result}: finished before, with these settings; nothing to do "
                "(--overwrite begins anew)"
            )
            return run.found
        # The search never looks at the test images. The networks of later iterations are about as
        # large as the first, by parameters.
        data, runner = prepare(
            settings,
            storage,
            machine,
            channels=channels,
        )
        check_memory(
            count_params(settings.model, first_widths(settings, data.shape), **data.shape), runner
        )
        check_training(settings.model, data.shape, gated=True)

        # nothing stands in the way: open the record and search
        run.begin(data, provenance(runner.device))
        descend(settings, data, runner, run)
        print(f"recorded in {run.result}")
        tell_next(after_search(settings, storage.save, settings.morph, storage))
        return run.found


def first_widths(settings: SearchSettings, shape: Shape) -> list[int]:
    """Return the widths of the first network. Raises UserError if they can't be had, or nothing can
    be pruned."""
    min_width, kept = (
        least_width(settings.model, settings.min_width),
        widths_of(settings.model, settings.keep),
    )
    try:
        filters = searched_widths(settings, None, shape)
    except OverBudget as error:
        raise impossible(error, settings.ratio, 1, min_width, settings.keep) from None

    if all(width <= min_width for layer, width in enumerate(filters) if layer not in kept):
        given = [f"--min-width {min_width}"] * (min_width > 0) + [
            f"--keep {' '.join(settings.keep)}"
        ] * bool(kept)
        raise UserError(f"{', '.join(given)}: no layer could lose a filter")
    return filters
