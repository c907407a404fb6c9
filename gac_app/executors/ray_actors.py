"""A member's actor on Ray, and the way to it. Ray is imported when such a member is loaded (`ray_cluster.py`).

Each forward pass is one message, on a channel of its own (`channel.py`): a call of Ray would take some milliseconds. An
actor that has died is started again by Ray, and is sent the ids of its sequences anew. Ray may notice late that a node
is gone, so an actor that does not answer is asked for its pulse.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from gac_app.errors import GacError, MemberError
from gac_app.executors.channel import Arrays, Channel, listen
from gac_app.executors.hosted import Host, ModelHost, SlotRead
from gac_app.member_config import MemberConfig, RayShare
from gac_app.models.base import Model
from gac_app.models.factory import load_model
from gac_app.models.hardware import detect_devices, plan
from gac_app.plugins import load_plugins

T = TypeVar("T")

_LOOK_S = 1.0  # a call that takes longer is looked into
PULSE_S = 3.0  # without a pulse for so long an actor is given up: within five seconds
RETURN_S = 60.0  # for an actor that died to be loaded again
_RETRY_S = 0.2


Refusal = tuple[str, str]  # in place of a result: kind and message. An exception would bring Ray's traceback along
Met = tuple[dict[str, Any], str, tuple[str, int]]  # an actor's facts, its node's id, address and port where it listens


class MemberActor:
    """Holds a member's model, in a process of its own. Loads it for the first call, also after a restart."""

    def __init__(self, member: MemberConfig, plugins: tuple[str, ...], cache_dir: Path, key: bytes) -> None:
        self._member, self._plugins, self._cache_dir, self._key = member, plugins, cache_dir, key
        self._host: ModelHost | None = None
        self._where: tuple[str, int] | None = None
        self._lock = threading.Lock()

    def facts(self) -> tuple[Refusal | None, Met | None]:
        """Loads the model, and listens."""
        import ray

        def meet(host: ModelHost) -> Met:
            address = ray.util.get_node_ip_address()
            self._where = self._where or (address, listen(address, self._key, self._answer))
            return host.facts(), ray.get_runtime_context().get_node_id(), self._where

        return self._done(meet)

    def _answer(self, message: dict[str, Any]) -> tuple[dict[str, Any], Arrays]:
        """What a message comes to: its result, or why there is none."""
        what, arguments = message["do"], message["arguments"]

        def carry_out(host: ModelHost) -> Arrays:
            if what == "step":
                return host.step([SlotRead(*read) for read in arguments])
            (host.copy if what == "copy" else host.free)(*arguments)
            return []

        refusal, arrays = self._done(carry_out)
        return {"refusal": refusal}, arrays or []

    def pulse(self) -> None:
        """Answers while the model computes."""

    def _done(self, call: Callable[[ModelHost], T]) -> tuple[Refusal | None, T | None]:
        import ray

        try:
            with self._lock:
                self._host = self._host or ModelHost(self._load())
                return None, call(self._host)
        except GacError as error:
            message = getattr(error, "message", str(error).removeprefix(f"{self._member.name}: "))
            kind = getattr(error, "kind", "exception")
            return (kind, f"{message} (on {ray.util.get_node_ip_address()})"), None
        except Exception as error:  # the asking side names it
            return ("exception", f"{first_line(error)} (in its actor)"), None

    def _load(self) -> Model:
        share = self._member.ray or RayShare()
        if not share.num_gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""  # Ray hides other GPUs only where some are reserved
        load_plugins(self._plugins, Path())
        member = self._member.model_copy(update={"ray": None})  # from here on it is on this machine
        devices = replace(detect_devices(), num_cores=max(1, int(share.num_cpus)))
        placement = plan((member,), devices).placements[member.name]
        if member.device == "auto" and not member.max_memory and not placement.is_on_cpu:
            member = member.model_copy(update={"device": tuple(gpu.name for gpu in devices.gpus)})  # all are reserved
            placement = plan((member,), devices).placements[member.name]
        return load_model(
            member, placement=placement, cache_dir=self._cache_dir, on_fetch=lambda _: None, on_load=lambda: None
        )


