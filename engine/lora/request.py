"""`LoRARequest`: an adapter named by the caller of the offline classes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from engine.errors import InvalidRequest
from engine.lora.check import CONFIG, WEIGHTS, adapter_digest
from engine.messages import AdapterSource


@dataclass(frozen=True, slots=True)
class LoRARequest:
    """A name, a number from 1 that is the caller's own, and the adapter's folder."""

    lora_name: str
    lora_int_id: int
    lora_path: str

    def __post_init__(self) -> None:
        if not self.lora_name:
            raise InvalidRequest("lora_name is empty: give the adapter a name.", param="lora_name")
        if type(self.lora_int_id) is not int or self.lora_int_id < 1:
            raise InvalidRequest(
                f"lora_int_id is {self.lora_int_id!r}; use a whole number from 1.",
                param="lora_int_id",
            )

    def source(self) -> AdapterSource:
        """The adapter by content. Raises `InvalidRequest` when the folder does not hold one."""
        folder = Path(self.lora_path).expanduser().absolute()
        try:
            stamps = tuple((folder / name).stat() for name in (CONFIG, WEIGHTS))
        except OSError as error:
            raise InvalidRequest(
                f"{folder} holds no adapter: {CONFIG} and {WEIGHTS} are due ({error.strerror}).",
                param="lora_path",
            ) from None
        seen = tuple((stamp.st_mtime_ns, stamp.st_size, stamp.st_ino) for stamp in stamps)
        return AdapterSource(digest=_digest(folder, seen), name=self.lora_name, path=str(folder))


@lru_cache(maxsize=1024)
def _digest(folder: Path, seen: tuple[tuple[int, int, int], ...]) -> str:
    """Read the files once for as long as they do not change."""
    return adapter_digest(folder)
