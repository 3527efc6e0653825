"""A unix socket in front of another one, whose connections can be made to fail."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

CHUNK = 1 << 16


class Proxy:
    """Forwards until told otherwise. A thread per direction of a connection."""

    def __init__(self, path: Path, target: str) -> None:
        self.url = f"unix://{path}"
        self._target = target
        self._flows = threading.Event()
        self._flows.set()
        self._mute = False
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        """Half open: connections stay, nothing passes any more, in either direction."""
        self._flows.clear()

    def thaw(self) -> None:
        """Whatever was held back goes on its way."""
        self._flows.set()

    def swallow_replies(self) -> None:
        """Commands arrive and run; their replies are lost with the connection."""
        self._mute = True

    def heal(self) -> None:
        """Break every connection; new ones are well."""
        self._mute = False
        self._flows.set()
        for pair in self._pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        self._pairs.clear()

    def close(self) -> None:
        self.heal()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.socket(socket.AF_UNIX)
                try:
                    far.connect(self._target)
                except OSError:
                    near.close()
                    continue
                self._pairs.append((near, far))
                for pair, replies in (((near, far), False), ((far, near), True)):
                    work = threading.Thread(target=self._pump, args=(*pair, replies), daemon=True)
                    work.start()

    def _pump(self, source: socket.socket, sink: socket.socket, replies: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                self._flows.wait()
                if not (replies and self._mute):
                    sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.close()
