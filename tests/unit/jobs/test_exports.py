import subprocess
import sys

from forebay import jobs


def test_every_exported_name_is_there():
    assert [name for name in jobs.__all__ if not hasattr(jobs, name)] == []
    assert jobs.__all__ == sorted(jobs.__all__)


def test_jobs_import_nothing_of_ours():
    code = "import forebay.jobs, sys; print([m for m in sys.modules if m.startswith('forebay.')])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    others = [name for name in eval(result.stdout) if not name.startswith("forebay.jobs")]
    assert others == []
