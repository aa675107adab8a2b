"""A step of `prefect.yaml` that says what `prefect deploy` alone leaves out."""


def say_what_is_left_out() -> None:
    """Print it, for whoever runs `prefect deploy` and not `ittybatch deploy`."""
    print(  # noqa: T201  the output of a deploy step
        "`prefect deploy` applies deployments alone. It leaves out the work pool, the automations "
        "and the blocks of ittybatch, and what prefect.yaml no longer declares stays active. "
        "`ittybatch deploy` does all of it."
    )
