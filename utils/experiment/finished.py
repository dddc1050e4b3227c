"""Which jobs are done: told by what they leave, which is refused where it is of other work."""
import re

from utils.errors import UserError
from utils.experiment.jobs import TASK, Job
from utils.records.paths import release_record
from utils.records.results import Result, read_result
from utils.records.searches import read_search
from utils.settings import SearchSettings, TrainingSettings, dataset_name, fine_tuning_preset, search_preset, stored, training_preset

MEND = "give that, or other --plot-dir and --model-dir"


def search_finished(job: Job, settings: SearchSettings) -> bool:
    """Whether a search is done. One that is may have any settings, but for those given; one that is not goes on with its own.

    Raises UserError where it has others, and for a damaged record.
    """
    folder, save, dataset = str(job.result.parent), job.result.stem, dataset_name(settings.dataset)
    if not job.result.exists():
        return release_record(folder, save).exists()
    record = read_search(folder, save, settings.model, dataset)
    preset = search_preset(settings.dataset)
    has = {**stored(preset.morphnet() if settings.morph else preset, TASK), **record["settings"]}
    asked, iterations = stored(settings, TASK), len(record["iterations"])
    done = iterations >= (settings.iterations if "iterations" in job.given else has["iterations"])
    for name in sorted({"morph", *(job.given if done else asked)} & {*asked} - {"iterations"}):
        if asked[name] != has.get(name):
            raise UserError(f"{job.result}: begun with {name} = {has.get(name)}, not {asked[name]}; give that with --search-with, or "
                            "another --search")
    return done


def result_of(job: Job, settings: TrainingSettings) -> Result | None:
    """The result of a training; None of one that is not done. Raises UserError for one of another training, and a damaged one."""
    if not job.result.exists():
        return None
    result = read_result(job.result)
    preset = fine_tuning_preset(settings.dataset) if job.script == "fine_tune.py" else training_preset(settings.dataset)
    asked = {"model": settings.model, "dataset": dataset_name(settings.dataset), "method": job.method, "search": job.search,
             **stored(settings, TASK)}
    origin = result.get("origin")
    has = {**stored(preset, TASK), **result["settings"], **{key: result.get(key) for key in (*TASK, "method")},
           "search": origin["search"] if origin else job.search}  # earlier versions did not say
    for name, value in asked.items():
        if not (re.fullmatch(value, has[name]) if name == "method" else has[name] == value):
            raise UserError(f"{job.result}: of a training with {name} = {has[name]}, not {value}; {MEND}")
    return result
