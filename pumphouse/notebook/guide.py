"""The way to a site, for somebody who has opened a notebook before there is one."""

from __future__ import annotations

from pumphouse.notebook.html import Cell, Column, Display, joined, render


def show_way_to_a_site() -> Display:
    """What to do when there is no ``site.yaml`` yet: try everything out, or describe real clouds."""
    columns = [Column("", kind="number"), Column("what"), Column("how", kind="prose")]
    simulated = [
        [Cell("1"), Cell("close this JupyterLab", strong=True), Cell("File > Shut Down")],
        [
            Cell("2"),
            Cell("make lab", strong=True),
            Cell("in a terminal, in the folder of the clone: starts two simulated clouds and opens these notebooks"),
        ],
    ]
    real = [
        [
            Cell("1"),
            Cell("clouds.yaml and secure.yaml", strong=True),
            Cell("describe both clouds as openstacksdk wants it; passwords belong into the second file, mode 0600"),
        ],
        [
            Cell("2"),
            Cell("pumphouse init --source old --destination new", strong=True),
            Cell("asks both clouds and writes site.yaml; questions that only you can answer are marked TO DECIDE"),
        ],
        [
            Cell("3"),
            Cell("pumphouse check", strong=True),
            Cell("reads it, reads both clouds, and names what stands in the way; nothing is changed"),
        ],
        [
            Cell("4"),
            Cell("pumphouse desk", strong=True),
            Cell("opens these notebooks for that site; or write its path into `site` above and run this cell again"),
        ],
    ]
    return joined(
        render("There is no site yet. To try everything out, without any cloud", columns, simulated),
        render("For real clouds", columns, real),
    )
