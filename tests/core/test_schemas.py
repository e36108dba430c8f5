"""What every command and every notebook pays for when it starts."""

from __future__ import annotations

import subprocess
import sys


def test_no_grammar_is_compiled_for_a_check_that_nobody_asks_for() -> None:
    """jsonschema brings a parser of IRIs if one is installed, as beside JupyterLab: a second at each start."""
    code = (
        "import sys, pumphouse.session, pumphouse.notebook, pumphouse.runner\n"
        "from pumphouse.schemas import jsonschema\n"
        "assert 'rfc3987_syntax' not in sys.modules and 'lark' not in sys.modules, 'compiled'\n"
        "import rfc3987_syntax, jsonschema as theirs\n"
        "assert theirs is jsonschema\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
