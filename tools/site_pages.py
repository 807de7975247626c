"""Puts the pages of the repository together as a site and builds it: `make site`.

The pages stay where readers of the repository look for them. Here they are copied into one folder
in the order of the site, with their links changed. MkDocs then builds the site, and ends at a
warning such as a dead link. Nothing is loaded from elsewhere. The site opens from a folder; its
search needs a server, such as ``python -m http.server --directory site``.
"""

from __future__ import annotations

import argparse
import os
import posixpath
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
#: Title -> page of the repository, or a section of such. User pages come before developer pages.
NAVIGATION: dict[str, Any] = {
    "CMBurden": "README.md",
    "Begin": {
        "Install": "docs/install.md",
        "First run": "docs/first_run.md",
        "Command line": "docs/usage.md",
        "Glossary": "docs/glossary.md",
        "Questions": "docs/faq.md",
    },
    "Your cohort": {
        "What is read": "docs/inputs.md",
        "From a download to BIDS": "docs/onboarding.md",
        "ADNI": "docs/cohorts/adni.md",
        "AIBL": "docs/cohorts/aibl.md",
        "UK Biobank": "docs/cohorts/ukb.md",
        "OASIS-3": "docs/cohorts/oasis3.md",
        "A4": "docs/cohorts/a4.md",
        "VALDO": "docs/cohorts/valdo.md",
        "CSIRO": "docs/cohorts/csiro.md",
        "CUHK": "docs/cohorts/cuhk.md",
        "A cohort of your own": "docs/cohorts/own.md",
        "Coordinates of readers": "docs/coordinates.md",
        "Configuration": "config/README.md",
        "Thousands of scans": "docs/scale.md",
        "What runs again": "docs/reruns.md",
    },
    "Results": {
        "Outputs": "docs/outputs.md",
        "Report": "docs/report.md",
        "Which threshold": "docs/threshold.md",
        "Review by readers": "docs/review.md",
        "Several sessions": "docs/longitudinal.md",
        "Statistics": "docs/statistics.md",
        "From a run to a paper": "docs/paper.md",
        "Troubleshooting": "docs/troubleshooting.md",
    },
    "The software": {
        "What the model is": "docs/model.md",
        "How good it is": "docs/accuracy.md",
        "How well it sees on your scans": "docs/inserted.md",
        "Phase": "docs/phase.md",
        "Adapt it without labels": "docs/adapting.md",
        "Tune it on your labels": "docs/tuning.md",
        "Security and privacy": "docs/security.md",
        "What identifies people": "docs/privacy.md",
        "Removing a participant": "docs/forget.md",
        "How to cite": "docs/cite.md",
        "Changes": "CHANGELOG.md",
    },
    "For developers": {
        "Contributing": "CONTRIBUTING.md",
        "Architecture": "docs/architecture.md",
        "Decisions": "docs/decisions.md",
        "Evaluation": "docs/evaluation.md",
        "Shifted domains": "docs/bed.md",
        "Training": "docs/training.md",
        "The shipped weights": "docs/lab/weights.md",
        "Faults that were tried": "docs/faults.md",
        "Expectations": "docs/expectations.md",
    },
}
#: Pages whose name in the site is another one.
RENAMED = {
    "README.md": "index.md",
    "config/README.md": "configuration.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changes.md",
}
#: Headings' anchors as GitHub and GitLab write them, and as the pages' links name them.
SLUGS = "!!python/object/apply:pymdownx.slugs.slugify {kwds: {case: lower}}"
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)([^)]*)\)")
_PICTURES = (".png", ".svg", ".jpg")


def sources() -> list[str]:
    """All pages of the site, as paths in the repository."""
    return list(_sources(NAVIGATION))


def _sources(branch: dict[str, Any]) -> Iterator[str]:
    for entry in branch.values():
        if isinstance(entry, dict):
            yield from _sources(entry)
        else:
            yield entry


def place(source: str) -> str:
    """Path of a page, or of a picture, in the site.

    >>> place("docs/cohorts/adni.md"), place("config/README.md")
    ('cohorts/adni.md', 'configuration.md')
    """
    return RENAMED.get(source, source.removeprefix("docs/"))


def linked(text: str, source: str) -> str:
    """The page ``text`` with links to where the pages lie in the site.

    A link to a file that is no page of the site becomes the file's name.
    """
    known = set(sources())

    def of(match: re.Match[str]) -> str:
        picture, words, target, rest = match.groups()
        if re.match(r"[a-z]+:|#", target):
            return match[0]
        path, _, anchor = target.partition("#")
        there = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if there not in known and not there.endswith(_PICTURES):
            return f"{words} (`{there}`)"
        start = posixpath.dirname(place(source)) or "."
        end = posixpath.relpath(place(there), start)
        return f"{picture}[{words}]({end}{'#' + anchor if anchor else ''}{rest})"

    blocks = re.split(r"(^```.*?^```)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(b if b.startswith("```") else _LINK.sub(of, b) for b in blocks)


def assemble(folder: Path) -> None:
    """Write all pages and pictures of the site below ``folder``."""
    for source in sources():
        target = folder / place(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = (ROOT / source).read_text(encoding="utf-8")
        target.write_text(linked(text, source), encoding="utf-8")
    for picture in (ROOT / "docs").rglob("*"):
        if picture.suffix in _PICTURES:
            target = folder / place(picture.relative_to(ROOT).as_posix())
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(picture, target)


def _navigation(branch: dict[str, Any]) -> list[dict[str, Any]]:
    """The navigation as MkDocs has it."""
    return [
        {title: _navigation(entry) if isinstance(entry, dict) else place(entry)}
        for title, entry in branch.items()
    ]


def settings(pages: Path, site: Path) -> dict[str, Any]:
    """MkDocs' settings. Fonts and scripts are those of the reader's machine and of the site."""
    return {
        "site_name": "CMBurden",
        "site_description": "Cerebral microbleed burden of BIDS cohorts. Research use only.",
        "docs_dir": str(pages),
        "site_dir": str(site),
        # Pages open from a folder, without a server.
        "use_directory_urls": False,
        "theme": {
            "name": "material",
            "font": False,
            "features": ["navigation.indexes", "navigation.top", "search.highlight", "toc.follow"],
            "palette": [
                {"media": "(prefers-color-scheme: light)", "scheme": "default"},
                {"media": "(prefers-color-scheme: dark)", "scheme": "slate"},
            ],
        },
        "plugins": ["search"],
        "markdown_extensions": [
            "tables",
            "fenced_code",
            {"toc": {"permalink": True, "slugify": "SLUGS"}},
        ],
        "validation": {"links": {"anchors": "warn", "unrecognized_links": "warn"}},
        "nav": _navigation(NAVIGATION),
        "extra": {"generator": False},
    }


def build(site: Path) -> int:
    """Build the site; returns MkDocs' exit code, which is not 0 where a page has a warning."""
    with tempfile.TemporaryDirectory() as folder:
        pages = Path(folder) / "pages"
        assemble(pages)
        config = Path(folder) / "mkdocs.yml"
        text = yaml.safe_dump(settings(pages, site.absolute()), sort_keys=False)
        config.write_text(text.replace("SLUGS", SLUGS), encoding="utf-8")
        command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file"]
        quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
        return subprocess.run([*command, str(config)], check=False, env=quiet).returncode


def main() -> int:
    """Build the site into a folder; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("site"), help="(site)")
    return build(parser.parse_args().folder)


if __name__ == "__main__":
    raise SystemExit(main())
