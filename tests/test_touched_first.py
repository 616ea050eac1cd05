"""Whatever of lawful is touched first works: in processes where nothing of it is imported yet."""

import os
import subprocess
import sys

import pytest

# One process loads what lawful stands on, which takes seconds, and a copy of it runs each piece of code.
EACH = """
import os, sys
import matplotlib.figure, networkx, sympy, torch, torch._dynamo
for code in sys.argv[1:]:
    if not os.fork():
        assert "lawful" not in sys.modules
        exec(code)
        os._exit(0)
    if os.wait()[1]:
        sys.exit(code)
"""
FIRST = [
    "import lawful as lw; assert len(lw.families.mlp([3, 4, 2]).draw()) > 100",
    "import lawful as lw; assert len(lw.trace(torch.nn.Linear(3, 2), (torch.ones(2, 3),)).draw()) > 100",
    # alone it refused every spec
    "from lawful.testing import assert_lawful; assert_lawful('family:mlp:widths=3,4,2')",
]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not copied here")
def test_whatever_is_touched_first_works() -> None:
    found = subprocess.run([sys.executable, "-c", EACH, *FIRST], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
