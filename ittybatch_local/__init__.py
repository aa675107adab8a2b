"""The local stack behind `ittybatch up` and `ittybatch demo`.

with LocalStack(settings.home, on_event=print) as stack:
    print(stack.prefect_url)
"""

from ittybatch_local.errors import StackError
from ittybatch_local.media import make_broken, make_media
from ittybatch_local.s3 import Uploaded
from ittybatch_local.stack import LocalStack

__all__ = ["LocalStack", "StackError", "Uploaded", "make_broken", "make_media"]
