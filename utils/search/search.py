"""A search from its settings to its record: what is checked, locked and opened around the descent."""
from model import count_params, prepare_filters
from utils.records.methods import refuse_impossible
from utils.records.run import provenance
from utils.records.searches import SearchRecord
from utils.search.descent import descend
from utils.search.run import SearchRun
from utils.settings import Machine, SearchSettings, Storage
from utils.training.compare import check_training
from utils.training.prepare import check_memory, prepare


def search(settings: SearchSettings, storage: Storage, machine: Machine | None = None) -> SearchRecord:
    """Searches, or goes on with a search, and records each iteration as it ends; the record. Raises UserError."""
    refuse_impossible(settings.model, settings.dataset, settings.ratio, image_size=settings.image_size)
    run = SearchRun(settings, storage)
    with run.exclusive():
        if run.finished():
            print(f"{run.result}: finished before, with these settings; nothing to do (--overwrite begins anew)")
            return run.found
        # The search never looks at the test images. By parameters, the networks of later iterations are about as large as the first.
        data, runner = prepare(settings, storage, machine, batch_size=settings.batch_size, limit_test=1)
        filters = prepare_filters(settings.model, settings.ratio, search=True, **data.shape)
        check_memory(count_params(settings.model, filters, **data.shape), runner)
        check_training(settings.model, data.shape, gated=True)
        run.begin(data, provenance(runner.device))
        descend(settings, data, runner, run)
        print(f"recorded in {run.result}")
        return run.found
