"""A shop with wrong settings does not begin to serve."""

from django.core import checks


def refuse_unless_sound():
    """Raises SystemExit with all that is wrong, each with what to do about it.

    Commands run these checks by themselves; a server that only loads the application would not.
    """
    faults = [
        issue
        for issue in checks.run_checks()
        if issue.is_serious(checks.ERROR) and not issue.is_silenced()
    ]
    if faults:
        told = "\n".join(str(fault) for fault in faults)
        raise SystemExit(f"The shop does not start, as its settings are wrong:\n\n{told}\n")
