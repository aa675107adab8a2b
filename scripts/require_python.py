# ruff: noqa: INP001  a folder of programs, not a package
"""Refuse a Python that is too old or lacks venv, with a message; runs on very old ones, too."""

import sys

NEEDED = (3, 11)


def complaint(version, has_ensurepip):  # noqa: ANN001, ANN201  old Pythons read no annotations
    """Say what is wrong with a Python and how to fix it; None if it is usable."""
    if tuple(version[:2]) < NEEDED:
        return (
            "error: ittybatch needs Python %d.%d or later, and this one is %d.%d.\n"  # noqa: UP031
            "Install a newer one, or name it: make test PYTHON=python%d.%d"
            % (NEEDED + tuple(version[:2]) + NEEDED)
        )
    if not has_ensurepip:
        return (
            "error: this Python cannot make virtual environments: it has no ensurepip.\n"
            "Debian and Ubuntu keep it in a package of its own: apt install python3-venv"
        )
    return None


def main():  # noqa: ANN201
    """Exit with a message if this Python is not usable."""
    try:
        import ensurepip  # noqa: F401, PLC0415
    except ImportError:
        found = complaint(sys.version_info, False)
    else:
        found = complaint(sys.version_info, True)
    sys.exit(found)


if __name__ == "__main__":
    main()
