"""Text in many scripts, end to end: chunks stay within limits, are found by their words, and are highlighted correctly."""

import pytest

from flows.author import Call
from flows.state import Identity, Services
from handlers.ingestion.embeddings import generate_dense_embeddings, generate_sparse_embeddings
from handlers.ingestion.partition import partition_text
from handlers.ingestion.storing import publish_documents, store_dense_vectors, store_documents, store_sparse_vectors
from handlers.models import count_tokens
from handlers.models.embedding import HashingEmbedder
from handlers.records import Block, Document, stable_id
from handlers.retrieval.highlighting import highlight_matches
from handlers.retrieval.searching import embed_query, keyword_search, vector_search
from handlers.stores.memory import MemoryIndexStore

# Sentences of the Universal Declaration of Human Rights (articles 1 and 3) and of everyday life; a word that stands in
# none of the others; and what is marked for it.
SENTENCES = {
    "english": ("All human beings are born free and equal in dignity and rights.", "dignity", "dignity"),
    "german": (
        "Alle Menschen sind frei und gleich an Würde und Rechten geboren; die Straße ist lang.",
        "STRASSE",
        "Straße",
    ),
    "french": ("Tous les êtres humains naissent libres ; l’avion est arrivé à l’aéroport.", "avion", "l’avion"),
    "decomposed": ("Le cafe\u0301 est ouvert.", "café", "cafe\u0301"),
    "turkish": ("İSTANBUL'DA IŞIK çok güzeldir.", "ışık", "IŞIK"),
    "vietnamese": ("Mọi người sinh ra đều được tự do và bình đẳng.", "người", "người"),
    "greek": ("Όλοι οι άνθρωποι γεννιούνται ελεύθεροι, λέει ο Οδυσσεύς.", "ΟΔΥΣΣΕΎΣ", "Οδυσσεύς"),
    "russian": ("Все люди рождаются свободными и равными в своём достоинстве.", "ЛЮДИ", "люди"),
    "arabic": ("يُولَدُ جَمِيعُ النَّاسِ أَحْرَارًا مُتَسَاوِينَ فِي الْكَرَامَةِ.", "الكرامة", "الْكَرَامَةِ"),
    "persian": ("تمام افراد بشر آزاد به دنیا می‌آیند.", "میآیند", "می‌آیند"),
    "hebrew": ("כָּל בְּנֵי אָדָם נוֹלְדוּ בְּנֵי חוֹרִין.", "אדם", "אָדָם"),
    "hindi": ("सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता प्राप्त है।", "स्वतन्त्रता", "स्वतन्त्रता"),
    "tamil": ("மனிதப் பிறவியினர் சகலரும் சுதந்திரமாகவே பிறக்கின்றனர்.", "சகலரும்", "சகலரும்"),
    "bengali": ("সমস্ত মানুষ স্বাধীনভাবে জন্মগ্রহণ করে।", "মানুষ", "মানুষ"),
    "thai": ("มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์", "อิสระ", "อิสระ"),
    "khmer": ("មនុស្សទាំងអស់កើតមកមានសេរីភាព", "សេរីភាព", "សេរីភាព"),
    "chinese": ("人人生而自由,在尊严和权利上一律平等。", "尊严", "尊严"),
    "japanese": ("すべての人間は、生まれながらにして自由である。データベースもある。", "データベース", "データベース"),
    "halfwidth": ("ﾃｰﾌﾞﾙ と ｶﾞﾗｽ", "ガラス", "ｶﾞﾗｽ"),
    "korean": ("모든 인간은 태어날 때부터 자유로우며 존엄하다.", "인간", "인간"),
    "jamo": ("\u1112\u1161\u11ab\u1100\u1173\u11af", "한글", "\u1112\u1161\u11ab\u1100\u1173\u11af"),
    "amharic": ("የሰው ልጅ ሁሉ ሲወለድ ነጻ ነው።", "ሲወለድ", "ሲወለድ"),
    "georgian": ("ყველა ადამიანი იბადება თავისუფალი.", "ადამიანი", "ადამიანი"),
    "armenian": ("Բոլոր մարդիկ ծնվում են ազատ։", "մարդիկ", "մարդիկ"),
    "emoji": ("👩‍👩‍👧 Launch 🚀🚀 naïve zebra 🇧🇪 today", "zebra", "zebra"),
    "astral": ("𠀀𠀁𠀂 and 𝒎𝒂𝒕𝒉", "math", "𝒎𝒂𝒕𝒉"),
}


def document(name: str, text: str) -> Document:
    return Document(
        name, name, "", name, "text/plain", text, stable_id(text), blocks=(Block("paragraph", 0, len(text)),)
    )


@pytest.fixture(scope="module")
def call() -> Call:
    services = Services({"index_store": MemoryIndexStore, "embedder": HashingEmbedder})
    call = Call(identity=Identity(run_id="r", index="languages", services=services))
    documents = [document(name, text) for name, (text, _, _) in SENTENCES.items()]
    chunks = partition_text(documents, call=call)
    publish_documents(
        store_documents(documents, chunks, call=call),
        store_dense_vectors(chunks, generate_dense_embeddings(chunks, call=call), call=call),
        store_sparse_vectors(chunks, generate_sparse_embeddings(chunks, call=call), call=call),
        call=call,
    )
    return call


@pytest.mark.parametrize("name", SENTENCES)
def test_a_sentence_is_found_by_a_word_and_the_word_is_marked(call: Call, name: str) -> None:
    text, word, marked = SENTENCES[name]
    hits = keyword_search(word, call=call)
    assert [hit.document_id for hit in hits][:1] == [name]
    [best, *_] = highlight_matches(word, hits)
    assert best.content == text[best.start : best.end]
    [(start, end)] = best.highlights
    assert best.content[start:end] == marked
    assert text[best.start + start : best.start + end] == marked
    assert len(vector_search(word, embed_query(word, call=call), call=call)) == len(SENTENCES)


@pytest.mark.parametrize("name", SENTENCES)
def test_chunks_keep_their_limit_and_their_place_in_every_script(name: str) -> None:
    sentence = SENTENCES[name][0]
    times = 1000 // len(sentence) + 2
    for text in (sentence * times, (sentence + "\n\n") * times, (sentence + " ") * times):
        chunks = partition_text([document(name, text)], max_tokens=64, overlap_tokens=0, call=Call())
        assert len(chunks) > 1
        for chunk in chunks:
            assert count_tokens(chunk.text) <= 64
            assert len(chunk.text) <= 64 * 8  # unknown text counts by its characters
            assert chunk.text == text[chunk.start : chunk.end]
        covered = "".join(chunk.text for chunk in chunks)
        assert "".join(covered.split()) == "".join(text.split())
