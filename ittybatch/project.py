"""Where the project's files are: `prefect.yaml`, the automations, the profiles and the home.

A checkout has them at its root. The wheel brings copies along, and the current folder's own files
replace them.
"""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
_IN_WHEEL = PACKAGE / "declared"
IS_CHECKOUT = not _IN_WHEEL.exists()
# What is declared in files without an edit of the user's.
CHECKOUT = PACKAGE.parent if IS_CHECKOUT else _IN_WHEEL

PREFECT_FILE = "prefect.yaml"
AUTOMATIONS_FILE = "deployments/automations.yaml"
PROFILES_DIR = "deployments/profiles"
INTAKE_FILE = "deployments/intake.yaml"
RESULTS_FILE = "deployments/results.yaml"
# Elsewhere it applies the package's file, and deactivates the schedules of the user's own.
RUN_DEPLOY = f"Run `ittybatch deploy`, in the folder of your {PREFECT_FILE} if you have one."


def declared(name: str, folder: Path | None = None) -> Path:
    """Find a declared file or folder: the current folder's own, or else the package's.

    Args:
        name: `PREFECT_FILE`, `AUTOMATIONS_FILE`, `PROFILES_DIR`, `INTAKE_FILE` or `RESULTS_FILE`.
        folder: The folder that is asked first, by default the current one.
    """
    own = (folder or Path.cwd()) / name
    if not own.exists() or (name == PREFECT_FILE and not _names_our_flows(own)):
        return CHECKOUT / name
    return own


def project_dir() -> Path:
    """The folder that commands work in: the current one if it has a `prefect.yaml` of ours."""
    return declared(PREFECT_FILE).parent if IS_CHECKOUT else Path.cwd()


def _names_our_flows(prefect_file: Path) -> bool:
    # Prefect uses the same name for every project. Deploying another project's file would
    # deactivate all schedules of ours as no longer declared.
    return "ittybatch" in prefect_file.read_text(encoding="utf-8", errors="replace")
