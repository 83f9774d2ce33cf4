"""A file system that forgets: a FUSE mount whose writes are lost at a power cut unless they were synced.

Run as ``python -m tests.fakes.amnesia MOUNTPOINT CONTROL_SOCKET``; it answers one command a connection on the unix
socket: ``cut SEED TEAR`` (lose what was not synced, keep a torn prefix of TEAR bytes of the lost writes where TEAR is
not 0), ``fail ERRNO`` (every write, sync and create answers with it), ``heal``. Regular files in one flat directory are
all that SQLite needs here. A file's content is kept twice: as the programs see it, and as it is on the "disk"."""

from __future__ import annotations

import errno
import os
import random
import socket
import stat
import sys
import threading
import time
from typing import Any

import mfusepy as fuse


class Amnesia(fuse.Operations):
    use_ns = True

    def __init__(self) -> None:
        self.seen: dict[str, bytearray] = {}
        self.disk: dict[str, bytes] = {}
        self.lost: dict[str, list[tuple[int, bytes]]] = {}
        """Writes since the last sync, in order."""
        self.fails = 0
        self.guard = threading.RLock()
        self.began = time.time_ns()

    def _check(self) -> None:
        if self.fails:
            raise fuse.FuseOSError(self.fails)

    def _file(self, path: str) -> bytearray:
        try:
            return self.seen[path]
        except KeyError:
            raise fuse.FuseOSError(errno.ENOENT) from None

    def getattr(self, path: str, fh: Any = None) -> dict[str, Any]:
        with self.guard:
            if path == "/":
                mode, size = stat.S_IFDIR | 0o755, 0
            else:
                mode, size = stat.S_IFREG | 0o644, len(self._file(path))
            now = self.began
            return {"st_mode": mode, "st_size": size, "st_nlink": 1, "st_uid": os.getuid(), "st_gid": os.getgid(),
                    "st_mtime": now, "st_atime": now, "st_ctime": now}

    def readdir(self, path: str, fh: Any) -> list[str]:
        return [".", "..", *(name[1:] for name in self.seen)]

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        with self.guard:
            self._check()
            self.seen[path] = bytearray()
            self.disk.setdefault(path, b"")  # names are kept: what is tested is their content
            return 0

    def open(self, path: str, flags: int) -> int:
        self._file(path)
        return 0

    def read(self, path: str, size: int, offset: int, fh: Any) -> bytes:
        with self.guard:
            return bytes(self._file(path)[offset : offset + size])

    def write(self, path: str, data: bytes, offset: int, fh: Any) -> int:
        with self.guard:
            self._check()
            file = self._file(path)
            if len(file) < offset:
                file.extend(bytes(offset - len(file)))
            file[offset : offset + len(data)] = data
            self.lost.setdefault(path, []).append((offset, bytes(data)))
            return len(data)

    def truncate(self, path: str, length: int, fh: Any = None) -> int:
        with self.guard:
            self._check()
            file = self._file(path)
            del file[length:]
            file.extend(bytes(length - len(file)))
            return 0

    def fsync(self, path: str, datasync: int, fh: Any) -> int:
        with self.guard:
            self._check()
            self.disk[path] = bytes(self._file(path))
            self.lost.pop(path, None)
            return 0

    def unlink(self, path: str) -> int:
        with self.guard:
            self._check()
            self._file(path)
            del self.seen[path]
            self.disk.pop(path, None)
            self.lost.pop(path, None)
            return 0

    def rename(self, old: str, new: str) -> int:
        with self.guard:
            self._check()
            self.seen[new] = self._file(old)
            del self.seen[old]
            self.disk[new] = self.disk.pop(old, b"")
            self.lost[new] = self.lost.pop(old, [])
            return 0

    def statfs(self, path: str) -> dict[str, int]:
        return {"f_bsize": 4096, "f_frsize": 4096, "f_blocks": 1 << 20, "f_bavail": 1 << 19, "f_bfree": 1 << 19,
                "f_namemax": 255}

    # --- what happens to it --------------------------------------------------------------------------------

    def cut(self, seed: int, tear: int) -> None:
        """Power cut: of the unsynced writes some arrived, the last of them perhaps only its first ``tear`` bytes."""
        rng = random.Random(seed)
        with self.guard:
            for path in list(self.seen):
                disk = bytearray(self.disk.get(path, b""))
                if tear:
                    writes = self.lost.get(path, [])
                    for offset, data in writes[: rng.randrange(len(writes) + 1)]:
                        part = data if rng.random() < 0.7 else data[: rng.randrange(0, len(data) + 1, tear)]
                        if len(disk) < offset:
                            disk.extend(bytes(offset - len(disk)))
                        disk[offset : offset + len(part)] = part
                self.seen[path] = disk
                self.disk[path] = bytes(disk)
            self.lost.clear()

    def serve(self, control: str) -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(control)
            listener.listen()
            while True:
                client, _ = listener.accept()
                with client:
                    words = client.recv(200).decode().split()
                    if words[0] == "cut":
                        self.cut(int(words[1]), int(words[2]))
                    elif words[0] == "fail":
                        self.fails = int(words[1])
                    else:
                        self.fails = 0
                    client.sendall(b"done")


def main() -> None:
    mount, control = sys.argv[1:3]
    made = Amnesia()
    threading.Thread(target=made.serve, args=(control,), daemon=True).start()
    # direct_io: the kernel's page cache must not remember what the disk has forgotten
    fuse.FUSE(made, mount, foreground=True, nothreads=True, direct_io=True)


if __name__ == "__main__":
    main()
