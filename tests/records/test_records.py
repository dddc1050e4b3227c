"""Records are whole or not there; what is damaged is named."""

import errno
import json
import os
import threading

import pytest
import torch
from running import refusal

from utils.errors import UserError
from utils.records import files, paths, run, searches
from utils.settings import Storage, check_name

# --- writing --------------------------------------------------------------------------------------

WRITERS = {
    "text": (files.write_text, "new", lambda path: path.read_text()),
    "json": (files.write_json, {"a": [1, 2.5, "é", None, True]}, files.read_json),
    "rows": (files.write_rows, [[3, 2], [1, 1]], lambda path: files.read_rows(path, 2)),
    "tensors": (files.write_tensors, {"a": [1, {"b": "c"}]}, files.read_tensors),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_what_is_written_is_read_back_and_its_folders_are_made(tmp_path, kind):
    write, content, read = WRITERS[kind]
    path = tmp_path / "new" / "folder" / "x.dat"
    write(path, content)
    assert read(path) == content
    assert os.listdir(path.parent) == ["x.dat"]  # nothing temporary stays


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_an_error_while_writing_leaves_the_old_content_and_nothing_else(
    tmp_path, monkeypatch, kind, failing
):
    def no_space(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    write, content, _ = WRITERS[kind]
    path = tmp_path / "x.dat"
    path.write_text("old")
    monkeypatch.setattr(os, failing, no_space)
    message = refusal(write, path, content)
    assert str(path) in message and "No space left on device" in message
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["x.dat"]


@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "Input/output error"), ValueError("a bug"), KeyboardInterrupt()]
)
def test_an_error_half_way_through_leaves_the_old_content_and_nothing_else(tmp_path, error):
    path = tmp_path / "x.dat"
    path.write_text("old")
    with (
        pytest.raises(UserError if isinstance(error, OSError) else type(error)),
        files.replacing(path) as temporary,
    ):
        temporary.write_text("hal")
        raise error
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["x.dat"]


def test_the_remains_of_a_killed_writer_go_with_the_next_writing_and_those_of_a_living_one_stay(
    tmp_path,
):
    """Earlier versions called them by the number of a process, whichever process may have that
    now."""
    remains = [
        tmp_path / f".a.json.{which}.tmp.json"
        for which in ("0123456789abcdef", 2**22 + 1, os.getpid())
    ]
    others = [
        tmp_path / name
        for name in (
            f".b.json.{2**22 + 1}.tmp.json",
            ".a.json.mine.tmp.json",
            f"a.json.{2**22 + 1}.tmp.json",
        )
    ]
    for path in remains + others:
        path.write_text("torn")
    with files.replacing(tmp_path / "a.json") as living:
        living.write_text("{}")
        files.write_json(tmp_path / "a.json", {})
        assert {path.name for path in tmp_path.iterdir()} == {
            "a.json",
            living.name,
            *(path.name for path in others),
        }
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", *(path.name for path in others)}


def test_nobody_can_guess_where_a_file_is_written_before_it_is_renamed(tmp_path):
    """Who could would have a link there before, and have us write to where it leads."""
    names = set()
    for _ in range(20):
        with files.replacing(tmp_path / "a.json") as temporary:
            names.add(temporary.name.split(".")[3])
            temporary.write_text("{}")
    assert (
        len(names) == 20
        and all(len(name) >= 16 for name in names)
        and not {str(os.getpid())} & names
    )


def test_what_lies_where_a_file_would_be_written_is_not_written_to(tmp_path, monkeypatch):
    for name in ("link", "file"):
        victim = tmp_path / name
        victim.write_text("mine")
        monkeypatch.setattr(files.secrets, "token_hex", lambda length: "guessed")
        temporary = tmp_path / ".a.json.guessed.tmp.json"
        temporary.symlink_to(victim) if name == "link" else os.link(victim, temporary)
        assert "File exists" in refusal(files.write_json, tmp_path / "a.json", {})
        assert victim.read_text() == "mine"


def test_files_may_be_read_by_whom_the_umask_lets(tmp_path):
    before = os.umask(0o027)
    try:
        files.write_json(tmp_path / "a.json", {})
    finally:
        os.umask(before)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o640


def test_content_that_is_no_json_leaves_the_old_content(tmp_path):
    files.write_json(tmp_path / "x.json", {"a": 1})
    with pytest.raises(TypeError):
        files.write_json(tmp_path / "x.json", {"a": 2, "b": object()})
    assert files.read_json(tmp_path / "x.json") == {"a": 1}


def test_a_reader_never_sees_half_a_file(tmp_path):
    path = tmp_path / "x.json"
    files.write_json(path, {"i": -1, "rows": [0] * 20_000})

    def write():
        for i in range(40):
            files.write_json(path, {"i": i, "rows": [i] * 20_000})

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        content = files.read_json(path)
        assert len(content["rows"]) == 20_000 and content["rows"][-1] in (content["i"], 0)
    writer.join()
    assert files.read_json(path)["i"] == 39


