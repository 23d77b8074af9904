"""A stand-in for an object store within one process: fsspec's memory, called `gs://`, with generations and faults."""

from fsspec.implementations.memory import MemoryFileSystem


class FakeStore(MemoryFileSystem):
    """Objects in memory. `fetched` lists what was downloaded; `fault` is called instead of a download."""

    protocol = ("gs",)
    cachable = False
    store, pseudo_dirs, fetched, fault = {}, [""], [], None

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("gs://"))

    def info(self, path, **more):
        about = super().info(path, **more)
        if about["type"] == "file":
            about["generation"] = f"{about['created']:%s%f}"
        return about

    def ls(self, path, detail=True, **more):
        found = super().ls(path, detail=True, **more)
        return [self.info(one["name"]) if detail else one["name"] for one in found]

    def get_file(self, remote, local, **more):
        type(self).fetched.append(remote)
        if self.fault is not None:
            self.fault(remote, local)
        super().get_file(remote, local, **more)


def new_store():
    """A new and empty store, to be registered with fsspec as `gs`."""
    return type("FakeStore", (FakeStore,), {"store": {}, "pseudo_dirs": [""], "fetched": [], "fault": None})
