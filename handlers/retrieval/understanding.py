"""`read_question`: a question in the terms of the index, with typing mistakes corrected, and its restrictions."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from flows.author import Call, handler
from flows.state import chunked
from handlers.languages import ENGLISH, LATIN, detect, language_mark
from handlers.records import Hit
from handlers.retrieval.questions import TypedQuestion, read_typed
from handlers.stores import IndexSearch, Words
from handlers.tags import TagFilter
from handlers.text import located_terms

_MOST_OF_PREFIX = 100
_SHORTEST_CORRECTED = 4
_MOST_NEAR = 3
_SHORTEST_NEAR = 3
_LONG = 8
"""Words of so many letters may have two mistakes."""
_LONGEST_ENDING = 5
_ENDINGS = (
    "s es ed er ers ing ings ly y e al ally ic ical ive ity able ance ence ment ments ness "
    "ion ions ation ate ated ates ating or ors ous ful ize ized ise ised ism ist"
).split()
"""Those that a stemmer of English removes."""


@dataclass(frozen=True)
class Question:
    """A question in the terms of an index."""

    text: str
    """The question in plain words."""
    weights: Mapping[str, float] = field(default_factory=dict[str, float])
    """The weight of each term, without rewritings."""
    groups: tuple[frozenset[str], ...] = ()
    """The terms of each word; any of them matches the word."""
    phrases: tuple[str, ...] = ()
    """Phrases to be found word for word."""
    names: tuple[str, ...] = ()
    """Terms to be found as they are typed."""
    meant: tuple[tuple[str, ...], ...] = ()
    """The terms for each misspelt word of a short question; any of them matches the word."""
    none: tuple[str, ...] = ()
    """Terms that a passage must not have."""
    no_phrases: tuple[str, ...] = ()
    """Phrases that a passage must not have."""
    filters: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    """Tags that were typed."""
    languages: tuple[str, ...] = (ENGLISH,)
    """The languages of the permitted documents."""
    corrections: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Words that no permitted document contains, with the nearest terms in permitted documents."""
    occurs: bool = True
    """Whether a permitted document contains any word of the question, or words near to all of them."""

    @property
    def words(self) -> Words:
        return Words(none=self.none)

    def terms_of(self, text: str) -> list[str]:
        """The terms of a text in every language of the index."""
        return list(dict.fromkeys(term for wording in self.wordings(text) for term in wording))

    def wordings(self, text: str) -> list[tuple[str, ...]]:
        """The terms of a text in each language of the index; none if it has only stop words."""
        located = _located(text, self.languages)
        return sorted({tuple(dict.fromkeys(term for term, _, _ in found)) for found in located} - {()})


@handler(writes="question", needs="index_store")
def read_question(
    query: str,
    access: Mapping[str, Sequence[str]] | None = None,
    filters: Mapping[str, Sequence[str]] | None = None,
    *,
    corrections: bool = True,
    call: Call,
) -> Question:
    """The question in the terms of the index; everything in it comes from the question and from permitted documents.

    A word that no permitted document contains is replaced by the nearest terms, if there are near ones.
    """
    store: IndexSearch = call.services["index_store"]
    where = TagFilter.all_of(access, filters)
    typed = read_typed(query, lambda name: bool(_values_of(store, name, where)))
    chosen = _chosen_tags(typed, store, where)
    where = TagFilter.all_of(where, chosen)
    marks = {language_mark(language): language for language in LATIN if language != ENGLISH}
    languages = (ENGLISH, *sorted(marks[mark] for mark in store.occurring(marks, where=where)))
    counts, places = _counted(typed.text, languages)
    begun = {prefix: _beginning(prefix, store, where) for prefix in typed.prefixes}
    for beginning in begun.values():
        counts.update(dict.fromkeys(beginning, 1.0))
    there = store.occurring(counts, where=where)
    corrected: dict[str, tuple[str, ...]] = {}
    unknown = False
    for word, its_terms in places.items() if corrections else ():
        is_misspelt = word.isalpha() and not its_terms & there and not begun.get(word)
        if is_misspelt and len(word) >= _SHORTEST_CORRECTED:
            near = _near(word.casefold(), its_terms, store, where)
            if near:
                corrected[word] = tuple(near)
                counts.update(near)
            else:
                unknown = True
    phrases = typed.phrases
    if not counts and typed.text:
        phrases = (typed.text,)  # a question of only stop words is searched as a phrase
    single = [each for each in typed.none if len(each.split()) == 1]
    return Question(
        text=typed.text,
        weights=dict(counts),
        groups=tuple(frozenset({*its_terms, *corrected.get(word, ())}) for word, its_terms in places.items()),
        phrases=phrases,
        names=typed.compounds,
        meant=tuple(corrected.values()) if typed.text in typed.phrases else (),
        none=tuple(dict.fromkeys(term for each in single for term in _counted(each, languages)[0])),
        no_phrases=tuple(each for each in typed.none if each not in single),
        filters=chosen,
        languages=languages,
        corrections=corrected,
        occurs=bool(there or (corrected and not unknown) or (phrases and not counts)),
    )


