"""Hamilton: one node per step, `Parallelizable` over items, threads as executors."""
# pyright: reportMissingImports=false
# It runs in an environment of its own.

import sys
import types
from typing import Any

from bench.peers import work
from bench.peers.work import Case, Row


def case(row: Row, folder: str) -> Case:
    from hamilton import base, driver
    from hamilton.execution import executors
    from hamilton.plugins import h_threadpool

    module, wanted, inputs = _module(row, folder)
    if row.items:
        made = (
            driver.Builder()
            .with_modules(module)
            .enable_dynamic_execution(allow_experimental_mode=True)
            .with_local_executor(executors.SynchronousLocalTaskExecutor())
            .with_remote_executor(executors.MultiThreadingExecutor(max_tasks=work.AT_ONCE))
            .build()
        )
    elif row.name == "paper":
        adapter = h_threadpool.FutureAdapter(max_workers=work.AT_ONCE, result_builder=base.DictResult())
        made = driver.Builder().with_modules(module).with_adapters(adapter).build()
    else:
        made = driver.Builder().with_modules(module).with_adapters(base.DictResult()).build()
    return lambda: made.execute(wanted, inputs=inputs)


def _module(row: Row, folder: str) -> tuple[types.ModuleType, list[str], dict[str, Any]]:
    """A module of functions, as Hamilton wants its nodes, with the nodes that are wanted and the inputs."""
    lines = ["from bench.peers import work", "from hamilton.htypes import Collect, Parallelizable"]
    wanted, inputs = ["collected"], {"count": row.items}
    match row.name:
        case "paper":
            for name in work.PAPER:
                group = next(at for at, names in enumerate(work.PAPER_GROUPS) if name in names)
                waits = ", ".join(f"{each}: str" for each in (work.PAPER_GROUPS[group - 1] if group else ("source",)))
                read = work.PAPER_READS.get(name, "source")
                lines.append(f"def {name}({waits}) -> str:\n    return work.paper_step({name!r}, {read})")
            wanted, inputs = list(work.PAPER_GROUPS[-1]), {"source": "paper.pdf"}
        case "documents" | "many":
            lines.append("def document(count: int) -> Parallelizable[int]:\n    yield from range(count)")
            before = ""
            for name in work.DOCUMENT_STEPS:
                read = f", {before}: str" if before else ""
                lines.append(
                    f"def {name}(document: int{read}) -> str:\n"
                    f"    return work.document_step({name!r}, document, {before or repr('')})"
                )
                before = name
            lines.append(f"def collected({before}: Collect[str]) -> int:\n    return len(list({before}))")
        case "nothing":
            lines.append("def number(count: int) -> Parallelizable[int]:\n    yield from range(count)")
            lines.append("def same(number: int) -> int:\n    return work.nothing(number)")
            lines.append("def collected(same: Collect[int]) -> int:\n    return len(list(same))")
        case "chain":
            before = "start"
            for number in range(work.CHAIN):
                lines.append(
                    f"def link_{number}({before}: int) -> int:\n    return work.link('link_{number}', {before})"
                )
                before = f"link_{number}"
            wanted, inputs = [before], {"start": 0}
        case _:
            lines.append("def chunks(documents: list) -> dict:\n    return work.chunk(documents)")
            lines.append("def digests(chunks: dict) -> dict:\n    return work.digest(chunks)")
            lines.append(
                "def stored(chunks: dict, digests: dict, file: str) -> int:\n"
                "    return work.store(chunks, digests, file)"
            )
            wanted, inputs = ["stored"], {"documents": work.texts(), "file": f"{folder}/passages.db"}
    module = types.ModuleType("peer_nodes")
    sys.modules["peer_nodes"] = module
    exec(compile("\n".join(lines), "peer_nodes", "exec"), module.__dict__)
    return module, wanted, inputs
