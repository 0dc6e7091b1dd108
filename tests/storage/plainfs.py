"""A filesystem as third parties write them: blocking, for one thread at a time, without any extra."""

import io
import threading
from contextlib import contextmanager

import fsspec


class PlainFileSystem(fsspec.AbstractFileSystem):
    """Keeps files in memory, per instance; notes what it is asked for."""

    protocol = "plain"

    def __init__(self, **how):
        super().__init__(**how)
        self.files, self.calls = {}, []
        self._busy = threading.Lock()

    @contextmanager
    def _alone(self, name):
        assert self._busy.acquire(blocking=False), "two threads at once"
        self.calls.append(name)
        try:
            yield
        finally:
            self._busy.release()

    def ls(self, path, detail=True, **kwargs):
        path = self._strip_protocol(path)
        with self._alone("ls"):
            if path in self.files:
                return [self._entry(path)] if detail else [path]
            below = f"{path}/" if path else ""
            names = {below + name[len(below) :].partition("/")[0] for name in self.files if name.startswith(below)}
            if not names:
                raise FileNotFoundError(path)
            return [self._entry(name) if detail else name for name in sorted(names)]

    def _entry(self, name):
        kind = "file" if name in self.files else "directory"
        return {"name": name, "size": len(self.files.get(name, b"")), "type": kind}

    def _rm(self, path):
        with self._alone("rm"):
            if self.files.pop(path, None) is None:
                raise FileNotFoundError(path)

    def _open(self, path, mode="rb", **kwargs):
        with self._alone("open"):
            if mode == "rb":
                if path not in self.files:
                    raise FileNotFoundError(path)
                return io.BytesIO(self.files[path])
            return _Writing(self.files, path)


class _Writing(io.BytesIO):
    def __init__(self, files, path):
        super().__init__()
        self._files, self._path = files, path

    def close(self):
        if not self.closed:
            self._files[self._path] = self.getvalue()
        super().close()


fsspec.register_implementation("plain", PlainFileSystem, clobber=True)
