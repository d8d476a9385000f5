"""What `import companion` offers: every public name, and no library before it is needed."""

import subprocess
import sys

import pytest

import companion


def test_every_public_name_is_there_and_has_a_docstring_with_an_example():
    for name in companion.__all__:
        assert name in dir(companion)
        assert ">>>" in getattr(companion, name).__doc__, name


def test_what_is_not_public_is_no_attribute():
    with pytest.raises(AttributeError, match="No companion attribute tally"):
        companion.tally  # noqa: B018


def test_the_package_and_its_help_wait_for_no_library():
    heavy = "[name for name in ('torch', 'numpy', 'scipy', 'matplotlib', 'diffusers') if name in sys.modules]"
    for said in ("import companion", "import companion.cli; companion.cli.main(['--help'])"):
        command = f"import sys, contextlib\nwith contextlib.suppress(SystemExit):\n    {said}\nsys.exit(str({heavy}))"
        done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=False)
        assert done.stderr.strip() == "[]"
