"""`dialer sandbox`: the stand-in for Amazon Connect alone.

Heavy imports stand inside the command, as in campaigns/command_line.py.
"""

from pathlib import Path
from typing import Annotated

import typer

from campaigns.command_line import app, put


@app.command(
    short_help="Run the stand-in for Amazon Connect alone.", epilog="Example: dialer sandbox --port 8480"
)
def sandbox(
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="0 picks a free one.")
    ] = 8480,
    calls_per_second: Annotated[float, typer.Option(metavar="N", help="The quota for starting calls.")] = 2.0,
    burst: Annotated[int, typer.Option(metavar="N", help="The quota's burst.")] = 5,
    speed: Annotated[float, typer.Option(metavar="N", help="Call seconds per second.")] = 1.0,
    max_active_calls: Annotated[
        int | None, typer.Option(metavar="N", help="More at once get a busy tone.")
    ] = None,
    call_seconds: Annotated[
        str | None, typer.Option(metavar="LEAST-MOST", help="How long calls last that ring, such as 6-30.")
    ] = None,
    describe_per_second: Annotated[
        float, typer.Option(metavar="N", help="The quota for DescribeContact.")
    ] = 10.0,
    search_per_second: Annotated[
        float, typer.Option(metavar="N", help="The quota for SearchContacts.")
    ] = 0.5,
    search_delay: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long SearchContacts does not find a new call.")
    ] = 0.0,
    search_only_ended: Annotated[
        bool, typer.Option("--search-only-ended", help="SearchContacts finds only calls that are over.")
    ] = False,
    faults: Annotated[
        bool, typer.Option("--faults", help="Numbers that end in 89 to 99 meet faults (docs/sandbox.md).")
    ] = False,
    latency: Annotated[float, typer.Option(metavar="SECONDS", help="How long every answer takes.")] = 0.0,
    journal: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keeps every request, as JSON Lines.")
    ] = None,
    # For drills of real runs: whatever is dialed through it counts as a real call.
    incognito: Annotated[bool, typer.Option("--incognito", hidden=True)] = False,
) -> None:
    """Run the stand-in for Amazon Connect alone, for anybody's boto3."""
    from worker.extras import need_sandbox

    need_sandbox()
    from worker.sandbox.options import SandboxOptions, call_seconds_from, describe_burst, search_burst
    from worker.sandbox.server import serve

    def ready(url: str) -> None:
        put(f"a stand-in for Amazon Connect listens on {url}; Ctrl-C stops it")
        put(f"export AWS_ENDPOINT_URL_CONNECT={url} AWS_REGION=us-east-1 \\")
        # boto3 reads the second name of the Region, and other SDKs the first.
        put("AWS_DEFAULT_REGION=us-east-1 AWS_ACCESS_KEY_ID=sandbox AWS_SECRET_ACCESS_KEY=sandbox")

    serve(
        SandboxOptions(
            port=port,
            calls_per_second=calls_per_second,
            burst=burst,
            describe_per_second=describe_per_second,
            describe_burst=describe_burst(describe_per_second),
            search_per_second=search_per_second,
            search_burst=search_burst(search_per_second),
            speed=speed,
            max_active_calls=max_active_calls,
            call_seconds=call_seconds_from(call_seconds) if call_seconds else None,
            search_delay_seconds=search_delay,
            search_only_ended=search_only_ended,
            latency_seconds=latency,
            faults=faults,
            journal=journal,
            incognito=incognito,
        ),
        on_ready=ready,
    )
