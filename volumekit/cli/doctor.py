"""``volumekit doctor URL``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from volumekit.cli.options import logged
from volumekit.cli.types import FORMAT

if TYPE_CHECKING:
    from volumekit.ops.doctor import Examination

ANSWERS = {True: "yes", False: "no", None: "-"}


@click.command("doctor")
@click.argument("url")
@click.option("--read-only", is_flag=True, help="Write nothing; else small objects are written, and removed again.")
@click.option("--format", type=FORMAT, help="Format of the dataset; default: what is found.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@logged
def command(url: str, *, read_only: bool, format: str | None, as_json: bool) -> int:  # noqa: A002
    r"""Find out by trying what works at a location: reading, writing, listing, conditional writes.

    \b
    Exit codes:
      0  all is well
      1  nothing can be read there, the dataset is damaged, or there is none and none can be made
      2  the command is wrong
      3  it works, but processes that write parts of the same chunk may lose updates
    """
    from volumekit.ops.doctor import examine

    found = examine(url, read_only=read_only, format=format)
    click.echo(json.dumps(found.to_json(), indent=2) if as_json else "\n".join(lines(found)))
    return found.exit_code


def lines(found: Examination) -> Iterator[str]:
    """Yield what there is to say, for people."""
    yield found.url
    said: set[str | None] = set()
    for question, finding in found.findings.items():
        text = "" if finding.text in said else finding.text
        said.add(text)
        yield f"{question:12} {ANSWERS[finding.holds]:4} {text}".rstrip()
    if found.latency is not None:
        yield f"{'latency':12} {found.latency * 1e3:.2g} ms"
    if found.write_speed is not None and found.read_speed is not None:
        read, written = found.read_speed / 1e6, found.write_speed / 1e6
        yield f"{'speed':12} {read:.3g} MB/s read, {written:.3g} MB/s written, one object at a time"
    if found.credentials is not None:
        yield f"{'credentials':12} {found.credentials}"
    none = "none" if found.no_dataset in said else f"none: {found.no_dataset}"
    yield f"{'dataset':12} {found.format or none}"
    for mip, level in enumerate(found.levels):
        size = "" if level["size"] is None else " x ".join(map(str, level["size"])) + ", "
        yield f"  mip {mip}: {level['key']}, {size}{level['error'] or level['encoding']}"
    yield from (f"advice: {text}" for text in found.advice)
