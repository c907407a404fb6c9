"""Files that a kill leaves whole: one that is replaced, and one of lines that are added as they come."""

from __future__ import annotations

from pathlib import Path

from gac_app.errors import StorageError


def replace_file(path: Path, text: str) -> None:
    """Write a file, or leave the old one. Its folder is created. Raises StorageError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        work = path.with_suffix(".part")
        work.write_text(text, encoding="utf-8")
        work.replace(path)
    except OSError as error:
        raise StorageError(f"{path.name}: cannot be written ({error.strerror})") from None


class LineFile:
    """Lines of bytes. The file is created with the first line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, line: bytes) -> None:
        """Add a line. When this returns, the operating system has it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.write(line + b"\n")

    def read(self) -> list[bytes]:
        """All lines. An incomplete last one is cut off."""
        if not self.path.exists():
            return []
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            with self.path.open("r+b") as file:
                file.truncate(len(whole))
        return whole.splitlines()
