"""Keeps ultralytics off the network: imported before it, wherever it is used.

Its switches are read once, at import: offline (no check of versions, no events, no downloads), no
installing of packages, and settings in a folder of this process instead of the user's home.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

os.environ["YOLO_OFFLINE"] = "true"
os.environ["YOLO_AUTOINSTALL"] = "false"
os.environ["YOLO_VERBOSE"] = "false"
os.environ.setdefault("WANDB_MODE", "disabled")
if "YOLO_CONFIG_DIR" not in os.environ:
    _folder = tempfile.mkdtemp(prefix="cmburden-yolo-")
    os.environ["YOLO_CONFIG_DIR"] = _folder
    atexit.register(shutil.rmtree, _folder, ignore_errors=True)
