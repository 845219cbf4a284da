"""How long a newcomer waits: from a clone to the first sound and to the page.

    python scripts/first_sound.py --json

Clones what is committed here into a temporary folder and runs the first line of its README there, as it stands: a fresh
virtual environment, pip (which takes from its cache what it has) and a run of the built-in corpus.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RUN = Path("runs/spoken-digits")
MARKS = {"installed": RUN, "first_sound": RUN / "audio" / "crbm1-0.wav", "page": RUN / "report" / "index.html"}
STEP = 0.1  # seconds between looks


def first_line(readme: str) -> str:
    """Return the first command of a README, which makes an environment and runs cepscope in it."""
    lines = (line.strip() for line in readme.splitlines())
    return next(line for line in lines if line.startswith("python3 -m venv"))


def measure(folder: Path) -> dict[str, float]:
    """Run a clone's first line; return the seconds until each mark is there.

    Raises
    ------
    SystemExit
        If the line fails or leaves a mark out.
    """
    line = first_line((folder / "README.md").read_text("utf-8"))
    print(line, file=sys.stderr)
    found: dict[str, float] = {}
    started = time.perf_counter()
    with subprocess.Popen(line, shell=True, cwd=folder, stdout=sys.stderr) as running:
        while True:
            ended = running.poll() is not None
            for name, path in MARKS.items():
                if name not in found and (folder / path).exists():
                    found[name] = round(time.perf_counter() - started, 1)
            if ended:
                break
            time.sleep(STEP)
    if running.returncode or len(found) < len(MARKS):
        raise SystemExit(f"The first line of the README failed (exit status {running.returncode}).")
    return found


def main() -> None:
    """Parse the command line and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON to stdout")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        clone = Path(place) / "cepscope"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        found = measure(clone)
    if options.json:
        print(json.dumps(found))
    else:
        for name, seconds in found.items():
            print(f"{name.replace('_', ' '):<12} {seconds:6.1f} s")


if __name__ == "__main__":
    main()