@handler(writes="did_you_mean", effects=())
def suggest_wording(query: str, question: Question, results: Sequence[Hit] = ()) -> str | None:
    """The question with misspelt words replaced by the words that were found; None if no word was replaced.

    Words are spelled as in the results, which are all permitted.
    """
    if not results:
        return None  # the nearest terms are only stems, and led to nothing
    spellings: dict[str, str] = {}
    for hit in results if question.corrections else ():
        for term, start, end in located_terms(hit.content, question.languages):
            spellings.setdefault(term, hit.content[start:end])
    suggested = query
    for word, near in question.corrections.items():
        best = next((spellings[term] for term in near if term in spellings), near[0])
        suggested = suggested.replace(word, best)
    return suggested if suggested != query else None


def _values_of(store: IndexSearch, name: str, where: TagFilter) -> list[str]:
    return store.tag_values(name, where=where)


def _chosen_tags(typed: TypedQuestion, store: IndexSearch, where: TagFilter) -> dict[str, list[str]]:
    """The typed tags, with values as the documents spell them; several values of a tag are alternatives."""
    chosen: defaultdict[str, list[str]] = defaultdict(list)
    for name, value in typed.tags:
        known = {each.casefold(): each for each in _values_of(store, name, where)}
        chosen[name].append(known.get(value.casefold(), value))
    return dict(chosen)


def _beginning(prefix: str, store: IndexSearch, where: TagFilter) -> list[str]:
    """The first terms of permitted documents with a prefix, in order."""
    found: list[str] = []
    for some in chunked(term for term in store.terms_from(prefix.casefold()) if term.isalnum()):
        found += sorted(store.occurring(some, where=where))
        if len(found) >= _MOST_OF_PREFIX:
            break
    return found[:_MOST_OF_PREFIX]


def _counted(text: str, languages: Collection[str]) -> tuple[Counter[str], dict[str, set[str]]]:
    """The count of each term in a text, by the language with the highest count; and the terms of each word."""
    counts: Counter[str] = Counter()
    places: defaultdict[str, set[str]] = defaultdict(set)
    for located in _located(text, languages):
        counts |= Counter(term for term, _, _ in located)
        for term, start, end in located:
            places[text[start:end]].add(term)
    return counts, dict(places)


def _located(text: str, languages: Collection[str]) -> list[list[tuple[str, int, int]]]:
    """The terms of a text in each language, without the stop words of its own language."""
    written = detect(text)
    told = {(start, end) for _, start, end in located_terms(text, (written if written in languages else ENGLISH,))}
    return [[each for each in located_terms(text, (language,)) if each[1:] in told] for language in languages]


def _near(word: str, its_terms: Collection[str], store: IndexSearch, where: TagFilter) -> dict[str, float]:
    """The terms of permitted documents that are nearest to a word, with their weights; best first.

    Terms are stems. A mistake in an ending hides it from the stemmer, so beginnings of the word are compared too, if
    the rest is an ending with at most one mistake. The first letter is assumed to be right, or swapped with the second.
    """
    from rapidfuzz import process
    from rapidfuzz.distance import OSA

    beginnings = {each: 0 for each in (word, *its_terms) if len(each) >= _SHORTEST_CORRECTED}
    for cut in range(1, _LONGEST_ENDING + 1):
        rest, beginning = word[-cut:], word[:-cut]
        wrong = min(OSA.distance(rest, ending) for ending in _ENDINGS)
        if len(beginning) >= _SHORTEST_CORRECTED and wrong <= 1:
            beginnings.setdefault(beginning, wrong)
    most = _most_mistakes(word)
    known = [each for start in dict.fromkeys(word[:2]) for each in store.terms_from(start) if each.isalpha()]
    known = [each for each in known if len(each) >= _SHORTEST_NEAR]
    found: dict[str, int] = {}
    for beginning, before in beginnings.items():
        left = min(most - before, _most_mistakes(beginning))
        if left >= 0:
            for each, mistakes, _ in process.extract(
                beginning, known, scorer=OSA.distance, score_cutoff=left, limit=None
            ):
                found[each] = min(int(mistakes) + before, found.get(each, most))
    there = store.occurring(found, where=where)
    ranked = sorted(there, key=lambda term: (found[term], -len(term), term))
    nearest = [term for term in ranked[:_MOST_NEAR] if found[term] == found[ranked[0]]]
    return {term: 1 - found[term] / (len(term) + 1) for term in nearest}


def _most_mistakes(word: str) -> int:
    return 1 if len(word) < _LONG else 2
