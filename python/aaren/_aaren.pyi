"""The compiled half. Arrays cross as bytes; the rest of the package has what people use."""

from typing import Any, final

from ._show import News, Show

__version__: str
build: str
mujoco_version: str | None

_Observed = tuple[bytearray, dict[str, Any]]
_Stepped = tuple[bytearray, float, bool, bool, dict[str, Any]]
_Infos = list[tuple[str, bytearray, bytearray]]
_Finals = tuple[list[int], bytearray, _Infos]
_VectorStepped = tuple[bytearray, bytearray, bytearray, bytearray, _Infos, _Finals | None]

class Error(Exception):
    """What went wrong in aaren, on one line."""

@final
class Env:
    """One environment."""

    def __new__(cls, id: str, options_json: str) -> Env: ...
    def spec(self) -> str: ...
    def reset(self, seed: int | None) -> _Observed: ...
    def step_index(self, action: int) -> _Stepped: ...
    def step_f32(self, action: bytes) -> _Stepped: ...
    def step_f64(self, action: bytes) -> _Stepped: ...
    def state(self) -> bytearray: ...
    def set_state(self, state: bytes) -> bytearray: ...

@final
class Renderer:
    """Draws a task, in the thread that made it."""

    def __new__(cls, id: str, options_json: str, width: int, height: int) -> Renderer: ...
    def seconds_per_step(self) -> float | None: ...
    def render(self, env: Env) -> bytearray: ...

@final
class VectorEnv:
    """Copies of one task."""

    def __new__(cls, id: str, options_json: str, copies: int, threads: int, autoreset: str) -> VectorEnv: ...
    def spec(self) -> str: ...
    def reset(self, seeds: list[int | None], mask: bytes | None) -> tuple[bytearray, _Infos]: ...
    def step_index(self, actions: bytes) -> _VectorStepped: ...
    def step_f32(self, actions: bytes) -> _VectorStepped: ...
    def step_f64(self, actions: bytes) -> _VectorStepped: ...

@final
class Policy:
    """A policy, to act with on the CPU."""

    def __new__(cls, path: str, checkpoint: str | None) -> Policy: ...
    def description(self) -> str: ...
    def initial_state(self, rows: int, window: int | None, cache: str | None, stochastic: bool) -> State: ...
    def step(
        self,
        observations: bytes,
        state: State,
        *,
        reset: bytes | None = None,
        previous_action: bytes | None = None,
        return_to_go: bytes | None = None,
        reward: bytes | None = None,
        seeds: list[int] | None = None,
        active: bytes | None = None,
    ) -> tuple[bytearray, State]: ...
    def plan(
        self,
        *,
        episodes: int | None = None,
        target_returns: list[float] = ...,
        seed: int | None = None,
        execution: str | None = None,
        cache: str | None = None,
        stochastic: bool = False,
    ) -> str: ...

@final
class State:
    """What a policy carries along in a batch of episodes."""

    def __new__(cls, bytes: bytes) -> State: ...
    def store(self) -> bytes: ...
    def nbytes(self) -> int | None: ...
    def rows(self) -> int | None: ...

def tasks() -> str: ...
def train(
    show: Show | None,
    *,
    files: list[str],
    set: list[str],
    mixer: str | None = None,
    env: str | None = None,
    data: list[str] = ...,
    max_episode_steps: int | None = None,
    seed: int | None = None,
    device: str | None = None,
    strict: bool = False,
    run: str | None = None,
    resume: bool = False,
    from_policy: str | None = None,
) -> tuple[str, str]: ...
def evaluate(show: Show | None, asked: dict[str, Any]) -> tuple[str, str]: ...
def record(show: Show | None, asked: dict[str, Any]) -> list[dict[str, Any]]: ...
def compare(
    show: Show | None,
    runs: list[str],
    *,
    output: str | None = None,
    table: bool = False,
    force: bool = False,
    evaluation: str | None = None,
    sort: str | None = None,
    columns: list[str] = ...,
) -> tuple[str, str, str]: ...
def main(arguments: list[str]) -> int: ...
def drain() -> News: ...
