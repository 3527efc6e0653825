"""The listening socket: made by the launcher, inherited by every web process."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import socket
import stat
import struct
import sys
from pathlib import Path

from engine.settings import SettingError

BACKLOG = 2048
SO_ATTACH_FILTER = 26  # asm-generic/socket.h; Python does not name it
TCP_FLAGS, SYN, ACK = 13, 0x02, 0x10  # where a segment has its flags
DROP_FIRST_SEGMENTS = b"".join(  # struct sock_filter: code, skip if true, skip if false, value
    struct.pack("=HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, TCP_FLAGS),  # load the byte
        (0x54, 0, 0, SYN | ACK),  # keep these two bits
        (0x15, 0, 1, SYN),  # a SYN alone asks for a new connection
        (0x06, 0, 0, 0),  # nothing of it passes
        (0x06, 0, 0, 0xFFFFFFFF),  # all of it passes
    )
)
ACCEPT_QUEUE = 24  # offset in struct tcp_info; of a listening socket: connections that wait


def listen(host: str, port: int, *, at_once: bool = True) -> socket.socket:
    """Bind before anything else starts, and listen: callers wait until somebody accepts. Without
    `at_once` they are refused, and ask another server, until a web process listens because it can
    answer. Raises `SettingError` with the remedy.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise SettingError(f"PAGODA_HOST={host!r} is no address: {error.strerror}.") from None
    server = socket.socket(family, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind(address)
        if at_once:
            server.listen(BACKLOG)
    except OSError as error:
        server.close()
        raise SettingError(_why(host, port, error)) from None
    server.setblocking(False)
    return server


def listen_unix(path: Path) -> socket.socket:
    """The same on a Unix socket that only this user may open. Raises `SettingError`."""
    path = path.absolute()
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_dead(path)
        server.bind(str(path))
        path.chmod(0o600)
        server.listen(BACKLOG)
    except OSError as error:
        server.close()
        words = error.strerror or str(error)
        raise SettingError(f"Cannot listen on {path}: {words}. Check --uds.") from None
    server.setblocking(False)
    return server


def stop_accepting(server: socket.socket) -> None:
    """Let nobody begin to connect, in any process that shares the socket.

    Closing resets the connections that wait to be accepted, and those whose handshake is under
    way: their requests are lost. With this filter both only become fewer; when `waiting` says 0,
    closing harms nobody. A caller that comes now is refused once the socket is closed. Without
    such filters (not Linux) nothing happens.
    """
    if sys.platform != "linux" or server.family == socket.AF_UNIX:
        return
    code = ctypes.create_string_buffer(DROP_FIRST_SEGMENTS, len(DROP_FIRST_SEGMENTS))
    program = _FilterProgram(len(DROP_FIRST_SEGMENTS) // 8, ctypes.addressof(code))
    with contextlib.suppress(OSError):
        server.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, bytes(program))


def waiting(server: socket.socket) -> int:
    """Connections that no process has accepted yet; 0 where the system does not say."""
    if sys.platform != "linux" or server.family == socket.AF_UNIX:
        return 0
    info = server.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, ACCEPT_QUEUE + 4)
    (count,) = struct.unpack_from("=I", info, ACCEPT_QUEUE)
    return int(count)


class _FilterProgram(ctypes.Structure):
    """struct sock_fprog of linux/filter.h."""

    _fields_ = (("count", ctypes.c_ushort), ("code", ctypes.c_void_p))


def _remove_dead(path: Path) -> None:
    """Take away the socket a killed server left behind; a living one or a file stays."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise OSError(errno.EEXIST, "a file of this name exists")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            if probe.connect_ex(str(path)) == 0:
                raise OSError(errno.EADDRINUSE, "another server listens there")
        path.unlink()


def _why(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} on {host} is taken by another process. Stop that one, or choose another "
            "port with --port or PAGODA_PORT."
        )
    if error.errno == errno.EACCES:
        return f"Port {port} needs privileges. Choose one above 1023 with --port or PAGODA_PORT."
    return f"Cannot listen on {host}:{port}: {error.strerror}. Check --host and PAGODA_HOST."
