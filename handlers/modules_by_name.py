"""The modules of Braid's handlers by handler name, so that a run imports only those that its pipeline needs.

A test compares the table with the existing handlers. A file that is not listed here may be a team's own; it is imported
immediately to register its handlers.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

HANDLER_MODULES: Mapping[str, str] = MappingProxyType(
    {
        "answer_question": "handlers.retrieval.answering",
        "collapse_duplicates": "handlers.retrieval.duplicates",
        "command": "handlers.jobs.command",
        "confirm_documents": "handlers.ingestion.upkeep",
        "embed_query": "handlers.retrieval.searching",
        "extract_code_blocks": "handlers.extraction.code",
        "extract_entities": "handlers.ingestion.entities",
        "extract_entities_from_query": "handlers.retrieval.rewriting",
        "extract_images": "handlers.extraction.images",
        "extract_tables": "handlers.extraction.tables",
        "extract_text": "handlers.extraction.text",
        "filter_access": "handlers.retrieval.merging",
        "find_changes": "handlers.ingestion.changes",
        "generate_dense_embeddings": "handlers.ingestion.embeddings",
        "generate_sparse_embeddings": "handlers.ingestion.embeddings",
        "generate_summary": "handlers.ingestion.summary",
        "graph_context": "handlers.retrieval.graph",
        "graph_search": "handlers.retrieval.graph",
        "graph_traverse": "handlers.retrieval.graph",
        "highlight_matches": "handlers.retrieval.highlighting",
        "hybrid_merge": "handlers.retrieval.merging",
        "hyde_search": "handlers.retrieval.expansion",
        "image_to_text": "handlers.content.steps",
        "image_to_video": "handlers.content.steps",
        "image_understanding": "handlers.content.steps",
        "ingest_in_shards": "handlers.ingestion.sharding",
        "keyword_search": "handlers.retrieval.searching",
        "list_sources": "handlers.sources.listing",
        "load_chunks": "handlers.ingestion.upkeep",
        "load_reference": "handlers.data.references",
        "merge": "handlers.data.transforming",
        "merge_extractions": "handlers.extraction.code",
        "move_documents": "handlers.ingestion.upkeep",
        "multi_query_search": "handlers.retrieval.expansion",
        "name_documents": "handlers.ingestion.upkeep",
        "partition_text": "handlers.ingestion.partition",
        "publish_documents": "handlers.ingestion.storing",
        "query": "handlers.data.query",
        "query_rewrite": "handlers.retrieval.rewriting",
        "read_question": "handlers.retrieval.understanding",
        "record_failures": "handlers.ingestion.storing",
        "refuse_left_out": "handlers.ingestion.strictness",
        "refuse_unrelated": "handlers.retrieval.nothing",
        "remove_documents": "handlers.ingestion.storing",
        "rerank": "handlers.retrieval.merging",
        "restate_documents": "handlers.ingestion.upkeep",
        "skill": "handlers.data.skill",
        "store_dense_vectors": "handlers.ingestion.storing",
        "store_documents": "handlers.ingestion.storing",
        "store_graph": "handlers.ingestion.storing",
        "store_sparse_vectors": "handlers.ingestion.storing",
        "suggest_wording": "handlers.retrieval.understanding",
        "sweep_leftovers": "handlers.ingestion.upkeep",
        "text_generation": "handlers.content.steps",
        "text_to_image": "handlers.content.steps",
        "text_to_speech": "handlers.content.steps",
        "transform": "handlers.data.transforming",
        "vector_search": "handlers.retrieval.searching",
    }
)
_LISTED = frozenset(
    """
    aside compounds content content.combining content.describing content.files content.media content.posters
    content.providers content.quality content.speech content.steps data data.binding data.calling data.connections
    data.extras data.functions data.hosts data.mongo data.query data.reading data.redis_reads data.references
    data.rest data.skill data.skills data.sql data.sql_rows data.stopping data.structured data.tables
    data.transforming extraction extraction.artifacts extraction.assembly extraction.code extraction.decoding
    extraction.formats extraction.images extraction.labels extraction.members extraction.package extraction.parsing
    extraction.pdfium extraction.pictures extraction.readers extraction.readers.archive extraction.readers.delimited
    extraction.readers.doc extraction.readers.docx extraction.readers.docx_styles extraction.readers.drawing
    extraction.readers.epub extraction.readers.html extraction.readers.html_flow extraction.readers.html_navigation
    extraction.readers.html_tables extraction.readers.image extraction.readers.json_data extraction.readers.lines
    extraction.readers.mail extraction.readers.markdown extraction.readers.msg extraction.readers.notebook
    extraction.readers.odf extraction.readers.ole extraction.readers.org extraction.readers.pdf
    extraction.readers.pdf_annotations extraction.readers.pdf_lines extraction.readers.plain extraction.readers.ppt
    extraction.readers.pptx extraction.readers.rtf extraction.readers.source_code extraction.readers.spreadsheets
    extraction.readers.tex extraction.readers.web_page extraction.readers.xlsx extraction.readers.xml_data
    extraction.recognition extraction.registry extraction.tables extraction.text ingestion ingestion.balance
    ingestion.balance_page ingestion.batching ingestion.changes ingestion.comparison ingestion.document_names
    ingestion.embeddings ingestion.entities ingestion.facets ingestion.listing ingestion.making ingestion.moves
    ingestion.naming ingestion.partition ingestion.settling ingestion.sharding ingestion.splitting ingestion.storing
    ingestion.strictness ingestion.summary ingestion.titles ingestion.upkeep jobs jobs.command jobs.environment
    jobs.keys jobs.registering jobs.supervisor languages markup models models.chat models.embedding models.endpoint
    models.files models.http models.onnx models.recipes models.reranking models.tokens models.vectors
    modules_by_name options records retrieval retrieval.answering retrieval.candidates retrieval.comparing
    retrieval.duplicates retrieval.evaluation retrieval.expansion retrieval.fusion retrieval.graph
    retrieval.highlighting retrieval.merging retrieval.nothing retrieval.questions retrieval.rewriting
    retrieval.searching retrieval.understanding secrets sources sources.coverage sources.crawling sources.extras
    sources.git_repository sources.http sources.in_hand sources.kinds sources.kinds.feed sources.kinds.files
    sources.kinds.git sources.kinds.mail sources.kinds.rest sources.kinds.rows sources.kinds.web sources.listing
    sources.manifests sources.members sources.opening sources.page_links sources.protocol sources.registering
    sources.registry sources.roots sources.rules sources.sidecars sources.tagging sources.visits sqlstates stores
    stores.building stores.content stores.fingerprints stores.keys stores.memory stores.memory.index
    stores.memory.index_versions stores.memory.proof stores.memory.reads stores.memory.search stores.memory.sources
    stores.memory.tables stores.memory.upkeep stores.memory.writes stores.opening stores.pinning stores.postgres
    stores.postgres.index stores.postgres.opening stores.postgres.search stores.proof stores.protocol stores.ranking
    stores.refusals stores.rows stores.sql stores.sql.adoption stores.sql.changes stores.sql.dialects
    stores.sql.forking stores.sql.graph stores.sql.index stores.sql.index_versions stores.sql.proof
    stores.sql.publication stores.sql.reads stores.sql.removal stores.sql.schema stores.sql.search
    stores.sql.sources stores.sql.staging stores.sql.states stores.sql.transactions stores.sql.upkeep
    stores.sql.views stores.sql.writes stores.sqlite stores.sqlite.columns stores.sqlite.index stores.sqlite.loading
    stores.sqlite.passages stores.sqlite.postings stores.sqlite.snapshot stores.sqlite.vectors stores.unmade tags
    text token_vectors
    """.split()
)
"""The modules of this package, without its name."""


def unlisted_modules() -> list[str]:
    """The modules in this package that the table does not know."""
    folder = Path(__file__).parent
    found = {".".join(path.relative_to(folder).with_suffix("").parts) for path in folder.rglob("*.py")}
    names = {name.removesuffix(".__init__") for name in found if name != "__init__"}
    return [f"handlers.{name}" for name in sorted(names - _LISTED)]
