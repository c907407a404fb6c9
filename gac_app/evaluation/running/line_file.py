"""A file of lines that are added as they come, so that an interrupted run resumes."""

from __future__ import annotations

from pathlib import Path


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
