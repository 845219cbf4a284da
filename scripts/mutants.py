"""Broken files from whole ones, each from a seed of its own: what `fuzz` feeds to the package's readers.

Bytes are flipped, cut, doubled, lost and put in; fields of headers are set to extremes; of archives the members are
broken and packed anew, so that checksums are right and what reads the member gets to see it; of texts words are
replaced by others that no one would write.
"""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Callable

EXTREMES = (0, 1, 2, 7, 0x7F, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1)
WORDS = (
    *(
        "",
        " ",
        "-1",
        "0",
        "1e309",
        "-1e309",
        "1e300",
        "1e18",
        "nan",
        "inf",
        "-inf",
        "9" * 30,
        "9" * 5000,
        "0x10",
        "1_0",
    ),
    *(
        "true",
        "null",
        '"',
        "'",
        '""',
        "[" * 40,
        "[" * 5000,
        "{" * 40,
        "\\",
        "\\u0000",
        "\0",
        "\n",
        "\r",
        "\t",
        ",",
        ";",
    ),
    *(
        "../../etc/passwd",
        "/etc/passwd",
        "~nobody/x",
        "a" * 300,
        "a" * 70_000,
        "<script>alert(1)</script>",
        "é",
        "\u202e",
    ),
    *("#t=0,1e300", "%s", "{{7*7}}", "-"),
)
VALUES = (
    None,
    True,
    -1,
    0,
    2**31,
    2**63,
    10**12,
    10**30,
    1e308,
    -1e308,
    "",
    "x" * 300,
    [],
    {},
    [[]],
    {"a": 1},
    "\0",
    0.5,
)
HEAD = 256  # bytes in which headers lie


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """Break a file once to four times."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        data = rng.choice(BREAKS)(data, rng)
    return data


def mutate_riff(data: bytes, rng: random.Random) -> bytes:
    """Break a WAV or AIFF in its chunks, or as any file."""
    chunks = _chunks(data)
    if not chunks or rng.random() < 0.4:
        return mutate_bytes(data, rng)
    little = data[:4] == b"RIFF"
    start, size = rng.choice(chunks)
    match rng.randrange(5):
        case 0:
            return _with(data, start + 4, _extreme(rng, 4, little=little))
        case 1:
            part = data[start : start + 8 + size + size % 2]
            return data[:start] + part * rng.choice((2, 3, 50)) + data[start + len(part) :]
        case 2:
            return data[:start] + data[start + 8 + size + size % 2 :]
        case 3:  # channels, rate, bytes a second, bytes a frame, bits: wherever they are in the first chunk
            at = chunks[0][0] + 8 + rng.randrange(0, 24, 2)
            return _with(data, at, _extreme(rng, rng.choice((2, 4)), little=little))
        case _:
            return data[:start] + rng.randbytes(rng.randrange(1, 64)) + data[start:]


def mutate_text(data: bytes, rng: random.Random) -> bytes:
    """Break a text in its words and lines, or as any file."""
    if rng.random() < 0.25:
        return mutate_bytes(data, rng)
    separators = b' \t\n,="|'
    for _ in range(rng.choice((1, 1, 2, 5))):
        edges = [0, *(i for i, byte in enumerate(data) if byte in separators), len(data)]
        i = rng.randrange(len(edges) - 1)
        word = rng.choice(WORDS).encode()
        match rng.randrange(5):
            case 0 | 1:
                data = data[: edges[i] + 1] + word + data[edges[i + 1] :]
            case 2:
                data = data[: edges[i]] + word + data[edges[i] :]
            case 3:
                lines = data.split(b"\n")
                line = rng.randrange(len(lines))
                data = b"\n".join(lines[:line] + lines[line : line + 1] * rng.choice((0, 2, 3)) + lines[line + 1 :])
            case _:
                data = data[: edges[i]] + bytes([rng.choice((0, 0x80, 0xC3, 0xED, 0xFF))]) + data[edges[i] :]
    return data


def mutate_json(data: bytes, rng: random.Random) -> bytes:
    """Put something else in some places of a JSON text, or break it as a text."""
    if rng.random() < 0.3:
        return mutate_text(data, rng)
    holder = [json.loads(data)]
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        places = list(_places(holder))
        where, key = rng.choice(places)
        if rng.random() < 0.2 and where is not holder:
            del where[key]
        else:
            where[key] = rng.choice(VALUES)
        if not holder:
            break
    return json.dumps(holder[0]).encode()


def mutate_zip(data: bytes, rng: random.Random, inner: Callable[[str, bytes, random.Random], bytes]) -> bytes:
    """Break a member of a zip archive by `inner` and pack it anew, or break the archive as any file."""
    if rng.random() < 0.25:
        return mutate_bytes(data, rng)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    i = rng.randrange(len(members))
    name, content = members[i]
    match rng.randrange(12):
        case 0:
            del members[i]
        case 1:
            members.append((rng.choice((name, "../" + name, "/etc/x", "a\0b", "x.npy", "")), content))
        case 2:
            members[i] = (rng.choice(("other.npy", "../x.npy", "é.npy")), content)
        case _:
            members[i] = (name, inner(name, content, rng))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of names that come twice
            for name, content in members:
                archive.writestr(zipfile.ZipInfo(name), content)
    return out.getvalue()


def mutate_npy(_name: str, data: bytes, rng: random.Random) -> bytes:
    """Break an npy: its text of type and shape, its JSON if it holds any, or its bytes."""
    if rng.random() < 0.5:
        return mutate_bytes(data, rng)
    size = int.from_bytes(data[8:10], "little")
    header, body = data[10 : 10 + size].decode("latin-1"), data[10 + size :]
    types = (
        "|O",
        "<f2",
        "<f4",
        "<f8",
        ">f4",
        "<i8",
        "<c8",
        "|b1",
        "<U7",
        "|S0",
        "<M8[s]",
        "|V0",
        "{'a': '<f4'}",
        "(" * 90,
    )
    shapes = (
        "()",
        "(1000000000000,)",
        "(-1,)",
        "(0,)",
        "(2, 0)",
        "(1,)",
        "(1, 1, 1, 1, 1)",
        "(" * 90,
        "(True,)",
        "(1e9,)",
    )
    if rng.random() < 0.5:
        before, _, rest = header.partition("'descr': ")
        header = before + "'descr': '" + rng.choice(types) + "'" + rest[rest.find(",") :]
    else:
        before, _, _ = header.partition("'shape': ")
        header = before + "'shape': " + rng.choice(shapes) + ", }"
    text = (header.rstrip() + " " * 64).encode("latin-1") + b"\n"
    return data[:8] + len(text).to_bytes(2, "little") + text + body


def _flip(data: bytes, rng: random.Random) -> bytes:
    if not data:
        return data
    found = bytearray(data)
    reach = min(len(data), HEAD) if rng.random() < 0.6 else len(data)
    for _ in range(rng.choice((1, 2, 8, 32))):
        found[rng.randrange(reach)] ^= 1 << rng.randrange(8)
    return bytes(found)


def _field(data: bytes, rng: random.Random) -> bytes:
    if not data:
        return data
    at = rng.randrange(min(len(data), HEAD if rng.random() < 0.7 else len(data)))
    return _with(data, at, _extreme(rng, rng.choice((1, 2, 4, 8)), little=rng.random() < 0.6))


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.choice((0, rng.randrange(len(data) + 1), rng.randrange(min(len(data), HEAD) + 1)))]


def _lose(data: bytes, rng: random.Random) -> bytes:
    at, size = rng.randrange(len(data) + 1), rng.choice((1, 2, 4, 16, 512))
    return data[:at] + data[at + size :]


def _double(data: bytes, rng: random.Random) -> bytes:
    at, size = rng.randrange(len(data) + 1), rng.choice((1, 4, 64, 1024))
    return data[:at] + data[at : at + size] * rng.choice((2, 3)) + data[at + size :]


def _insert(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(min(len(data), HEAD) + 1 if rng.random() < 0.5 else len(data) + 1)
    return data[:at] + rng.randbytes(rng.choice((1, 2, 4, 64))) + data[at:]


def _noise(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    some = rng.randbytes(min(len(data) - at, rng.choice((8, 64, 2048))))
    return _with(data, at, some)


BREAKS = (_flip, _flip, _field, _field, _cut, _lose, _double, _insert, _noise)


def _extreme(rng: random.Random, size: int, *, little: bool) -> bytes:
    value = rng.choice(EXTREMES) % (1 << 8 * size)
    return value.to_bytes(size, "little" if little else "big")


def _with(data: bytes, at: int, part: bytes) -> bytes:
    return data[:at] + part + data[at + len(part) :]


def _chunks(data: bytes) -> list[tuple[int, int]]:
    """Return where the chunks of a RIFF or an AIFF begin, and their sizes."""
    if data[:4] not in (b"RIFF", b"FORM"):
        return []
    order = "little" if data[:4] == b"RIFF" else "big"
    found, at = [], 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], order)
        found.append((at, size))
        at += 8 + size + size % 2
    return found


def _places(value: object) -> list[tuple[object, object]]:
    """Return every container in a JSON value with each of its keys."""
    if not isinstance(value, list | dict):
        return []
    keys = list(range(len(value))) if isinstance(value, list) else list(value)
    found = [(value, key) for key in keys]
    for key in keys:
        found += _places(value[key])
    return found
