"""Backups before a stored form is changed: a copy beside, named with its form and the day, that stays until it is
taken away. To go back, put the copy in the file's place, and open it with the version that wrote it.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from seedbed.core import files
from seedbed.core.leftovers import draft_file
from seedbed.core.progress import say


def back_up(path: Path, form: int) -> Path:
    """Copy a file beside itself, and say so. Returns the copy. Raises CapacityError: the disk is full."""
    with files.disk_errors(path.parent), draft_file(path) as (descriptor, draft):
        shutil.copyfile(path, draft)
        return _keep(descriptor, draft, path, form)


def back_up_database(path: Path, form: int) -> Path:
    """Copy an SQLite file with all that is committed, as :func:`back_up`; a writer at work need not end."""
    with files.disk_errors(path.parent), draft_file(path) as (descriptor, draft):
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(draft)) as copy:
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file: nothing of it in a log beside
        return _keep(descriptor, draft, path, form)


def _keep(descriptor: int, draft: Path, path: Path, form: int) -> Path:
    os.fsync(descriptor)
    stem = f"{path.name}.form{form}-{datetime.now(UTC):%Y%m%d}"
    names = (path.with_name(f"{stem}{number}.backup") for number in ("", *(f"-{again}" for again in range(2, 1000))))
    target = next(name for name in names if not name.exists())
    draft.replace(target)
    files.sync_directory(target.parent)
    say(f"{path} is brought from form {form} to the present one; it is kept as it was in {target.name}")
    return target
