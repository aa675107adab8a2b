"""What jobs would cost, in the user's own unit, for the buttons that make them."""

from collections.abc import Mapping
from typing import Any

from ittybatch.engine.estimate import estimate
from ittybatch.engine.options import RunOptions
from ittybatch.settings import Settings


def price_of(kinds: Mapping[str, int], options: Mapping[str, Any], settings: Settings) -> str:
    """Say what these jobs would cost: `about 1.20`, or that it is unknown.

    Args:
        kinds: Number of jobs by kind.
        options: The options of their batch, as the ledger has them.
        settings: The rates by kind.
    """
    counts = {f"kind:{kind}": count for kind, count in kinds.items()}
    jobs = sum(kinds.values())
    rate = options.get("cost_per_job")
    found = estimate(
        {"jobs": jobs, "items": jobs, **counts}, RunOptions(cost_per_job=rate), settings, {}
    )
    if found.cost is None:
        return "price unknown"
    # A picture may cost a thousandth.
    amount = f"{found.cost:,.2f}" if found.cost >= 1 or not found.cost else f"{found.cost:.2g}"
    return f"about {amount}"
