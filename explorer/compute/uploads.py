"""What visitors have uploaded, for as long as there is room for it."""

import hashlib
import threading
from dataclasses import dataclass

from explorer.compute.cache import LRU

_ROOM = 256 * 2**20  # bytes


@dataclass(frozen=True)
class Upload:
    """A file as it was sent; ``digest`` is its SHA-256 in hexadecimal."""

    name: str
    digest: str
    data: bytes


class Uploads:
    """Files by digest; beyond ``room`` bytes in all those go that were asked for longest ago."""

    def __init__(self, room: int = _ROOM) -> None:
        self._held: LRU[str, Upload] = LRU(room, weigh=lambda upload: len(upload.data))
        self._lock = threading.Lock()

    def put(self, name: str, data: bytes) -> Upload:
        upload = Upload(name, hashlib.sha256(data).hexdigest(), data)
        with self._lock:
            return self._held.put(upload.digest, upload)

    def get(self, digest: str) -> Upload | None:
        """The file of a digest, if it is still held."""
        with self._lock:
            return self._held.get(digest)
