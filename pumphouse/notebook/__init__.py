"""The notebook's face: choosing, showing and reporting. The only package that may import IPython or widgets.

Nothing here changes a cloud. Everything shown is also readable without a kernel and without scripts.
"""

from pumphouse.notebook.display import FindingLike, show, show_facts, show_findings
from pumphouse.notebook.html import Display
from pumphouse.notebook.picker import Picker, select
from pumphouse.notebook.reporter import Reporter
from pumphouse.notebook.totals import Totals

__all__ = [
    "Display",
    "FindingLike",
    "Picker",
    "Reporter",
    "Totals",
    "select",
    "show",
    "show_facts",
    "show_findings",
]
