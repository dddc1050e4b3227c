"""Exports a network, trained or not: the folder that needs nothing of this project."""
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from model import Shape, build_model, count_macs, count_params
from model.graph.flatten import plain
from utils.data import shape_of
from utils.errors import UserError
from utils.export.folder import check_free, replacing_folder
from utils.export.formats import BATCHES, ONNX, PACKAGES, PROGRAM, TOLERANCE, WEIGHTS, check_packages, differences, written
from utils.records.methods import is_own, method_of, read_scalings, refuse_impossible
from utils.records.networks import network_of, read_stored
from utils.records.paths import at_ratio, named_after, percent, result_file, weights_file
from utils.records.results import read_result
from utils.records.run import provenance, same_settings
from utils.settings import DATASETS, Folders, Networks, Task, dataset_facts, dataset_name
from utils.training.device import seed_from

ARCHITECTURE, README = "architecture.json", "README.md"
FILES = (ARCHITECTURE, WEIGHTS, ONNX, PROGRAM, README)
OF_RESULTS = ("method", "ratio", "seed", "budget", "round_to", "min_width", "keep", "origin", "best", "last", "images", "test_images",
              "settings", "versions", "threads", "commit", "base")  # what of a training's result goes with its network
ABOUT = """\
`onnxruntime.InferenceSession("network.onnx").run(None, {{"images": images}})[0]` gives logits; images: (N, 3, {size}, {size}), float32, normalised as architecture.json says.
`torch.export.load("network.pt2").module()(images)` gives them too, in evaluation mode, with nothing but PyTorch.
`torch.load("weights.pt", weights_only=True)` is a dict of tensors, those of network.pt2 by the same names: `module.load_state_dict(...)` takes it.
"""  # noqa: E501


def export_trained(task: Task, save: str, ratio: float, out: str | None, folders: Folders, model_dir: str, overwrite: bool = False) -> Path:
    """Exports the network that a training ``save`` left: from scratch at ``ratio``, fine-tuned, or a base network.

    Raises UserError where it isn't there or isn't whole, where ``out`` is taken, and where what was written gives other outputs.
    """
    check_packages()
    target = Path(out or named_after("exported", task.model) / f"{save}_{percent(ratio)}")
    check_free(target, FILES, overwrite)
    path = weights_file(model_dir, task.model, at_ratio(save, ratio))
    if not path.exists() and (base := weights_file(model_dir, task.model, save)).exists():  # train_norm.py's have no ratio in their name
        path = base
    stored, dataset = read_stored(path, task.model), dataset_name(task.dataset)
    if (stored["model"], stored["dataset"]) != (task.model, dataset):
        raise UserError(f"{path}: a {stored['model']} of {stored['dataset']}, not a {task.model} of {dataset}; give its --model and "
                        "--dataset")
    source = result_file(folders.plot_dir, task.model, save, ratio)
    result = read_result(source)
    if result["ratio"] != ratio:  # the same file name has int(100 * ratio)
        raise UserError(f"{source}: of ratio {result['ratio']:g}, not {ratio:g}; give that")
    told: dict[str, Any] = dict(result)
    same_settings(path, {key: told.get(key) for key in stored["begun_with"]}, stored["begun_with"])
    if stored["filters"] != result["filters"]:
        raise UserError(f"{path}: has other filters than its result {source}; train it again")
    about = {"trained": True, "name": save, **{key: told[key] for key in OF_RESULTS if key in told}}
    return write(network_of(path, stored), stored["filters"], stored["convcut"], task.model, dataset,
                 {"num_classes": stored["num_classes"], "image_size": stored["image_size"]}, about, target, overwrite)


