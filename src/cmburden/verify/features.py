"""Names of the measures that the probability of a candidate is fitted to, in their order.

The module imports no library: each run checks the verifier's contract before it begins.
"""

from __future__ import annotations

FEATURES = (
    "logit_p_cnn",
    "logit_p_yolo",
    "logit_p_mimic",
    "log_diameter",
    "log_diameter_squared",
    "contrast",
    "log_elongation",
    "log_through_plane",
    "sphericity",
    "bright_surroundings",
    "dark_surroundings",
    "tubularity",
    "edge",
    "ventricle",
    "near_ventricle",
    "pallidum",
    "pineal",
    "mirrored_calcium",
    "deep",
    "infratentorial",
    "swi",
    "swi_logit_p_cnn",
    "swi_logit_p_yolo",
)
