"""The graph in the SQLite index: mentions and relations hang on passages, so they vanish with their last source."""

from collections import Counter
from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, insert, or_, select
from sqlalchemy.dialects.sqlite import insert as upsert

from handlers.filters import TagFilter
from handlers.records import Chunk, Entity, Relation
from handlers.stores import schema
from handlers.stores.protocol import Edge, Mention, entity_key
from handlers.stores.sqlite_reads import batches, permitted_query
from handlers.stores.sqlite_staging import stage_passages

entities_, mentions_, relations_, passages_ = schema.entities, schema.mentions, schema.relations, schema.passages


def put_graph(
    connection: Connection, chunks: Sequence[Chunk], entities: Sequence[Entity], relations: Sequence[Relation]
) -> int:
    passages = stage_passages(connection, chunks)
    for each in (*entities, *relations):
        if each.chunk_id not in passages:
            raise ValueError(f"chunk {each.chunk_id!r} is not among the chunks that were given")
    keys = list(passages.values())
    touched = entities_of(connection, keys)
    for some in batches(keys):
        connection.execute(delete(mentions_).where(mentions_.c.passage.in_(some)))
        connection.execute(delete(relations_).where(relations_.c.passage.in_(some)))
    names = [each.name for each in entities] + [name for each in relations for name in (each.source, each.target)]
    known = _entity_keys(connection, names)
    mentioned = Counter((passages[each.chunk_id], known[entity_key(each.name)], each.kind) for each in entities)
    if mentioned:
        connection.execute(insert(mentions_), [
            {"passage": passage, "entity": entity, "kind": kind, "count": count}
            for (passage, entity, kind), count in mentioned.items()
        ])  # fmt: skip
    related: dict[tuple[int, int, int, str], float] = {}
    for each in relations:
        key = (passages[each.chunk_id], known[entity_key(each.source)], known[entity_key(each.target)], each.kind)
        related[key] = related.get(key, 0.0) + each.weight
    if related:
        connection.execute(insert(relations_), [
            {"passage": passage, "source": source, "target": target, "kind": kind, "weight": weight}
            for (passage, source, target, kind), weight in related.items()
        ])  # fmt: skip
    forget_unsupported(connection, touched)
    return len(mentioned) + len(related)


def _entity_keys(connection: Connection, names: Sequence[str]) -> dict[str, int]:
    spelling: dict[str, str] = {}
    for name in names:
        spelling.setdefault(entity_key(name), name)
    if spelling:
        connection.execute(
            upsert(entities_).on_conflict_do_nothing(index_elements=["folded"]),
            [{"folded": folded, "name": name} for folded, name in spelling.items()],
        )
    keys: dict[str, int] = {}
    for some in batches(list(spelling)):
        rows = connection.execute(select(entities_.c.folded, entities_.c.key).where(entities_.c.folded.in_(some)))
        keys.update((row.folded, row.key) for row in rows)
    return keys


def entities_of(connection: Connection, passages: Sequence[int]) -> set[int]:
    """The entities that these passages support."""
    found: set[int] = set()
    for some in batches(passages):
        found.update(connection.scalars(select(mentions_.c.entity).where(mentions_.c.passage.in_(some))))
        for end in (relations_.c.source, relations_.c.target):
            found.update(connection.scalars(select(end).where(relations_.c.passage.in_(some))))
    return found


def forget_unsupported(connection: Connection, entities: Iterable[int]) -> None:
    """Remove those of the entities that no passage names or relates any more."""
    supported = exists().where(mentions_.c.entity == entities_.c.key)
    supported |= exists().where(relations_.c.source == entities_.c.key)
    supported |= exists().where(relations_.c.target == entities_.c.key)
    for some in batches(sorted(entities)):
        connection.execute(delete(entities_).where(entities_.c.key.in_(some), ~supported))


def find_entities(connection: Connection, names: Iterable[str], *, where: TagFilter | None = None) -> dict[str, str]:
    given = {name: entity_key(name) for name in names}
    stored = {folded: name for folded, (_, name) in _visible(connection, given.values(), where).items()}
    return {name: stored[folded] for name, folded in given.items() if folded in stored}


def neighbours(
    connection: Connection, names: Iterable[str], *, limit: int, where: TagFilter | None = None
) -> list[Edge]:
    keys = [key for key, _ in _visible(connection, map(entity_key, names), where).values()]
    source, target = entities_.alias("source"), entities_.alias("target")
    weights: dict[tuple[str, str, str], float] = {}
    for some in batches(keys):
        rows = connection.execute(
            select(source.c.name, target.c.name, relations_.c.kind, func.sum(relations_.c.weight))
            .select_from(relations_)
            .join(passages_, passages_.c.key == relations_.c.passage)
            .join(source, source.c.key == relations_.c.source)
            .join(target, target.c.key == relations_.c.target)
            .where(_shown(where), or_(relations_.c.source.in_(some), relations_.c.target.in_(some)))
            .group_by(relations_.c.source, relations_.c.target, relations_.c.kind)
        )
        weights.update(((row[0], row[1], row[2]), row[3]) for row in rows)  # an edge may be in two batches: the same
    edges = [Edge(*key, weight) for key, weight in weights.items()]
    return sorted(edges, key=lambda edge: (-edge.weight, edge.source, edge.target, edge.kind))[:limit]


def mentions(connection: Connection, names: Iterable[str], *, where: TagFilter | None = None) -> list[Mention]:
    stored = dict(_visible(connection, map(entity_key, names), where).values())
    found: list[Mention] = []
    for some in batches(sorted(stored)):
        rows = connection.execute(
            select(passages_.c.id, mentions_.c.entity, func.sum(mentions_.c.count))
            .select_from(mentions_)
            .join(passages_, passages_.c.key == mentions_.c.passage)
            .where(_shown(where), mentions_.c.entity.in_(some))
            .group_by(mentions_.c.passage, mentions_.c.entity)
        )
        found += [Mention(chunk_id, stored[entity], count) for chunk_id, entity, count in rows]
    return sorted(found)


def _shown(where: TagFilter | None) -> ColumnElement[bool]:
    """Whether a passage is visible, and of a document that the filter lets through."""
    permitted = permitted_query(where)
    shown = passages_.c.visible.is_(True)
    return shown if permitted is None else and_(shown, passages_.c.document.in_(permitted))


def _visible(
    connection: Connection, folded: Iterable[str], where: TagFilter | None = None
) -> dict[str, tuple[int, str]]:
    """Key and spelling of those entities that a visible and permitted passage supports."""
    supports = [
        exists().where(end == entities_.c.key, passage == passages_.c.key, _shown(where))
        for end, passage in (
            (mentions_.c.entity, mentions_.c.passage),
            (relations_.c.source, relations_.c.passage),
            (relations_.c.target, relations_.c.passage),
        )
    ]
    found: dict[str, tuple[int, str]] = {}
    for some in batches(list(dict.fromkeys(folded))):
        rows = connection.execute(
            select(entities_.c.folded, entities_.c.key, entities_.c.name)
            .where(entities_.c.folded.in_(some), or_(*supports))
        )  # fmt: skip
        found.update((row.folded, (row.key, row.name)) for row in rows)
    return found
