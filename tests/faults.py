"""What tests of interrupted runs look at: the cache of per-scan results, which outlives jobs."""

from cmburden.core.paths import Layout
from cmburden.core.stages import BUCKET_STAGES


def inferred(layout: Layout) -> dict[str, tuple[int, int]]:
    """Cached results of the networks: name -> (inode, time in ns). A scan that were inferred again
    would be another file, since results are written under another name and renamed."""
    found = {}
    for stage in BUCKET_STAGES:
        for path in layout.cached(stage, "x").parents[1].glob("*/[!.]*"):
            state = path.stat()
            found[f"{stage}/{path.name}"] = (state.st_ino, state.st_mtime_ns)
    return found


def detected(layout: Layout) -> int:
    """Scans that have candidates of the CNN."""
    return sum(name.endswith(".parquet") for name in inferred(layout))
