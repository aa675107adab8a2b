"""The local stack behind `ittybatch up` and `ittybatch demo`.

with LocalStack(settings.home, on_event=print) as stack:
    print(stack.prefect_url)
"""

from ittybatch.stack.errors import StackError
from ittybatch.stack.media import make_broken, make_media
from ittybatch.stack.s3 import Uploaded
from ittybatch.stack.stack import LocalStack

__all__ = ["LocalStack", "StackError", "Uploaded", "make_broken", "make_media"]
