"""Natural text from two Debian packages: the King James Bible and the definitions of WordNet 3.0.

``bible-kjv-text`` with ``bible-kjv`` (the program that unpacks it) and ``wordnet-base`` are fetched with ``apt-get
download`` and unpacked with ``dpkg-deb -x``; nothing is installed. One sentence in 25, by the CRC of its text, is held
out of training: half of those measure the held-out loss, the other half make items.
"""

from __future__ import annotations

import re
import subprocess
import zlib
from collections.abc import Iterable
from pathlib import Path

PACKAGES = ("bible-kjv", "bible-kjv-text", "wordnet-base")
SOURCES = ("bible", "wordnet")
HELD_OUT_MODULUS = 25
SHORTEST = 20  # characters; shorter lines are headings and fragments
_UNWANTED = re.compile(r"[^a-z .,;:?!'()\-]")
_WORDS = re.compile(r"[a-z]+|[.,;:?!'()\-]")


def clean(line: str) -> str:
    """Lower case, the letters a-z and . , ; : ? ! ' ( ) - only, single blanks."""
    return re.sub(r"\s+", " ", _UNWANTED.sub(" ", line.lower().replace('"', " "))).strip()


def words(sentence: str) -> list[str]:
    """Words and punctuation marks of a clean sentence."""
    return _WORDS.findall(sentence)


def split_of(sentence: str) -> str:
    """What a sentence is for: "train", "loss" or "items"."""
    code = zlib.crc32(sentence.encode())
    if code % HELD_OUT_MODULUS:
        return "train"
    return "loss" if code // HELD_OUT_MODULUS % 2 else "items"


def fetch(folder: Path) -> None:
    """Download and unpack the three packages below `folder`, unless they are there already."""
    unpacked = folder / "unpacked"
    if unpacked.exists():
        return
    downloads = folder / "packages"
    downloads.mkdir(parents=True, exist_ok=True)
    if len(list(downloads.glob("*.deb"))) < len(PACKAGES):
        subprocess.run(["apt-get", "download", *PACKAGES], cwd=downloads, check=True)
    partial = folder / "unpacked.partial"
    for package in sorted(downloads.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", str(package), str(partial)], check=True)
    partial.rename(unpacked)


def load(folder: Path) -> dict[str, list[str]]:
    """Clean sentences by source, in the packages' order: verses; definitions with their examples."""
    unpacked = folder / "unpacked"
    reader = next(unpacked.glob("usr/**/bin/bible"), None) or next(unpacked.glob("**/bible"))
    data = next(unpacked.glob("**/bible.data"))
    # The program reads its text from the folder given by -p; a verse a line, "Ge1:1 In the beginning ...".
    verses = subprocess.run(
        [str(reader), "-p", str(data.parent), "-f", "Gen1:1-Rev22:21"], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    bible = [clean(verse.split(" ", 1)[1]) for verse in verses if " " in verse]
    definitions: list[str] = []
    for path in sorted(unpacked.glob("**/wordnet/data.*")):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        definitions += [clean(line.split("| ", 1)[1]) for line in lines if not line.startswith(" ") and "| " in line]
    return {"bible": _long_enough(bible), "wordnet": _long_enough(definitions)}


def _long_enough(sentences: Iterable[str]) -> list[str]:
    return [sentence for sentence in sentences if len(sentence) > SHORTEST]
