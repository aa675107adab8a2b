"""Profiles: which renditions every item of a library gets, declared in YAML.

profile = load_profile("web", settings.profiles_dir)
for job in profile.jobs_for(Item("s3://media/uploads/clip.mov", fingerprint="1f3a")):
    print(job.rendition, job.job_key)
"""

from ittybatch.profiles.destinations import Destination
from ittybatch.profiles.errors import ProfileError, UnusableItem
from ittybatch.profiles.item import Item
from ittybatch.profiles.job import JobSpec, own_job
from ittybatch.profiles.media import Media
from ittybatch.profiles.overlap import DestinationOverlap, refuse_overlap
from ittybatch.profiles.profile import Profile
from ittybatch.profiles.registry import Profiles, list_profiles, load_profile
from ittybatch.profiles.rendition import Rendition

__all__ = [
    "Destination",
    "DestinationOverlap",
    "Item",
    "JobSpec",
    "Media",
    "Profile",
    "ProfileError",
    "Profiles",
    "Rendition",
    "UnusableItem",
    "list_profiles",
    "load_profile",
    "own_job",
    "refuse_overlap",
]
