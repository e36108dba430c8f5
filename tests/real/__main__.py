"""The command line: see `python -m tests.real --help`.

Exit codes: 0 done, 1 failed (for `status`: not all is well), 2 wrong usage, 77 this machine cannot run the
clouds (no Python 2.7, not root), which tests report as skipped.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import importlib.util
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from . import cloud, populate
from .base import Cloud, Home, Reporter, apt_install, install_tools
from .errors import RealError, Unavailable
from .processes import family, memory_mib
from .source import SourceCloud


def python_packages() -> Mapping[str, str]:
    """Debian leaves venv out of its Python; other builds of Python have it."""
    if importlib.util.find_spec("ensurepip"):
        return {}
    return {"python3-venv": f"{sys.base_prefix}/lib/python3.{sys.version_info.minor}/ensurepip/__init__.py"}


def together(clouds: Sequence[Cloud], action: Callable[[Cloud], None]) -> None:
    """Does the same to each cloud at once; raises the first failure when all are done."""

    def act(each: Cloud) -> None:
        try:
            action(each)
        except Exception:
            each.say("FAILED, the reason follows when the other cloud is done")
            raise

    with concurrent.futures.ThreadPoolExecutor(len(clouds)) as pool:
        jobs = [pool.submit(act, each) for each in clouds]
    for job in jobs:
        job.result()


def up(home: Home, clouds: Sequence[Cloud], report: Reporter) -> None:
    if os.geteuid() != 0:
        raise Unavailable("starting the clouds needs root: PostgreSQL runs as a user of its own")
    for each in clouds:
        each.check_machine()
    began = time.monotonic()
    packages = dict(python_packages())
    for each in clouds:
        packages |= each.apt
    apt_install(packages, home.path / "apt.log", report)
    install_tools(home.path / "tools", home.path / "tools.log", report)
    try:
        together(clouds, Cloud.up)
    finally:
        cloud.write_client_files(home, report)
    report("up", f"all usable after {time.monotonic() - began:.0f} s; load {os.getloadavg()[0]:.1f}")
    for key, value in cloud.environment(home.path).items():
        report("up", f"export {key}={value}")


def status(clouds: Sequence[Cloud]) -> int:
    problems: list[str] = []
    for each in clouds:
        total = 0.0
        records = each.processes.records()
        for name in each.expected:
            record = records.get(name)
            if record is None or not record.alive():
                print(f"{each.name:12} {name:16} DOWN")
                continue
            used = memory_mib(family(record.pid))
            total += used
            where = f"127.0.0.1:{record.port}" if record.port else ""
            print(f"{each.name:12} {name:16} up    pid {record.pid:<8} {where:16} {used:7.0f} MiB")
        print(f"{each.name:12} {'total':51} {total:7.0f} MiB")
        problems += each.problems()
    for problem in problems:
        print(f"problem: {problem}")
    return 1 if problems else 0


def destroy(home: Home, clouds: Sequence[Cloud], everything: bool, keep_venv: bool, report: Reporter) -> None:
    together(clouds, Cloud.down)
    for each in clouds:
        folders = [p for p in each.root.iterdir() if not (keep_venv and p.name == "venv")] if each.root.is_dir() else []
        for folder in folders:
            shutil.rmtree(folder)
        if not keep_venv:
            shutil.rmtree(each.root, ignore_errors=True)
        if isinstance(each, SourceCloud):
            home.populated_json.unlink(missing_ok=True)
        each.say("destroyed" + (", packages kept" if keep_venv else ""))
    if not everything:
        cloud.write_client_files(home, report)
        return
    for path in (home.settings_file, home.clouds_yaml, home.secure_yaml, *home.path.glob("*.log")):
        path.unlink(missing_ok=True)
    if not keep_venv:
        shutil.rmtree(home.path / "tools", ignore_errors=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.real",
        description="Real OpenStack clouds on loopback: a nova-network source and a current destination.",
        epilog="example: python -m tests.real up && python -m tests.real populate",
    )
    parser.add_argument("command", choices=("up", "down", "status", "populate", "destroy"))
    parser.add_argument("--only", choices=tuple(cls.name for cls in cloud.CLASSES), help="just this cloud")
    parser.add_argument("--home", type=Path, help=f"folder for everything (default: {cloud.home_path()})")
    parser.add_argument("--keep-venv", action="store_true", help="destroy: keep the installed Python packages")
    options = parser.parse_args(arguments)
    report = Reporter()
    home = Home((options.home or cloud.home_path()).resolve())
    try:
        if options.command == "up":
            with home.locked(report):
                home.prepare({cls.name: cls.port_names for cls in cloud.CLASSES})
        elif not home.settings_file.exists():
            print(f"nothing has been set up in {home.path}")
            return 0 if options.command in ("down", "destroy") else 1
        clouds = [cls(home, report) for cls in cloud.CLASSES if options.only in (None, cls.name)]
        if options.command == "status":
            return status(clouds)
        with home.locked(report):
            if options.command == "up":
                up(home, clouds, report)
            elif options.command == "down":
                together(clouds, Cloud.down)
            elif options.command == "populate":
                populate.populate(SourceCloud(home, report))
                cloud.write_client_files(home, report)
            else:
                destroy(home, clouds, options.only is None, options.keep_venv, report)
    except RealError as e:
        print(f"error: {e}", file=sys.stderr)
        return e.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
