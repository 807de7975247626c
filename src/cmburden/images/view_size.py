"""Side of the views that a verifier is trained on.

The module imports no library: each run checks the verifier's contract before it begins.
"""

from __future__ import annotations

#: mm; the networks were trained on views of this side.
VIEW_MM = 20.0
