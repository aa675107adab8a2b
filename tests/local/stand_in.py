"""Replaces the services of a stack: small, quick to start, and misbehaving on request."""

import http.server
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

HOME = Path(os.environ.get("STAND_IN_HOME") or os.environ["ITTYBATCH_HOME"])
SLEEPER = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(os.getpid()).encode())


def serve() -> None:
    port = int(sys.argv[sys.argv.index("--port") + 1])
    http.server.ThreadingHTTPServer(("127.0.0.1", port), Page).serve_forever()


def with_children() -> None:
    """Has one child in its process group, and one in its own session, as flow runs are."""
    near = subprocess.Popen(SLEEPER)
    far = subprocess.Popen(SLEEPER, start_new_session=True)
    note("children", f"{near.pid} {far.pid}")
    serve()


def stubborn() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with_children()


def deploy() -> None:
    """Registers the work pool, as the real command does among other things."""
    command = [sys.executable, "-m", "prefect", "work-pool", "create", "ittybatch"]
    subprocess.run([*command, "--type", "process", "--overwrite"], check=True)


def note(name: str, text: str) -> None:
    draft = HOME / f"{name}.draft"
    draft.write_text(text)
    draft.rename(HOME / name)


def main() -> None:
    match sys.argv[1]:
        case "web" | "receiver" | "sandbox":
            note(f"{sys.argv[1]}-arguments", " ".join(sys.argv[2:]))
            serve()
        case "with-children":
            with_children()
        case "stubborn":
            stubborn()
        case "silent":
            time.sleep(600)
        case "fail":
            sys.stdout.write("the reason stands here\n")
            raise SystemExit(7)
        case "deploy":
            deploy()
        case "db":
            note("migrated", os.environ["DATABASE_URL"])


if __name__ == "__main__":
    main()