# --- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        '{"a": NaN}',
        '{"a": Infinity}',
        "[-Infinity]",
        '{"a": 1e999}',
        '{"a": -1e999}',
        "",
        "{",
        '{"a": [1, 2',
        '{"a": 1}}',
        "a",
        "[" * 100_000,
        "9" * 10_000,
    ],
    ids=lambda content: content[:12] or "empty",
)
def test_json_that_is_torn_or_holds_nan_or_infinity_is_named(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    assert str(tmp_path / "x.json") in refusal(files.read_json, tmp_path / "x.json")


def test_every_torn_beginning_of_a_record_is_refused(tmp_path):
    path = tmp_path / "x.json"
    files.write_json(path, {"model": "vgg", "iterations": [{"alpha": [1.5], "beta": [0.25]}]})
    whole = path.read_bytes()
    for end in range(len(whole) - 1):  # the last byte is only the end of the line
        path.write_bytes(whole[:end])
        refusal(files.read_json, path)


def test_files_that_are_missing_or_no_text_or_folders_are_named(tmp_path):
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name, reason in (
        ("none", "no such file; do this"),
        ("binary", "can't be read"),
        ("", "can't be read"),
    ):
        message = refusal(files.read_json, tmp_path / name, "do this")
        assert str(tmp_path / name) in message and reason in message


@pytest.mark.parametrize(
    "content",
    [
        "",
        "\n",
        "{}",
        "a,b,c\n",
        "1;2;3\n",
        "1,2\n",
        "1,2,\n",
        "1,2,3,4\n",
        "1,2,3\n1,2\n",
        "1,2,3\n\n1,2,3\n",
        "1,2,0\n",
        "1,2,-3\n",
        "1,2,3.5\n",
        "1,2,nan\n",
        "1,2,1_0\n",
        '1,2,"3\n',
    ],
)
def test_rows_that_are_not_widths_of_every_layer_are_named(tmp_path, content):
    (tmp_path / "x_0.csv").write_text(content)
    assert str(tmp_path / "x_0.csv") in refusal(files.read_rows, tmp_path / "x_0.csv", 3)


def test_rows_are_one_line_of_plain_numbers_each(tmp_path):
    files.write_rows(tmp_path / "x_0.csv", [[64, 128], [9, 1]])
    assert (tmp_path / "x_0.csv").read_bytes() == b"64,128\n9,1\n"


class Malicious:
    def __reduce__(self):
        return os.system, ("touch $NEURALSCALE_TEST_PROOF",)


def test_reading_weights_runs_no_code_from_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("NEURALSCALE_TEST_PROOF", str(tmp_path / "proof"))
    torch.save({"network": Malicious()}, tmp_path / "x.pt")
    assert str(tmp_path / "x.pt") in refusal(files.read_tensors, tmp_path / "x.pt")
    assert not (tmp_path / "proof").exists()


def test_weights_that_are_torn_or_missing_or_no_checkpoint_are_named(tmp_path):
    path = tmp_path / "x.pt"
    assert str(path) in refusal(files.read_tensors, path)
    files.write_tensors(path, {"weight": torch.arange(1000.0)})
    assert torch.equal(files.read_tensors(path)["weight"], torch.arange(1000.0))
    whole = path.read_bytes()
    for content in (b"", whole[: len(whole) // 2], whole[:-1], b"not weights"):
        path.write_bytes(content)
        assert str(path) in refusal(files.read_tensors, path)
    torch.save(torch.ones(3), path)
    assert "Tensor" in refusal(files.read_tensors, path)


def search_record() -> dict:
    return {
        "model": "vgg",
        "dataset": "digits",
        "num_classes": 10,
        "image_size": 32,
        "settings": {},
        "versions": {},
        "iterations": [
            {
                "alpha": [1.5, 2.0] * 4,
                "beta": [0.25, -0.1] * 4,
                "filters": [64, 32] * 4,
                "rounds": 7,
                "seconds": 1.0,
            }
        ],
    }


def test_a_search_is_read_for_the_model_and_data_set_it_was_made_with(tmp_path):
    files.write_json(tmp_path / "x.json", search_record())
    assert searches.read_search(tmp_path, "x", "vgg", "digits") == search_record()
    assert searches.read_search(tmp_path, "x", "vgg", None) == search_record()
    for model, dataset in (("resnet18", "digits"), ("vgg", "CIFAR10")):
        message = refusal(searches.read_search, tmp_path, "x", model, dataset)
        assert str(tmp_path / "x.json") in message and "vgg on digits" in message


@pytest.mark.parametrize(
    "damage",
    [
        lambda record: record.pop("model"),
        lambda record: record.pop("iterations"),
        lambda record: record.update(settings=None),
        lambda record: record.update(model=5),
        lambda record: record.update(num_classes=0),
        lambda record: record.update(num_classes="10"),
        lambda record: record.update(iterations=7),
        lambda record: record["iterations"][0].pop("alpha"),
        lambda record: record["iterations"][0].update(alpha=[1.5]),
        lambda record: record["iterations"][0].update(beta=[0.25, None]),
        lambda record: record["iterations"][0].update(alpha=[1.5, 0]),
        lambda record: record["iterations"][0].update(alpha=[1.5, -2]),
        lambda record: record["iterations"][0].update(filters=[64, 0]),
        lambda record: record["iterations"][0].update(filters=[64, 1.5]),
        lambda record: record["iterations"].append(
            {**record["iterations"][0], "filters": [64], "alpha": [1.0], "beta": [0.1]}
        ),
    ],
)
def test_a_damaged_search_record_is_named(tmp_path, damage):
    record = search_record()
    damage(record)
    (tmp_path / "x.json").write_text(json.dumps(record))
    assert str(tmp_path / "x.json") in refusal(searches.read_search, tmp_path, "x", "vgg", "digits")


@pytest.mark.parametrize("content", ["[]", "null", "3", '"text"', "{}"])
def test_json_of_another_kind_is_no_search_record(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    assert str(tmp_path / "x.json") in refusal(searches.read_search, tmp_path, "x", "vgg", "digits")


def test_iterations_are_counted_from_0_and_the_last_is_minus_1():
    record = {"iterations": [{"alpha": [i], "beta": [0.5]} for i in (1, 2, 3)]}
    assert [searches.law_of(record, i).alpha for i in (0, 2, -1)] == [[1], [3], [3]]
    assert "0 to 2" in refusal(searches.law_of, record, 3)
    assert "no iteration" in refusal(searches.law_of, {"iterations": []}, 0)


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["filename", "vgg_10_eff_c100_late_0", "a", "x.y-z+1", "Größe_2", "published_0"]
)
def test_names_of_letters_digits_and_four_signs_are_good(name):
    assert check_name(name) == Storage(save=name).save == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a/b",
        "/a",
        "../a",
        ".",
        "..",
        ".hidden",
        "-a",
        "a b",
        "a\n",
        "a\0",
        "a\\b",
        "a*",
        "a" * 152,
        "published",
    ],
)
def test_names_that_are_paths_hidden_or_taken_are_refused(name):
    refusal(check_name, name)
    assert "--save" in refusal(lambda: Storage(save=name))


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (0.25, 25),
        (0.29, 29),
        (0.57, 57),
        (0.58, 58),
        (1.0, 100),
        (1.1, 110),
        (1.15, 115),
        (1.75, 175),
        (2.0, 200),
        (0.125, 12),
        (0.999, 99),
    ],
)
def test_percent_is_int_of_100_ratio_safe_from_binary_fractions(ratio, expected):
    assert paths.percent(ratio) == expected


