"""Pickles for the tests: as the original release wrote them, damaged, and made to do harm; and a
child to read them in."""

import os
import pickle
import random
import resource
import signal
import struct
from itertools import product
from pathlib import Path

import numpy as np

from utils.errors import UserError
from utils.records.legacy import read_test_accuracy

CURVE = [70.5, 88.25, 87.0]
MIB = 2**20
DTYPE, SCALAR, ENCODE = (
    b"cnumpy\ndtype\n",
    b"cnumpy.core.multiarray\nscalar\n",
    b"c_codecs\nencode\n",
)
RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
F8 = DTYPE + b"(S'f8'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb"


def read_curve(path: Path) -> None:
    """Read the accuracies of a result, which must be some, and numbers in percent."""
    accuracy = read_test_accuracy(path)
    assert accuracy and all(type(a) is float and 0 <= a <= 100 for a in accuracy)


def valid() -> list[bytes]:
    """Results as Python 2 and 3, numpy 1 and 2 pickle them."""
    scalars = [np.float64(70.5), np.float32(88.25), np.float16(87.0)]
    kinds = [
        CURVE,
        tuple(CURVE),
        scalars,
        [np.array(a) for a in CURVE],
        [np.array([a]) for a in CURVE],
        *(np.array(CURVE, kind) for kind in ("f8", ">f8", "f4", "f2")),
    ]
    more = {
        "epochs": 3,
        "lr": 0.1,
        "name": "vgg",
        "loss": np.ones((3, 2), order="F"),
        "of": np.arange(4),
        "done": np.array([True]),
    }
    files = [
        pickle.dumps({"test_acc": kind, **more}, protocol)
        for kind in kinds
        for protocol in range(6)
    ]
    files += [
        file.replace(b"numpy._core.", b"numpy.core.")
        for file in files
        if b"numpy._core." in file and b"\x95" not in file
    ]
    data = struct.pack("<3d", *CURVE)
    python2 = (
        b"(dS'test_acc'\n" + RECONSTRUCT + b"(I1\n(I3\nt" + F8 + b"I00\nU\x18" + data + b"tbs."
    )
    return [*files, python2]


def in_result(value: bytes) -> bytes:
    """``value``, opcodes that push one thing, as the accuracies of a result."""
    return b"\x80\x02}U\x08test_acc" + value + b"s."


