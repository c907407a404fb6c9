"""`serve`: the page and its host."""

from __future__ import annotations

import os
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from gac_app.commands.options import ConfigOption, load
from gac_app.config import Config
from gac_app.environment import is_zero_gpu, operator_token, sign_in_secret
from gac_app.errors import GacError
from gac_app.member_config import MemberConfig, scheme_of


def serve(
    config: ConfigOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65_535, help="Port to listen on.")] = None,
    executor: Annotated[
        Literal["threads", "ray"] | None,
        typer.Option(help="Where members run: in threads here, or as actors of a Ray cluster."),
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="With --executor ray: host:port of the cluster's head, or auto.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Validate, print the placement, and exit.")] = False,
    devices: Annotated[str | None, typer.Option(help="With --check: plan for these, such as 8x80GiB.")] = None,
    log_format: Annotated[
        Literal["text", "json"],
        typer.Option(envvar="GAC_LOG_FORMAT", help="json: a record a line, with ids of request and run."),
    ] = "text",
) -> None:
    """Serve the page, which is available at once, while the models load."""
    if devices is not None and not check:
        raise typer.BadParameter("works with --check only", param_hint="--devices")
    if ray_address is not None and executor != "ray":
        raise typer.BadParameter("works with --executor ray only", param_hint="--ray-address")
    settled = load(config)
    if executor is not None:
        settled = settled.run_by(executor, ray_address)
    if check:
        _check(settled, devices)
        return
    given = {key: value for key, value in (("host", host), ("port", port)) if value is not None}
    settled = settled.model_copy(update={"server": settled.server.model_copy(update=given)})
    from gac_app.server.logs import texts_kept_out

    with texts_kept_out():  # the log has no visitor's text
        _run(settled, log_format == "json")


def _run(config: Config, logs_json: bool) -> None:
    """Build the services and serve until told to stop."""
    from gac_app import bootstrap

    # With the page and Gradio, this takes seconds; the loading of the members would slow it down.
    from gac_app.server.host import HostSecrets, create_host, launch_page
    from gac_app.server.logs import StateLog, log_as_json, log_ended
    from gac_app.server.serving import serve_host

    gpu = _zero_gpu() if is_zero_gpu(os.environ) else None
    secrets = HostSecrets(operator_token(os.environ), sign_in_secret(os.environ))
    if logs_json:
        log_as_json()
    services = bootstrap.build_services(config, gpu, StateLog().log)
    try:
        if logs_json:
            services.runs.when_ended(log_ended)
        if gpu is not None:
            launch_page(services.runs, config, services.arena, services.exports, secrets)
        else:
            host = create_host(services.runs, config, services.lab, services.arena, services.exports, secrets)
            serve_host(host, config.server)
    finally:
        services.close()


def _zero_gpu() -> Any:
    """`spaces.GPU`, or None. Must be imported before anything that looks for a GPU."""
    import spaces

    return spaces.GPU


def _check(config: Config, devices: str | None) -> None:
    from gac_app.loading import plan_of

    typer.echo(str(plan_of(config, devices)))
    missing = [member.name for member in config.members if not _has_files(member)]
    for member in config.members:
        for part in chain(*member.mirrors):
            if not scheme_of(part) and not Path(part).expanduser().exists():
                typer.echo(f"warning: {member.name}: there is no {part} on this machine")
    if missing:
        raise GacError(f"no source of {', '.join(missing)} can be used")


def _has_files(member: MemberConfig) -> bool:
    """Whether all parts of one of its mirrors are elsewhere, where they may be fetched, or on this machine."""
    return any(all(scheme_of(part) or Path(part).expanduser().exists() for part in parts) for parts in member.mirrors)
