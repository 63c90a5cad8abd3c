"""What the integrations say where the library they integrate with is not installed."""

from __future__ import annotations

import subprocess
import sys


def test_without_langchain_only_this_module_says_so() -> None:
    """In a process in which LangChain cannot be imported."""
    script = (
        "import sys\nsys.modules['langchain_core'] = None\n"
        "import seedbed.rag.answer\n"
        "from seedbed.core.errors import UsageError\n"
        "try:\n    import seedbed.integrations.langchain\nexcept UsageError as error:\n    print(error)"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert said.startswith("error: LangChain is not installed\nwhy: ")
    assert "fix: pip install langchain-core" in said
