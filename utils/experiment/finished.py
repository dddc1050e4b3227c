"""Which jobs are done: told by what they leave, which is refused where it is of other work.

Only what is asked of it is read and checked, without torch: whoever draws or goes on with it checks all of it.
"""
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from utils.errors import UserError
from utils.experiment.jobs import TASK, Job
from utils.records.files import is_number, read_json
from utils.records.methods import networks_of
from utils.records.paths import release_record
from utils.records.searches import read_search
from utils.settings import SearchSettings, TrainingSettings, dataset_name, fine_tuning_preset, search_preset, stored, training_preset


def search_finished(job: Job, settings: SearchSettings) -> bool:
    """Whether a search is done. One that is may have any settings, but for those given; one that is not goes on with its own.

    Raises UserError where it has others, and for a damaged record.
    """
    if not job.result.exists():
        return release_record(str(job.result.parent), job.result.stem).exists()
    record, preset, asked = read(job.result), search_preset(settings.dataset), {**named(settings), **stored(settings, TASK)}
    has = {**stored(preset.morphnet() if settings.morph else preset, TASK), **record["settings"], **{key: record.get(key) for key in TASK}}
    iterations = record.get("iterations")
    if not isinstance(iterations, list) or not is_number(has["iterations"], 1, 1000, whole=True):
        raise UserError(f"{job.result}: not the record of a search, or damaged; restore it or remove it")
    done = len(iterations) >= (settings.iterations if "iterations" in job.given else has["iterations"])
    for name in sorted({*TASK, "morph", *(job.given if done else asked)} & {*asked} - {"iterations"}):
        if asked[name] != has.get(name):
            raise UserError(f"{job.result}: begun with {name} = {has.get(name)}, not {asked[name]}; give that with --search-with, or "
                            "another --search")
    return done


def best_of(job: Job, settings: TrainingSettings) -> float | None:
    """The best accuracy of a training, in %; None of one that is not done.

    Raises UserError for the result of another training, and a damaged one.
    """
    if not job.result.exists():
        return None
    result = read(job.result)
    preset = fine_tuning_preset(settings.dataset) if job.script == "fine_tune.py" else training_preset(settings.dataset)
    origin, asked = result.get("origin"), {**named(settings), "search": job.search, **stored(settings, TASK)}
    has = {**stored(preset, TASK), **result["settings"], **{key: result.get(key) for key in TASK},
           "search": origin.get("search") if isinstance(origin, dict) else job.search}  # earlier versions did not say
    differ = [(name, has[name], value) for name, value in asked.items() if has[name] != value]
    if not re.fullmatch(job.method, str(result.get("method"))):
        differ.insert(0, ("method", result.get("method"), job.method))
    for name, old, new in differ:
        raise UserError(f"{job.result}: of a training with {name} = {old}, not {new}; give that, or other --plot-dir and --model-dir")
    if isinstance(origin, dict) and job.needs and isinstance(job.needs.settings, SearchSettings):
        refuse_network_of_another_search(job, job.needs.result, origin)
    best: Any = result.get("best")
    if not is_number(best, 0, 100):
        raise UserError(f"{job.result}: not the result of a training, or damaged; restore it or remove it")
    return float(best)


def refuse_network_of_another_search(job: Job, record: Path, origin: dict[str, Any]) -> None:
    """Raises UserError for a training whose network is not what its search gives by now, as where that was searched again."""
    source = origin.get("iteration"), origin.get("fingerprint")
    if not (source[1] and record.exists()):  # results of earlier versions have none, and the original release's records are not asked
        return
    if source not in found_by(record, job.settings.model, record.stat().st_mtime_ns):
        raise UserError(f"{job.result}: its network is of another search than {record} is now, which was searched again; remove this "
                        f"result and {job.weights}, and it is trained again, or restore that record")


@lru_cache
def found_by(record: Path, model: str, changed: int) -> list[tuple[object, object]]:
    """The iterations of a search, and the fingerprints of what they found; read again where its record has ``changed``."""
    folder, name = str(record.parent), record.stem
    networks = networks_of(folder, name, read_search(folder, name, model, None))
    return [(source["iteration"], source["fingerprint"]) for *_, source in networks]


def read(path: Path) -> dict[str, Any]:
    """A record or a result, if that is what it looks like. Raises UserError."""
    content = read_json(path)
    if not (isinstance(content, dict) and isinstance(content.get("settings"), dict)):
        raise UserError(f"{path}: not what a search or a training leaves, or damaged; restore it or remove it")
    return content


def named(settings: SearchSettings | TrainingSettings) -> dict[str, str]:
    return {"model": settings.model, "dataset": dataset_name(settings.dataset)}
