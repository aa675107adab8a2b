"""The intake that a stack declares where its user has declared none, so that it can be tried."""

from pathlib import Path

from ittybatch.intake.declaration import load_declared
from ittybatch.intake.declared import Declared
from ittybatch.settings import Settings
from ittybatch_local.keys import write_private

INTAKE_NAME = "intake.yaml"
EXAMPLE_BUCKET = "uploads"
# Where the development servers of most frameworks listen.
EXAMPLE_ORIGIN = "http://localhost:3000"
EXAMPLE = f"""\
# Which events make which jobs, as an example. `ittybatch up` writes this file at each start, unless
# deployments/intake.yaml declares something: copy it there to change it. See docs/events.md.

# New objects, by posted events of EventBridge or of S3.
buckets:
  - bucket: {EXAMPLE_BUCKET}
    prefix: incoming/
    profile: web

# New rows, by Supabase's database webhooks.
tables:
  - table: jobs
    url_column: input_url
    tasks:
      - {{kind: video, options: {{width: 1280, format: mp4, quality: high}}}}

# What browsers may upload through POST /uploads.
uploads:
  bucket: {EXAMPLE_BUCKET}
  prefix: browser/
  profile: web
  allowed_origins: [{EXAMPLE_ORIGIN}]
"""


def choose_intake(home: Path, settings: Settings) -> Path:
    """Choose the file that the stack's receiver reads: the user's own, or an example.

    Args:
        home: The stack's home, where the example is written.
        settings: Names the user's file and the folder of profiles.

    Raises:
        IttybatchError: The user's file cannot be used.
    """
    given = settings.intake_file
    if load_declared(given, settings.profiles_dir) != Declared():
        return given.resolve()
    path = home / INTAKE_NAME
    write_private(path, EXAMPLE)
    return path