def crafted() -> list[bytes]:
    """Files that are made to crash or to fill the memory of a reader that believes them."""

    def array(shape: bytes, dtype: bytes, data: bytes) -> bytes:
        return RECONSTRUCT + b"(I1\n" + shape + dtype + b"I00\n" + data + b"tb"

    def dtype(name: bytes) -> bytes:
        return DTYPE + b"(S'" + name + b"'\nI0\nI1\ntR"

    def frombuffer(data: bytes, shape: bytes) -> bytes:
        return b"cnumpy.core.numeric\n_frombuffer\n(" + data + F8 + shape + b"S'C'\ntR"

    names = [
        b"O",
        b"O8",
        b"V500000000",
        b"S500000000",
        b"U500000000",
        b"M8",
        b"m8[ns]",
        b"f8,f8",
        b"(3,)f8",
        b"c16",
        b"f8" * 9,
        b"",
        b"f3",
    ]
    shapes = [
        b"(I3\nt",
        b"(I0\nt",
        b"(I-1\nt",
        b"(I4\nt",
        b"(I1000000000\nt",
        b"(I1000000000\nI0\nt",
        b"(I1000000\nI1000000\nt",
        b"N",
        b"(lt",
        b"(" + b"I1\n" * 70 + b"t",
        b"(" + b"I2147483647\n" * 1000 + b"t",
        b"(F3.0\nt",
    ]
    datas = [b"(l", b"]", b"N", b"S''\n", b"S'12345678'\n", b"(lI1\naI2\na", b"}", b"I24\n"]
    values = [
        SCALAR + b"(" + dtype(name) + data + b"tR"
        for name, data in product(names, (b"S''\n", b"]"))
    ]
    values += [SCALAR + b"(" + dtype(name) + b"tR" for name in names]
    values += [
        array(b"(I3\nt", dtype(name), data) for name, data in product(names, (b"]", b"S''\n"))
    ]
    values += [array(shape, F8, data) for shape, data in product(shapes, datas)]
    values += [frombuffer(data, b"(I3\nt") for data in datas]
    values += [
        F8 + b"(" + state + b"tb"
        for state in (b"", b"N", b"I3\n" * 8, b"I4\nS'|'\n(S'f8'\n(I2\ntt" + b"N" * 5)
    ]
    halves = [b"cnumpy\nndarray\n(I5\ntR", b"cnumpy\nndarray\n)\x81"]
    halves += [RECONSTRUCT, RECONSTRUCT + b"Nb", RECONSTRUCT + b"}b", SCALAR, DTYPE + b"(tR"]
    # a state of ("", {"x": 1})
    values += halves + [value + b"(N}U\x01xK\x01stb" for value in (SCALAR, DTYPE, ENCODE, F8)]
    # a tuple, a list of two of the one before
    for twice, depth in product((b"2\x86", b"q\x000(h\x00h\x00l"), (20, 60, 100_000)):
        # and as a key, which is hashed
        values += [b"K\x01" + twice * depth, b"}K\x01" + twice * depth + b"K\x02s"]
    deep = 250_000
    values += [
        b"]" * deep + b"a" * (deep - 1),
        b"K\x01" + b"}\x94" * 5 * deep,
        b"}K\x01" + b"\x85" * deep + b"K\x02s",
    ]
    values += [b"(" * deep, b"}" * deep]
    # that hold themselves
    values += [b"]q\x00h\x00a", b"]q\x00h\x00ah\x00a", b"}q\x00U\x01xh\x00s", b"]q\x00(h\x00h\x00e"]
    values += [
        b"K\x01" + put
        for put in (
            b"r\xff\xff\xff\x7f",
            b"r\xff\xff\xff\xff",
            b"p99999999999\n",
            b"p-1\n",
            b"q\xff",
        )
    ]
    values += [
        opcode + struct.pack("<Q", size) + b"12345678"
        for opcode in (b"\x8e", b"\x8d", b"\x96", b"\x95")
        for size in (10**9, 2**33, 2**40, 2**63 - 1, 2**64 - 1)
    ]
    values += [
        opcode + struct.pack("<i", size) + b"1234"
        for opcode in (b"\x8b", b"B", b"T", b"X")
        for size in (2**31 - 1, -1)
    ]
    values += [
        b"L" + b"9" * 10**6 + b"L\n",
        b"I" + b"9" * 10**6 + b"\n",
        b"\x8b" + struct.pack("<i", 10**7) + b"\x7f" * 10**7,
    ]
    values += [b"\x8e" + struct.pack("<Q", 10**7) + bytes(10**7) + b"2" * 500_000 + b"t"]
    text = b"X" + struct.pack("<i", 10**7) + b"a" * 10**7 + b"q\x01"
    # ten megabytes, encoded 400 times
    values += [text + b"0](" + (ENCODE + b"h\x01U\x06latin1\x86R") * 400 + b"e"]
    number = b"\x8b" + struct.pack("<i", 10**7) + b"\x7f" * 10**7 + b"q\x01"
    values += [number + b"0}(" + b"h\x01K\x01" * 200_000 + b"u"]  # a huge number, hashed many times
    long_key = b"X" + struct.pack("<i", 4 * 10**6) + b"test" * 10**6
    array_8 = (
        RECONSTRUCT
        + b"(I1\n(I90000\nt"
        + dtype(b"u1")
        + b"I00\nT\x90_\x01\x00"
        + b"0" * 90_000
        + b"tb"
    )
    values += [array_8, b"](" + (array_8 + b"q\x07") + b"h\x07" * 90_000 + b"e"]
    values += [
        b"(c_codecs\nencode\n(K\x01U\x06latin1tR",
        ENCODE + b"(U\x01aU\x08idna.foostR",
        ENCODE + b"(" + b"U\x01a" * 3 + b"tR",
    ]
    values += [
        b"c__builtin__\nset\n]R",
        b"\x8f",
        b"\x8f(K\x01\x90",
        b"(K\x01\x91",
        b"ccollections\nOrderedDict\n)R",
        b"P1\n",
        b"Q",
    ]
    values += [
        b"\x82\x01",
        b"\x97",
        b"\x98",
        b"(inumpy\nndarray\n",
        b"(cnumpy\ndtype\no",
        b"]K\x01\x93",
        b"K\x01K\x02\x86" + b"2\x86" * 60 + b"K\x01\x93",
    ]
    keys = [b"\x80\x02}" + long_key + b"K\x01s."]  # quadratic, for a careless regular expression
    return (
        [in_result(value) for value in values]
        + keys
        + [b"\x80\x02" + value + b"." for value in halves]
    )


def mutated(files: list[bytes], count: int) -> list[bytes]:
    """Valid files with bytes flipped, replaced, removed, repeated, or with a piece of another file
    in them."""
    draw, mutations = random.Random(0), []
    for _ in range(count):
        content = bytearray(draw.choice(files))
        for _ in range(draw.randint(1, 4)):
            at, length = draw.randrange(len(content)), draw.randint(1, 8)
            other = draw.choice(files)
            start = draw.randrange(len(other))
            content[at : at + draw.choice([0, length])] = draw.choice(
                [
                    bytes([content[at] ^ 1 << draw.randrange(8)]),
                    draw.randbytes(length),
                    b"",
                    content[at : at + length] * 2,
                    other[start : start + 4 * length],
                    bytes([draw.choice(b".(02]})tabeRuslqrh\x81\x85\x86\x93\x94\x96")]),
                ]
            )
            content = content or bytearray(b".")
        mutations.append(bytes(content))
    return mutations


def read_all(files: list[bytes], read, path: Path) -> None:
    """Reads every file in a child that may take 512 MiB more; none may need them, or 30 seconds, or
    kill it."""
    progress = path.with_name("progress")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            resource.setrlimit(
                resource.RLIMIT_AS, (pages * resource.getpagesize() + 512 * MIB,) * 2
            )
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            for number, file in enumerate(files):
                progress.write_text(f"{number}: {file[:150]!r}")
                path.write_bytes(file)
                signal.alarm(30)
                try:
                    read(path)
                except UserError as error:
                    assert str(path) in str(error) and len(str(error)) < 1000, "what it says"
                    assert not isinstance(error.__context__, MemoryError), "memory"
                signal.alarm(0)
            status = 0
        except BaseException as error:
            progress.write_text(f"{error!r} at {progress.read_text()}")
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == 0, f"the reader ended with {status} at file {progress.read_text()}"
