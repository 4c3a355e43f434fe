"""An answer as server-sent events: its parts while they arrive, then the whole answer."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from deployments.service.calls import CallPool
from deployments.service.library import Question, View
from deployments.service.problems import problem_of
from flows.errors import OrchestrationError

logger = logging.getLogger(__name__)
_SILENT_S = 15.0
"""Seconds without a part after which a comment is sent, so that proxies do not close the connection."""


class Left(OrchestrationError):
    """The caller has stopped listening."""


async def answer_events(pool: CallPool, view: View, index: str, question: Question) -> AsyncIterator[str]:
    """The events `text`, and at the end `answer` or `problem`. When the client disconnects, the model is stopped."""
    loop = asyncio.get_running_loop()
    parts: asyncio.Queue[str | None] = asyncio.Queue()
    left = False

    def on_text(text: str) -> None:
        if left:
            raise Left("the client disconnected")
        loop.call_soon_threadsafe(parts.put_nowait, text)

    answering = asyncio.ensure_future(pool.run(view.ask, index, question, on_text=on_text))
    answering.add_done_callback(lambda _: parts.put_nowait(None))
    try:
        while True:
            try:
                part = await asyncio.wait_for(parts.get(), _SILENT_S)
            except TimeoutError:
                yield ": still at work\n\n"
                continue
            if part is None:
                break
            yield event("text", {"text": part})
        try:
            answer = answering.result()
        except OrchestrationError as error:
            yield event("problem", problem_of(error).document(f"/api/indexes/{index}/ask"))
        except Exception as error:
            logger.exception("asking failed")
            yield event("problem", problem_of(error).document(f"/api/indexes/{index}/ask"))
        else:
            yield event("answer", answer.model_dump(mode="json"))
    finally:
        left = True
        answering.cancel()
        with suppress(BaseException):
            await answering


def event(name: str, data: Any) -> str:
    """One server-sent event."""
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
