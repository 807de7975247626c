"""Keeps ultralytics off the network."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile


def keep_offline() -> None:
    """Set ultralytics' switches; call this before ultralytics is imported, which reads them once.

    No check of versions, no events, no downloads, no installing of packages; settings in a folder
    of this process instead of the user's home.
    """
    os.environ["YOLO_OFFLINE"] = "true"
    os.environ["YOLO_AUTOINSTALL"] = "false"
    os.environ["YOLO_VERBOSE"] = "false"
    os.environ.setdefault("WANDB_MODE", "disabled")
    if "YOLO_CONFIG_DIR" not in os.environ:
        folder = tempfile.mkdtemp(prefix="cmburden-yolo-")
        os.environ["YOLO_CONFIG_DIR"] = folder
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
