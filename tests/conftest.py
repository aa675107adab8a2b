"""What all tests share: no settings but their own, and ledgers on both databases."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from ittybatch.ledger import Ledger
from ittybatch.ledger.database import create_ledger_engine
from ittybatch.ledger.migrate import upgrade
from ittybatch.stack.databases import start_scratch_cluster

_OURS = ("ITTYBIT_", "ITTYBATCH_", "PREFECT_", "AWS_", "DATABASE_URL", "WEBHOOK_URL", "PORT")
