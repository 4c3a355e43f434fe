"""Programs are started again when they end, after longer and longer pauses, and given up at last."""

from dataclasses import dataclass, field

import pytest

from deployments.server.supervising import SILENT_S, STEADY_S, TRIES, GivenUp, Program, Supervisor


@dataclass
class Process:
    code: int | None = None

    def poll(self) -> int | None:
        return self.code


@dataclass
class World:
    """A clock, and programs whose processes a test ends."""

    now: float = 0.0
    started: list[str] = field(default_factory=list[str])
    processes: dict[str, Process] = field(default_factory=dict[str, Process])
    said: list[str] = field(default_factory=list[str])
    silent: bool = False
    full: bool = False

    def program(self, name: str, *, asked: bool = False) -> Program:
        def start() -> Process:
            if self.full:
                raise OSError(28, "No space left on device")
            self.started.append(f"{name} at {self.now:.0f}")
            self.processes[name] = Process()
            return self.processes[name]

        def stop() -> None:
            self.processes[name].code = -9

        answers = (lambda: not self.silent) if asked else None
        return Program(name, start, stop, answers=answers, log_end=lambda: f"The log of {name}.")

    def supervise(self, *programs: Program) -> Supervisor:
        return Supervisor(programs, say=self.said.append, now=lambda: self.now)

    def pass_time(self, supervisor: Supervisor, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now += 0.5
            supervisor.look()


def test_a_program_that_ends_is_restarted_alone_and_after_a_longer_pause_each_time() -> None:
    world = World()
    supervisor = world.supervise(world.program("server"), world.program("worker"))
    supervisor.look()
    for _ in range(3):
        world.processes["worker"].code = -9
        world.pass_time(supervisor, 10)
    assert world.started == ["server at 0", "worker at 0", "worker at 2", "worker at 12", "worker at 24"]
    assert world.said[0] == (
        "worker ended (killed by signal 9); it starts again in 1 s (end 1 in a row; `braid up` stops at 8)"
    )
    assert "worker runs again" in world.said


def test_a_program_that_has_run_for_long_begins_to_count_anew() -> None:
    world = World()
    supervisor = world.supervise(world.program("worker"))
    supervisor.look()
    for _ in range(3 * TRIES):
        world.pass_time(supervisor, STEADY_S + 2)
        world.processes["worker"].code = 1
        supervisor.look()
    assert {line.rpartition("(")[2] for line in world.said if "again in" in line} == {
        f"end 1 in a row; `braid up` stops at {TRIES})"
    }


def test_a_program_that_ends_again_and_again_is_given_up_with_the_end_of_its_log() -> None:
    world = World()
    supervisor = world.supervise(world.program("serve"))
    with pytest.raises(
        GivenUp, match=rf"serve ended \(exit code 1\), {TRIES} times in a row, so `braid up` stops. The log of"
    ):
        for _ in range(10_000):
            world.pass_time(supervisor, 0.5)
            if "serve" in world.processes:
                world.processes["serve"].code = 1
    assert len(world.started) == TRIES


def test_a_program_that_does_not_answer_any_more_is_ended_and_started_again() -> None:
    world = World()
    supervisor = world.supervise(world.program("server", asked=True))
    supervisor.look()
    world.pass_time(supervisor, 60)
    world.silent = True
    world.pass_time(supervisor, SILENT_S - 10)
    assert world.started == ["server at 0"]
    world.pass_time(supervisor, 30)
    world.silent = False
    world.pass_time(supervisor, 30)
    assert len(world.started) == 2
    assert [line.partition(";")[0] for line in world.said] == [
        "server did not answer for 120 s and was ended",
        "server runs again",
    ]


def test_a_program_that_cannot_be_started_counts_as_one_that_ended() -> None:
    world = World(full=True)
    supervisor = world.supervise(world.program("worker"))
    world.pass_time(supervisor, 2)
    world.full = False
    world.pass_time(supervisor, 4)
    assert "No space left on device" in world.said[0]
    assert world.started == ["worker at 4"]
