"""Speech on this machine with espeak-ng, in a separate process. It sounds robotic and needs no model."""

import hashlib
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from flows.errors import FatalError, TransientError

PROGRAM = "espeak-ng"
MOST_CHARACTERS = 100_000
_VARIANTS = ("f2", "m3", "f4", "m1", "f3", "m7", "f5", "m4", "f1", "m5", "m2", "m6")
_VOICE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]+)*(\+[A-Za-z0-9]+)?")


def speak(text: str, *, voice: str, language: str, speed: float, timeout_s: float) -> bytes:
    """A WAV of 22 050 frames per second.

    `voice` is one of espeak-ng's voices (`en-us+f3`, `de`), or any name: each name always has the same timbre, pitch
    and pace, so that listeners can distinguish the narrators.

    Raises:
        FatalError: espeak-ng is not installed, knows no such language, or there is nothing to say.
        TransientError: it took too long.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise FatalError(
            f"speech on this machine needs {PROGRAM}: apt-get install espeak-ng (brew install espeak-ng); "
            "or set BRAID_CONTENT_PROVIDER=openai"
        )
    if not text.strip():
        raise FatalError("there is nothing to say: the text is empty")
    if len(text) > MOST_CHARACTERS:
        raise FatalError(f"the text has {len(text)} characters, more than {MOST_CHARACTERS}; split it")
    if not 0.25 <= speed <= 4.0:
        raise FatalError(f"speed is {speed}; use a number from 0.25 to 4")
    chosen, pitch, pace = _timbre(voice, language)
    if _VOICE.fullmatch(chosen) is None:
        raise FatalError(f"{language!r} is not a language; use a code such as en-us or de")
    with tempfile.TemporaryDirectory(prefix="braid-speech-") as folder:
        file = Path(folder) / "speech.wav"
        # The text goes through a pipe, so it is not mistaken for an option, and other processes cannot see it.
        voiced = ["-v", chosen, "-p", str(pitch), "-s", str(int(pace * speed))]
        command = [program, *voiced, "-b", "1", "-w", str(file), "--stdin"]
        try:
            ended = subprocess.run(command, input=text.encode(), capture_output=True, timeout=timeout_s, check=False)
        except subprocess.TimeoutExpired as error:
            raise TransientError(f"{PROGRAM} was not ready after {timeout_s:g} s") from error
        if ended.returncode or not file.is_file():
            message = ended.stderr.decode(errors="replace").strip()[:200]
            raise FatalError(f"{PROGRAM} cannot speak with voice {chosen!r}: {message}")
        return file.read_bytes()


def _timbre(voice: str, language: str) -> tuple[str, int, int]:
    """espeak-ng's voice, its pitch (0 to 99) and words per minute."""
    if not voice or voice == "default":
        return language, 50, 165
    if voice.partition("+")[0] in _languages(PROGRAM) and _VOICE.fullmatch(voice):
        return voice, 50, 165
    digest = hashlib.sha256(voice.lower().encode()).digest()
    number = int.from_bytes(digest[:4], "big")
    return f"{language}+{_VARIANTS[number % len(_VARIANTS)]}", 30 + digest[4] % 45, 150 + digest[5] % 35


@cache
def _languages(program: str) -> frozenset[str]:
    listed = subprocess.run([program, "--voices"], capture_output=True, timeout=20, check=False).stdout.decode()
    return frozenset(line.split()[1] for line in listed.splitlines()[1:] if len(line.split()) > 1)
