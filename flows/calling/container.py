"""The memory that the container of this process may use: beyond it, the kernel kills, often everything in it."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

ROOT, GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_UNLIMITED = 1 << 60
"""Without a limit, the first version of control groups has a number near 2⁶³."""


def container_bytes(root: Path = ROOT, groups: Path = GROUPS) -> int | None:
    """The lowest limit of memory of the control groups that this process is in; None without one."""
    limits: list[int] = []
    for file in _limit_files(root, groups):
        with suppress(OSError, ValueError):  # no such file, or "max"
            limits.append(int(file.read_text()))
    return min((limit for limit in limits if 0 < limit < _UNLIMITED), default=None)


def _limit_files(root: Path, groups: Path) -> Iterator[Path]:
    try:
        lines = groups.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top, name = (root / "memory", "memory.limit_in_bytes") if controllers else (root, "memory.max")
        group_folder = top / group.lstrip("/")
        for folder in (group_folder, *group_folder.parents):  # a limit holds for all groups inside
            yield folder / name
            if folder == top:
                break
