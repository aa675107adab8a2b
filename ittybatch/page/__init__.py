"""The live page: what happens, what came out, what failed and why, and every lever.

Rendered by the server over the ledger's queries and the engine's levers; no SQL and no rule of
its own. One module has one page:

    async def view(request: Request) -> Response:
        shell = Shell.of(request)
        found = await shell.read(recent_batches, limit=50)
        return await shell.render(request, "batches.html", batches=found)

    def routes() -> list[Route]:
        return [Route("/", view), Route("/regions/batches", region)]

A template extends `base.html`. What changes by itself is a region, a template of its own that the
page includes, and that fetches itself anew:

    <section id="batches" {{ "/page/regions/batches" | live }}>
    {% include "regions/batches.html" %}
    </section>

A region has no `<section>` of its own, and its rows have stable ids. What a user types or ticks is
outside of regions. A lever is a form, which also works without script: the macro `action` of
`parts.html`, or a form with the same attributes. Its view calls `shell.act`, which records the
action and tells the outcome:

    async def pause(request: Request) -> Response:
        shell = Shell.of(request)
        batch = request.path_params["batch"]
        back = f"/page/batches/{batch}"
        return await shell.act(
            request, "pause", lambda: steer(...).describe(), batch=batch, back=back
        )

A lever that waits for Prefect or another system says so (`calls=True`), and a look at Prefect goes
through `shell.look`: what needs the ledger alone never waits for their threads.

Whoever may only look never reaches a view with another method than GET.
"""

from ittybatch.page.app import LivePage

__all__ = ["LivePage"]
