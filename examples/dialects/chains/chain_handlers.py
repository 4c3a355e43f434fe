"""The handler of `split_input.yaml`; all other chains here have what Braid ships."""

from flows import handler


@handler
def narrate_chapters(chapters: list[str], *, voice: str) -> list[str]:
    return [f"{voice}: {chapter}" for chapter in chapters]