class RayHost(Host):
    """A member's actor, as seen from here.

    Args:
        key: of its channel.
    """

    def __init__(self, name: str, actor: Any, key: bytes, on_close: Callable[[], None]) -> None:
        import ray

        self._ray: Any = ray
        self._name, self._actor, self._key, self._on_close = name, actor, key, on_close
        self._channel: Channel | None = None
        self._facts = dict[str, Any]()  # at the start
        self._where = ("", 0)
        self._address, self._port = "", 0  # of Ray on the actor's node
        self._why_down = ""  # empty = it answers, as far as is known

    def facts(self) -> dict[str, Any]:
        """Waits as long as loading takes."""
        try:
            self._facts = self._met(*self._ray.get(self._actor.facts.remote()))
            return self._facts
        except self._ray.exceptions.RayError as error:
            raise self._lost(f"its actor died while it loaded: {first_line(error)}; see Ray's logs") from error

    def step(self, reads: list[SlotRead]) -> Arrays:
        return self._asked("step", *map(tuple, reads))

    def copy(self, slot: int, other: int) -> None:
        self._asked("copy", slot, other)

    def free(self, slot: int) -> None:
        if self._channel:
            with suppress(OSError, MemberError):  # what is lost is dropped when the slot is used again
                self._told("free", slot)

    def close(self) -> None:
        self._hang_up()

        def end() -> None:
            if self._ray.is_initialized():  # else the call would start a cluster
                self._ray.kill(self._actor)
            self._on_close()

        with suppress(TimeoutError):
            _within(_LOOK_S, end)

    def _asked(self, what: str, *arguments: Any) -> Arrays:
        """The result of a message, which is repeated once to an actor that has died and come back."""
        if self._why_down:
            self._await(_LOOK_S)
        try:
            return self._told(what, *arguments)
        except OSError:
            self._await(RETURN_S)
        try:
            return self._told(what, *arguments)
        except OSError as error:
            raise self._lost(f"its actor on {self._address} died twice in a row; see Ray's logs there") from error

    def _told(self, what: str, *arguments: Any) -> Arrays:
        """The result of a message. Raises OSError if there is none, MemberError if the actor refuses or is silent."""
        try:
            self._channel = self._channel or Channel(*self._where, self._key, _LOOK_S)
            head, arrays = self._channel.ask({"do": what, "arguments": arguments}, self._feel_pulse)
        except BaseException:
            self._hang_up()  # a late answer must not be taken for another's
            raise
        if head["refusal"]:
            raise MemberError(self._name, *head["refusal"])
        return arrays

    def _hang_up(self) -> None:
        if self._channel:
            self._channel.close()
            self._channel = None

    def _feel_pulse(self) -> None:
        try:
            self._ray.get(self._actor.pulse.options(concurrency_group="pulse").remote(), timeout=PULSE_S)
        except self._ray.exceptions.GetTimeoutError as error:
            raise self._lost(f"{self._address} does not answer; see whether it and the network are up") from error
        except self._ray.exceptions.RayError as error:
            raise ConnectionError("the actor has died") from error

    def _await(self, within_s: float) -> None:
        """Wait until the actor, which was given up or has died, is loaded again."""
        deadline, ref = time.monotonic() + within_s, self._actor.facts.remote()
        while time.monotonic() < deadline:
            try:
                if self._met(*self._ray.get(ref, timeout=_RETRY_S)) != self._facts:
                    raise self._lost("its actor came back with another model or engine; start this program again")
                self._why_down = ""
                return
            except self._ray.exceptions.GetTimeoutError:
                pass
            except self._ray.exceptions.RayError:
                time.sleep(_RETRY_S)
                ref = self._actor.facts.remote()
            if not self._why_down and not self._has_node():
                why = f"its node {self._address} is gone; start Ray there again, and this program if that was the head"
                raise self._lost(why)
        raise self._lost(self._why_down or f"its actor on {self._address} died and did not come back; see Ray's logs")

    def _met(self, refusal: Refusal | None, met: Met | None) -> dict[str, Any]:
        if met is None:
            raise MemberError(self._name, *(refusal or ("exception", "tells nothing")))
        facts, node_id, self._where = met
        self._hang_up()
        try:
            nodes = _within(_LOOK_S, self._ray.nodes)
        except TimeoutError as error:
            why = "the head of its Ray cluster does not answer; start Ray again, and then this program"
            raise self._lost(why) from error
        node = next(node for node in nodes if node["NodeID"] == node_id)
        self._address, self._port = node["NodeManagerAddress"], node["NodeManagerPort"]
        return facts

    def _has_node(self) -> bool:
        """Whether Ray listens on the actor's node. The head would know later."""
        try:
            socket.create_connection((self._address, self._port), _LOOK_S).close()
        except OSError:
            return False
        return True

    def _lost(self, why: str) -> MemberError:
        self._why_down = why
        return MemberError(self._name, "exception", why)


def _within(seconds: float, call: Callable[[], T]) -> T:
    """The result of a call that would wait for ever for a head that is gone. Raises TimeoutError."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future.result(seconds)


def first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
