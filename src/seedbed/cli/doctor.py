"""`seedbed doctor`: checks of this machine and this library, each with its fix."""

from __future__ import annotations

from dataclasses import asdict

import click

from seedbed.cli import options
from seedbed.cli.common import print_json, print_table
from seedbed.core.artifacts import Library


@click.command("doctor")
@click.option("--verify", is_flag=True, help="Hash every file of every artifact (reads the whole library).")
@options.offline
@options.common_flags
def doctor_command(verify: bool, offline: bool, as_json: bool) -> int:
    """Check this machine and this library.

    Every line is ok, warn or problem, with its fix. Exits with 1 if there is a problem.

    \b
    Example:
      seedbed doctor --verify
    """
    from seedbed.app.doctor import diagnose

    findings = diagnose(Library(), verify=verify, offline=offline)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        print_table(["", "what", "found"], [[f.state, f.what, f.found] for f in findings])
        for finding in findings:
            if finding.fix and finding.state != "ok":
                print(f"{finding.state}: {finding.what}: {finding.fix}")
    return int(any(finding.state == "problem" for finding in findings))
