"""Deployments of the flow on a Prefect server, made or updated for one recipe."""

from __future__ import annotations

import asyncio
import re
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import httpx
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from prefect.runner import Runner
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL
from prefect.types.entrypoint import EntrypointType
from pydantic import ValidationError

from curation.errors import CurationError, UsageError
from flows.curate import curate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.deployments.runner import RunnerDeployment

    from curation.recipe import Recipe

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
#: One run at a time; one that is due while another goes on is cancelled, and the next does what it would have done.
_ONE = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)
#: Seconds between two signs of life of a run; the server takes one for dead that misses three (automations.yaml).
HEARTBEAT = 30
AUTOMATIONS = Path(__file__).with_name("automations.yaml")


@dataclass(frozen=True, slots=True)
class Deployed:
    """What was made: the deployment's full name, its pool and whether that is new, and where the UI shows it."""

    name: str
    pool: str
    pool_is_new: bool
    url: str | None


def schedule_of(cron: str | None, interval: str | None, timezone: str) -> CronSchedule | IntervalSchedule | None:
    """The schedule, None where there is none; `UsageError` for one that cannot be."""
    if cron and interval:
        raise UsageError("--cron and --interval: one of them", remedy="leave the other out")
    try:
        if cron:
            return CronSchedule(cron=cron, timezone=timezone)
        if interval:
            return IntervalSchedule(interval=_span(interval), timezone=timezone)
    except ValidationError as error:
        field = str(error.errors()[0]["loc"][0])
        given = {"cron": cron, "timezone": timezone}.get(field, interval)
        raise UsageError(
            f"--{field} {given}: {str(error.errors()[0]['msg']).removeprefix('Value error, ')}",
            remedy='for example --cron "0 2 * * *" --timezone Europe/Berlin, or --interval 6h',
        ) from error
    return None


def _span(text: str) -> timedelta:
    """A time span.

    >>> _span("90m")
    datetime.timedelta(seconds=5400)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", text.strip())
    if not found or not 60 <= (span := timedelta(**{_UNITS[found[2]]: float(found[1])})).total_seconds() < 10**9:
        raise UsageError(f"--interval {text}: expected a span of a minute or more", remedy="like 30m, 6h, 1d or 1w")
    return span


def deploy(
    recipe: Recipe, parameters: dict[str, Any], name: str, pool: str,
    schedule: CronSchedule | IntervalSchedule | None,
) -> Deployed:  # fmt: skip
    """Make the deployment, or update the one of this name; and its pool, of processes, if there is none."""
    deployment = _deployment(recipe, parameters, name, schedule)
    deployment.work_pool_name = pool
    deployment.job_variables = {"env": {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT)}}
    with _client() as client:
        is_new = _make_pool(client, pool)
        _make_automations(client)
        made = cast("UUID", deployment.apply())
        _forget_schedules(client, made, schedule)
    ui = PREFECT_UI_URL.value()
    return Deployed(f"curate/{name}", pool, is_new, f"{ui}/deployments/deployment/{made}" if ui else None)


def serve(
    recipe: Recipe, parameters: dict[str, Any], name: str, schedule: CronSchedule | IntervalSchedule | None
) -> None:
    """Make the deployment and run what is due in this process's children, until it is stopped; no pool, no worker.

    As `flow.serve` does, but for that it would send the flow to them as a pickle, without the types of its parameters.
    """
    runner = Runner(name=name, limit=1, heartbeat_seconds=HEARTBEAT)
    with _client() as client:
        _make_automations(client)
        made = cast("UUID", runner.add_deployment(_deployment(recipe, parameters, name, schedule)))
        _forget_schedules(client, made, schedule)
    asyncio.run(runner.start())


def _deployment(
    recipe: Recipe, parameters: dict[str, Any], name: str, schedule: CronSchedule | IntervalSchedule | None
) -> RunnerDeployment:
    try:
        curate.validate_parameters(parameters)
    except ValidationError as error:
        raise UsageError(f"these are no parameters of the flow: {error}") from error
    made = curate.to_deployment(
        name=name, parameters=parameters, description=_described(recipe), tags=["curate", recipe.name],
        schedules=[schedule] if schedule else None, concurrency_limit=_ONE, entrypoint_type=EntrypointType.MODULE_PATH,
    )  # fmt: skip
    return cast("RunnerDeployment", made)  # as all of Prefect's here: a coroutine only where a loop is running


def _forget_schedules(
    client: SyncPrefectClient, deployment: UUID, schedule: CronSchedule | IntervalSchedule | None
) -> None:
    """Remove the schedules of a deployment that is to have none; an update leaves them."""
    if schedule is None:
        for old in client.read_deployment_schedules(deployment):
            client.delete_deployment_schedule(deployment, old.id)


def _described(recipe: Recipe) -> str:
    return f"Runs {recipe.path}: pulls what is new, and publishes a release of {recipe.name} if anything has changed."


@contextmanager
def _client() -> Iterator[SyncPrefectClient]:
    """A client of the server that Prefect's settings name, which must answer."""
    url = PREFECT_API_URL.value()
    if not url:
        raise UsageError(
            "no Prefect server is named, and a deployment needs one that stays",
            remedy="start one with `prefect server start`, and name it in the shell you deploy from: "
            "export PREFECT_API_URL=http://127.0.0.1:4200/api",
        )
    with get_client(sync_client=True) as client:
        error = client.api_healthcheck()
        if error is not None:
            raise CurationError(
                f"{url}: no Prefect server answers there: {error}",
                remedy="start it: prefect server start; or correct PREFECT_API_URL",
            )
        yield client


def _make_automations(client: SyncPrefectClient) -> None:
    """Have the server mark dead runs: what automations.yaml says is made, or set to it where it is already.

    Whether they are switched on stays as it is, and what has another name is not touched.
    """
    for wanted in yaml.safe_load(AUTOMATIONS.read_text(encoding="utf-8"))["automations"]:
        automation = AutomationCore.model_validate(wanted)
        there = client.read_automations_by_name(automation.name)
        for one in there:
            client.update_automation(one.id, automation.model_copy(update={"enabled": one.enabled}))
        if not there:
            client.create_automation(automation)


def _make_pool(client: SyncPrefectClient, name: str) -> bool:
    """Make the work pool if there is none of its name; whether it was made."""
    try:
        found = client.read_work_pool(name)
    except ObjectNotFound:
        try:
            client.create_work_pool(WorkPoolCreate(name=name, type="process"))
        except (ValidationError, httpx.HTTPStatusError) as error:
            raise UsageError(f"--pool {name}: {error}", remedy="name another pool") from error
        return True
    if found.type != "process":
        raise UsageError(
            f"--pool {name}: a pool of type {found.type}, and the flow needs one of processes",
            remedy=f"prefect work-pool create {name}-process --type process, and --pool {name}-process",
        )
    return False
