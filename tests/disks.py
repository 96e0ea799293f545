"""A small disk that is full, also where nothing may be mounted.

It is a file system of its own in memory. Where that may not be mounted, the process that is to
find it full is forbidden to write further than a first byte of any file (RLIMIT_FSIZE); the
kernel then says EFBIG in place of ENOSPC.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Disk:
    """A folder, and whether it is a disk of its own."""

    folder: Path
    is_mounted: bool

    def fill(self, pid: int) -> None:
        """Leave no room for a process."""
        if not self.is_mounted:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
            return
        with (self.folder / "filler").open("ab", buffering=0) as file, suppress(OSError):
            for size in (65536, 4096, 512, 1):
                with suppress(OSError):
                    while file.write(b"\0" * size) == size:
                        pass

    def free(self, pid: int) -> None:
        """Give the room back."""
        if self.is_mounted:
            (self.folder / "filler").unlink()
        else:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Disk]:
    """One of so many bytes, in a folder that is made for it; *size* as mount(8) has it."""
    folder.mkdir()
    options = f"size={size},mode=0700,uid={os.geteuid()}"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    is_mounted = (
        shutil.which("mount") is not None
        and subprocess.run(command, check=False, capture_output=True).returncode == 0
    )
    try:
        yield Disk(folder, is_mounted)
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
