"""The graph of an index in SQL: mentions and relations belong to passages, and vanish with the last of them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, or_, select, update

from flows.state import chunked
from handlers.records import Chunk, Entity, Relation
from handlers.stores.keys import count_facts, entity_key, storable_text
from handlers.stores.refusals import check_chunk_ids
from handlers.stores.rows import Edge, Mention
from handlers.stores.sql import schema
from handlers.stores.sql.dialects import among, insert_rows, upsert_rows
from handlers.stores.sql.search import permitted_documents
from handlers.stores.sql.staging import stage_facets
from handlers.stores.sql.transactions import Transactions
from handlers.stores.sql.views import found_in_view
from handlers.tags import TagFilter

entities_, mentions_, relations_, passages_ = schema.entities, schema.mentions, schema.relations, schema.passages


class SqlGraph(Transactions):
    """How an index in SQL stores and searches its graph."""

    def put_graph(
        self, chunks: Sequence[Chunk], entities: Sequence[Entity], relations: Sequence[Relation], *, run_id: str = ""
    ) -> int:
        with self._write() as connection:
            passages = stage_facets(connection, chunks, run_id)
            check_chunk_ids(passages.keys(), list({each.chunk_id for each in (*entities, *relations)}))
            keys = list(passages.values())
            touched = entities_of(connection, keys)
            for some in chunked(keys):
                connection.execute(delete(mentions_).where(among(connection, mentions_.c.passage, some)))
                connection.execute(delete(relations_).where(among(connection, relations_.c.passage, some)))
                connection.execute(
                    update(passages_)
                    .where(among(connection, passages_.c.key, some), ~passages_.c.facts)
                    .values(facts=True)
                )
            known = _entity_keys(
                connection,
                [each.name for each in entities] + [name for each in relations for name in (each.start, each.end)],
            )
            _insert_facts(connection, passages, known, entities, relations)
            forget_unsupported(connection, touched)
        return count_facts(entities, relations)

    def find_entities(self, names: Iterable[str], *, where: TagFilter | None = None) -> dict[str, str]:
        with self._read() as connection:
            given = {name: entity_key(name) for name in names}
            stored = _spellings(connection, given.values(), where)
            return {name: stored[folded] for name, folded in given.items() if folded in stored}

    def neighbours(self, names: Iterable[str], *, limit: int = 1000, where: TagFilter | None = None) -> list[Edge]:
        with self._read() as connection:
            start, end = entities_.alias("start_entity"), entities_.alias("end_entity")
            weights: dict[tuple[str, str, str], float] = {}
            for some in chunked(sorted({entity_key(name) for name in names})):
                keys = list(connection.scalars(select(entities_.c.key).where(entities_.c.folded.in_(some))))
                rows = connection.execute(
                    select(start.c.folded, end.c.folded, relations_.c.kind, func.sum(relations_.c.weight))
                    .select_from(relations_)
                    .join(passages_, passages_.c.key == relations_.c.passage)
                    .join(start, start.c.key == relations_.c.source)
                    .join(end, end.c.key == relations_.c.target)
                    .where(
                        _is_permitted(connection, where),
                        or_(relations_.c.source.in_(keys), relations_.c.target.in_(keys)),
                    )
                    .group_by(start.c.folded, end.c.folded, relations_.c.kind)
                )
                # Two chunks of names may return the same edge, with the same weight.
                weights.update(((row[0], row[1], row[2]), row[3]) for row in rows)
            stored = _spellings(connection, sorted({name for edge in weights for name in edge[:2]}), where)
            edges = [Edge(stored[one], stored[other], kind, weight) for (one, other, kind), weight in weights.items()]
            return sorted(edges, key=lambda edge: (-edge.weight, edge.start, edge.end, edge.kind))[:limit]

    def mentions(self, names: Iterable[str], *, where: TagFilter | None = None) -> list[Mention]:
        with self._read() as connection:
            stored = _spellings(connection, map(entity_key, names), where)
            found: list[Mention] = []
            for some in chunked(sorted(stored)):
                query = (
                    select(passages_.c.id, entities_.c.folded, func.sum(mentions_.c.count))
                    .select_from(mentions_)
                    .join(passages_, passages_.c.key == mentions_.c.passage)
                    .join(entities_, entities_.c.key == mentions_.c.entity)
                    .where(_is_permitted(connection, where), entities_.c.folded.in_(some))
                    .group_by(passages_.c.id, entities_.c.folded)
                )
                found += [
                    Mention(chunk_id, stored[folded], count) for chunk_id, folded, count in connection.execute(query)
                ]
            return sorted(found)


def _entity_keys(connection: Connection, names: Sequence[str]) -> dict[str, int]:
    """The keys of these spellings; their rows are locked until this transaction ends."""
    stored = {name: storable_text(name) for name in names}
    keys: dict[str, int] = {}
    missing = sorted(set(stored.values()))
    # A writer that removes an unsupported entity locks it first; afterwards we create it again here.
    while missing:
        for some in chunked(missing):
            rows = connection.execute(
                select(entities_.c.name, entities_.c.key)
                .where(among(connection, entities_.c.name, some))
                .with_for_update(read=True, key_share=True)
            )
            keys.update((row.name, row.key) for row in rows)
        missing = [name for name in missing if name not in keys]
        upsert_rows(
            connection,
            entities_,
            ("folded", "name"),
            [(entity_key(name), name) for name in missing],
            conflict="(name) DO NOTHING",
        )
    return {name: keys[spelled] for name, spelled in stored.items()}


def _insert_facts(
    connection: Connection,
    passages: Mapping[str, int],
    keys: Mapping[str, int],
    entities: Sequence[Entity],
    relations: Sequence[Relation],
) -> None:
    """Rows for mentions and relations; `passages` are keys by chunk id, `keys` those of entities by spelling."""
    counts = Counter((passages[each.chunk_id], keys[each.name], each.kind) for each in entities)
    rows = [(*mention, count) for mention, count in counts.items()]
    insert_rows(connection, mentions_, ("passage", "entity", "kind", "count"), rows)
    weights: dict[tuple[int, int, int, str], float] = {}
    for each in relations:
        relation = (passages[each.chunk_id], keys[each.start], keys[each.end], each.kind)
        weights[relation] = weights.get(relation, 0.0) + each.weight
    rows = [(*relation, weight) for relation, weight in weights.items()]
    insert_rows(connection, relations_, ("passage", "source", "target", "kind", "weight"), rows)


def entities_of(connection: Connection, passages: Sequence[int]) -> set[int]:
    """The entities that these passages support."""
    found: set[int] = set()
    for some in chunked(passages):
        found.update(connection.scalars(select(mentions_.c.entity).where(among(connection, mentions_.c.passage, some))))
        for end in (relations_.c.source, relations_.c.target):
            found.update(connection.scalars(select(end).where(among(connection, relations_.c.passage, some))))
    return found


def is_supported() -> ColumnElement[bool]:
    """Whether any passage, visible or not, names or relates an entity."""
    supported = exists().where(mentions_.c.entity == entities_.c.key)
    supported |= exists().where(relations_.c.source == entities_.c.key)
    supported |= exists().where(relations_.c.target == entities_.c.key)
    return supported


def forget_unsupported(connection: Connection, entities: Iterable[int]) -> None:
    """Remove the entities that no passage names or relates any more.

    Entities that another writer is about to support stay; if that writer fails, `sweep` removes them.
    """
    supported = is_supported()
    for some in chunked(sorted(entities)):
        # Lock first, then check again, so that no writer can begin to support them between the check and the removal.
        doubtful = select(entities_.c.key).where(among(connection, entities_.c.key, some), ~supported)
        locked = list(connection.scalars(doubtful.with_for_update(skip_locked=True)))
        if locked:
            connection.execute(delete(entities_).where(among(connection, entities_.c.key, locked), ~supported))


def _is_permitted(connection: Connection, where: TagFilter | None) -> ColumnElement[bool]:
    """Whether a passage is visible and belongs to a document that the filter lets through."""
    permitted = permitted_documents(connection, where)
    visible = found_in_view(connection)
    return visible if permitted is None else and_(visible, passages_.c.document.in_(permitted))


def _spellings(connection: Connection, folded: Iterable[str], where: TagFilter | None) -> dict[str, str]:
    """The spelling to show of each entity that visible and permitted passages support: the first by code points."""
    supports = [
        exists().where(end == entities_.c.key, passage == passages_.c.key, _is_permitted(connection, where))
        for end, passage in (
            (mentions_.c.entity, mentions_.c.passage),
            (relations_.c.source, relations_.c.passage),
            (relations_.c.target, relations_.c.passage),
        )
    ]
    found: dict[str, str] = {}
    for some in chunked(dict.fromkeys(folded)):
        rows = connection.execute(
            select(entities_.c.folded, func.min(entities_.c.name))
            .where(entities_.c.folded.in_(some), or_(*supports))
            .group_by(entities_.c.folded)
        )
        found.update((row[0], row[1]) for row in rows)
    return found