def export_untrained(task: Task, networks: Networks, ratio: float, out: str | None, folders: Folders, overwrite: bool = False,
                     image_size: int | None = None) -> Path:
    """Exports a network as a sweep would begin to train it with the seed 0: for images of ``image_size``, or of its search's,
    else its data set's. Raises UserError."""
    check_packages()
    model, dataset = task.model, dataset_name(task.dataset)
    method = method_of(networks, model, dataset, folders.record_dir)
    shape = untrained_shape(task, networks, folders)
    shape["image_size"] = image_size or shape["image_size"]
    refuse_impossible(model, task.dataset, ratio, image_size=shape["image_size"], keep=method.keep)
    if line := method.other_size(shape["image_size"]):
        print(line)

    kind = "_".join([method.name, *["macs"] * (method.budget == "macs"), *[f"by{method.round_to}"] * (method.round_to != 1),
                     *[f"from{method.min_width}"] * (networks.min_width is not None), *["kept"] * (networks.keep is not None)])
    name = f"{networks.prune_fname}_{kind}" if networks.prune_fname else kind
    target = Path(out or named_after("exported", model) / f"{dataset}_{name}_{percent(ratio)}_untrained")
    check_free(target, FILES, overwrite)

    filters = method.filters(ratio, **shape)
    torch.manual_seed(seed_from(0))
    about = {"trained": False, "method": method.name, "ratio": ratio, "seed": 0, "budget": method.budget, "round_to": method.round_to,
             "min_width": method.min_width, "keep": list(method.keep), "origin": method.origin}
    network = build_model(model, filters, convcut=method.convcut, **shape)
    return write(network, filters, method.convcut, model, dataset, shape, about, target, overwrite)


def untrained_shape(task: Task, networks: Networks, folders: Folders) -> Shape:
    """The classes and the image size of a network that nobody has trained: its search's, else its data set's. Raises UserError."""
    dataset = dataset_name(task.dataset)
    if networks.prune_fname:
        record = read_scalings(folders.record_dir, networks.prune_fname, task.model, dataset)
        if is_own(record):
            return {"num_classes": record["num_classes"], "image_size": record["image_size"]}
    if not (dataset in DATASETS or Path(task.dataset).is_dir()):
        raise UserError(f"--dataset {task.dataset}: its classes are not known here; give its folder's path, export a trained network of it "
                        "with --save, or one of a search of it with --prune-fname")
    return shape_of(task.dataset)


def write(network: nn.Module, filters: list[int], convcut: bool, model: str, dataset: str, shape: Shape, about: dict[str, Any],
          target: Path, overwrite: bool) -> Path:
    """Writes the folder ``target``, whole or not at all, and says what is in it. Each file is read again and compared."""
    size, facts = shape["image_size"], dataset_facts(dataset)
    network = network.cpu().eval()
    try:
        exported = plain(network, torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0)))
    except NotImplementedError as error:
        raise UserError(f"this network can't be exported: {error}") from None
    counts = {"params": count_params(model, filters, convcut=convcut, **shape),
              "macs": count_macs(model, filters, convcut=convcut, **shape)}
    stored = sum(parameter.numel() for parameter in exported.parameters())
    with replacing_folder(target, FILES, overwrite) as folder:
        for name, content in written(exported, size):
            (folder / name).write_bytes(content)
        found = differences(network, folder, size)
        architecture = {
            "model": model, "dataset": dataset, **shape, "convcut": convcut, "filters": filters, **counts, "stored_params": stored,
            "input": {"name": "images", "shape": ["N", 3, size, size], "type": "float32", "range": [0, 1],
                      "mean": facts.mean, "std": facts.std}, "output": {"name": "logits", "shape": ["N", shape["num_classes"]]},
            **about, "exported_with": {**provenance("cpu")["versions"], **versions()}, "differences": found}
        (folder / ARCHITECTURE).write_text(json.dumps(architecture, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        (folder / README).write_text(ABOUT.format(size=size), encoding="utf-8")
        sizes = {name: (folder / name).stat().st_size for name in found}
    print(f"{model} on {dataset}, {about['method']} at ratio {about['ratio']:g}: {counts['params']:,} parameters, "
          f"{counts['macs'] / 1e6:.1f} MMACs" + (f"; {stored:,} parameters as exported, for channels that only some layers of a region "
                                                 "kept are there in all, as zeros" if stored != counts["params"] else ""))
    for name in found:
        print(f"  {name}: {sizes[name] / 1e6:.2f} MB, outputs at batch {' and '.join(map(str, BATCHES))} within {found[name]:.1e} of the "
              f"network's (allowed {TOLERANCE:.0e})")
    print(f"exported to {target}")
    return target


def versions() -> dict[str, str]:
    from importlib.metadata import version
    return {name: version(name) for name in PACKAGES}
