"""Packages of PyPI and npm that tests use: pinned, kept under target/, fetched once. Where they cannot be had, the script
says so in a line `skip - NAME: REASON`."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or Path(__file__).resolve().parents[2] / "target")
SECONDS = 150


class Unavailable(Exception):
    """Why packages cannot be had."""


def run(command, **options):
    """What a command prints; its last words as the reason when it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, **options)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{Path(command[0]).name}: {error}") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}").splitlines()
        raise Unavailable(f"{Path(command[0]).name}: {said[-1]}")
    return done.stdout


def once(folder, wanted, install):
    """Calls `install` unless the folder holds exactly these packages already. A failed try leaves nothing behind."""
    note = folder / "packages"
    wanted = "\n".join(wanted)
    if not note.exists() or note.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            install()
        except Unavailable:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        note.write_text(wanted)
    return folder


def pythons():
    """The Pythons of this machine, the newest first: on the PATH, and those of pyenv."""
    known = {sys.executable, *filter(None, (shutil.which(f"python3.{minor}") for minor in range(15, 9, -1)))}
    known |= {str(path) for path in Path.home().glob(".pyenv/versions/*/bin/python3")}
    versions = {}
    for path in known:
        try:
            said = subprocess.run([path, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True)
        except OSError:
            continue
        # A shim of pyenv for a version that is not chosen fails.
        if said.returncode == 0:
            versions.setdefault(tuple(map(int, said.stdout.split())), path)
    return sorted(versions.items(), reverse=True)


def venv(name, packages, oldest=(3, 10), more=()):
    """The Python of an environment of its own with these packages; `more` are further words for pip."""
    python = next((path for version, path in pythons() if version >= oldest), None)
    if python is None:
        raise Unavailable(f"no Python {'.'.join(map(str, oldest))} or newer on this machine")
    folder = TARGET / "python" / name

    def install():
        run([python, "-m", "venv", str(folder)])
        pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
        run(pip + ["--retries", "1", "--timeout", "15", *more, *packages])

    return str(once(folder, [*packages, *more], install) / "bin" / "python")


class Node:
    """A folder with npm packages; scripts run in it."""

    def __init__(self, name, packages):
        self.folder = TARGET / "node" / name

        def install():
            (self.folder / "package.json").write_text("{}")
            npm = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=1"]
            run(npm + [*packages], cwd=self.folder)

        once(self.folder, packages, install)

    def run(self, script, *arguments):
        """What a module prints, as JSON; its own words when it fails."""
        command = ["node", "--input-type=module", "-", *map(str, arguments)]
        done = subprocess.run(
            command, input=script, capture_output=True, text=True, timeout=SECONDS, cwd=self.folder
        )
        assert done.returncode == 0, done.stderr.strip()[-3000:]
        return json.loads(done.stdout)


def needs(name, get):
    """What `get` returns, or None and a line that says why not."""
    try:
        return get()
    except Unavailable as why:
        print(f"skip - {name}: {why}", flush=True)
        return None
