"""Programs that stand in for the Python of the engine: they do at once what an engine does after minutes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from textwrap import dedent

# What every one of them knows: the options of the command it was called with.
_HEAD = """
import json, os, signal, subprocess, sys, time
from pathlib import Path

def tell(event, **values):
    print(json.dumps({"event": event, **values}), flush=True)

def option(name):
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else None

with Path(__file__).with_suffix(".calls").open("a") as calls:
    print(json.dumps(sys.argv[1:]), file=calls)
"""

# `segment`, as far as the panel sees it: one lesion of 3x3x3 voxels in the middle of the FLAIR.
SEGMENT = """
import numpy as np
from LesionSegmenterLib.export import CaseData, write_case
from LesionSegmenterLib.image import NiftiWriter, read_volume
from LesionSegmenterLib.measure import measure_lesions
flair = Path(sys.argv[4])
tell("progress", stage="predicting", done=1, total=2, fraction=0.5)
volume = read_volume(flair)
ids = np.zeros(volume.shape, np.int32)
ids[tuple(slice(n // 2 - 1, n // 2 + 2) for n in volume.shape)] = 1
records = measure_lesions(ids, volume.affine)
data = CaseData(option("--subject"), (ids > 0).astype(np.uint8) * 4, ids, None, records, {"seconds": {}})
write_case(option("--out"), data, NiftiWriter(volume), flair, option("--keep-flair") or "path")
tell("done", lesions=1, scan_type=None, files={})
"""

# `lesion-train`: ten quick steps, a checkpoint where it is stopped, and a bundle that is a copy of another.
TRAIN = """
import shutil
command = sys.argv[3]
if command == "recipes":
    print("uresnet: anew (6500 steps)")
    print("retrain: go on (600 steps)")
elif command == "fit":
    run = Path(option("--out"))
    run.mkdir(parents=True, exist_ok=True)
    checkpoint = run / "checkpoint.pt"
    def stop(*_):
        checkpoint.write_text(str(step))
        sys.exit(3)
    signal.signal(signal.SIGTERM, stop)
    for step in range(int(checkpoint.read_text()) + 1 if checkpoint.exists() else 1, 11):
        tell("step", step=step, steps=10, loss=1 / step, validation=step / 20 if step % 5 == 0 else None)
        with (run / "loss.tsv").open("a") as log:
            log.write("step\\tloss\\n" * (step == 1) + f"{{step}}\\t{{1 / step}}\\n")
        time.sleep({pause})
    checkpoint.write_text("10")
    tell("done", steps=10, run=str(run))
else:
    out = Path(option("--out"))
    shutil.copytree({bundle!r}, out)
    spec = json.loads((out / "bundle.json").read_text())
    spec |= {{"name": option("--name"), "version": option("--version")}}
    (out / "bundle.json").write_text(json.dumps(spec))
"""


def fake_python(folder: Path, body: str) -> str:
    """Write a program that runs ``body``; returns its path. Its calls are kept, see `calls_of`."""
    path = folder / "python"
    path.write_text(f"#!{sys.executable}\n{_HEAD}\n{dedent(body)}")
    path.chmod(0o755)
    return str(path)


def calls_of(folder: Path) -> list[list[str]]:
    """The arguments of each call of the program in a folder."""
    import json

    path = folder / "python.calls"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def alive(pid: int) -> bool:
    """Whether a process runs: one that has ended and waits for its parent to notice does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"
