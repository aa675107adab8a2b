"""Run commands in a mounted image: as its user, on a read-only root, in namespaces of their own."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.image.building import Image

# What `docker run --read-only --user` and the pods do, without a container engine. The process
# group of the host can still end it: `unshare --kill-child` passes the end on.
_SCRIPT = """
mount --make-rprivate /
mount --bind "$ROOT" "$ROOT"
mount -o remount,bind,ro "$ROOT"
mount -t proc proc "$ROOT/proc"
mount --rbind /dev "$ROOT/dev"
mount --bind /etc/hosts "$ROOT/etc/hosts"
mount -t tmpfs tmpfs "$ROOT/tmp"
mount --bind "$VOLUME" "$ROOT/var/lib/ittybatch"
exec chroot --userspec="$OWNER:$OWNER" "$ROOT" /usr/bin/env -i {environment} \\
    /bin/sh -c 'cd "$0" && exec "$@"' {folder} {command}
"""


def in_container(
    image: Image,
    volume: Path,
    command: Sequence[str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> tuple[str, ...]:
    """Wrap a command, so that it runs in the image.

    Args:
        image: The image.
        volume: The folder mounted at the home, which the image's user owns.
        command: The argument vector; the image's own command if None.
        environment: Set beside the variables of the image.
    """
    owner = image.config["User"]
    variables = [*image.config["Env"], *(f"{name}={v}" for name, v in (environment or {}).items())]
    script = _SCRIPT.format(
        environment=shlex.join(variables),
        folder=shlex.quote(image.config["WorkingDir"]),
        command=shlex.join(command or image.config["Cmd"]),
    )
    given = (f"ROOT={image.root}", f"VOLUME={volume}", f"OWNER={owner}")
    unshare = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
    return ("env", *given, *unshare, "sh", "-euc", script)