def test_results_are_named_after_model_save_and_percent():
    assert (
        paths.result_file("saved_plots", "vgg", "x_0", 1.15).as_posix()
        == "saved_plots/vgg/x_0_115.json"
    )
    assert paths.search_record("prune_record", "x").as_posix() == "prune_record/x.json"
    assert paths.search_rows("prune_record", "x", 14).as_posix() == "prune_record/x_14.csv"


# --- settings of work found under a name ----------------------------------------------------------


def test_work_begun_with_other_settings_is_named_with_both_values(tmp_path):
    stored = {"lr": 0.1, "seed": 0, "iterations": 5}
    run.same_settings(tmp_path, dict(stored), stored)
    message = refusal(run.same_settings, tmp_path, {**stored, "lr": 0.2}, stored)
    assert all(part in message for part in (str(tmp_path), "lr = 0.1", "0.2", "--overwrite"))
    refusal(run.same_settings, tmp_path, {**stored, "new": 1}, stored)
    run.same_settings(tmp_path, {**stored, "iterations": 15}, stored, ("iterations",))
    refusal(run.same_settings, tmp_path, {**stored, "iterations": 4}, stored, ("iterations",))


# --- on what it was run ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "name"),
    [
        (
            "processor\t: 0\nmodel name\t: A Maker: Model 7\nprocessor\t: 1\nmodel name\t: A "
            "Maker: Model 7\n",
            "A Maker: Model 7, arm64",
        ),
        ("processor\t: 0\nBogoMIPS\t: 48.00\n", "arm64"),  # Linux on ARM gives no name
        (None, "arm64"),
    ],
)  # no Linux
def test_the_processor_is_named_where_that_is_known(monkeypatch, told, name):
    def read(path, *_, **__):
        assert str(path) == "/proc/cpuinfo"
        if told is None:
            raise FileNotFoundError(path)
        return told

    monkeypatch.setattr(run.platform, "machine", lambda: "arm64")
    monkeypatch.setattr(run.Path, "read_text", read)
    assert run.processor() == f"{name}, {torch.backends.cpu.get_cpu_capability()}"
