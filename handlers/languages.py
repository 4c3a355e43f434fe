"""The languages for stemming and stop words: by script if it determines the language, else by a document's words.

A language is recognised by its function words: every longer text has them, and they are the words that search leaves
out. Snowball has the stemmers.
"""

import re
import threading
import unicodedata
from collections import Counter, defaultdict
from functools import cache, lru_cache

from flows.errors import FatalError

ENGLISH = "english"
_WORDS: dict[str, str] = {
    ENGLISH: (
        "a about above after again against all am an and any are as at be because been before being below between "
        "both but by can could did do does doing down during each few for from further had has have having he her "
        "here hers herself him himself his how i if in into is it its itself just me more most my myself no nor "
        "not now of off on once only or other our ours ourselves out over own same she should so some such than "
        "that the their theirs them themselves then there these they this those through to too under until up "
        "very was we were what when where which while who whom why will with would you your yours yourself "
        "yourselves"
    ),
    "german": (
        "aber als am an auch auf aus bei bin bis das dass dem den der des die dies diese dieser doch du durch ein "
        "eine einem einen einer eines er es für gegen hat haben hatte ich ihr ihre im in ist ja kann kein keine "
        "man mit nach nicht noch nur ob oder ohne sein sich sie sind so über um und uns unter vom von vor war "
        "waren was wenn werden wie wir wird wo wurde zu zum zur zwischen"
    ),
    "french": (
        "à au aux avec ce ces cette dans de des donc du elle elles en est et être eux il ils je la le les leur "
        "leurs lui ma mais me mes mon ne nos notre nous on ont ou où par pas pour qu que qui sa sans se ses si "
        "son sont sur ta te tu un une vos votre vous y était été"
    ),
    "spanish": (
        "a al ante con contra como cuando de del desde donde el ella ellas ellos en entre era es esa ese eso esta "
        "este esto está están fue ha han hasta la las le les lo los más me mi muy ni no nos o para pero por "
        "porque que qué quien se ser si sin sobre son su sus también te tu un una unas unos y ya yo"
    ),
    "italian": (
        "a ad agli ai al alla alle allo anche che chi ci come con cui da dagli dai dal dalla dalle degli dei del "
        "della delle dello di dove e è ed era gli ha hanno i il in io la le lei lo loro lui ma mi nei nel nella "
        "nelle non noi o per perché più quale quando quella questo questa se si sono su sua suo sul sulla ti tra "
        "tu un una uno vi"
    ),
    "portuguese": (
        "a ao aos as às com como da das de dela dele do dos e é ela elas ele eles em entre era essa esse esta "
        "este eu foi há isso isto já lhe mais mas me meu muito na não nas nem no nos nós o os ou para pela pelas "
        "pelo pelos por qual quando que quem são se sem ser seu seus só sua suas também te um uma umas uns você"
    ),
    "dutch": (
        "aan al als bij dan dat de der deze die dit door een en er ge geen had heb hebben heeft het hij hoe hun "
        "ik in is ja je kan maar met mijn naar niet nog nu of om onder ons ook op over te tot u uit van veel voor "
        "waar was wat we wel werd wie wij worden wordt zal ze zich zij zijn zo zou"
    ),
    "swedish": (
        "alla att av bara blev bli blir de dem den deras dess det detta dig din du där efter ej eller en er ett "
        "från för ha hade han har hon hur i icke inte jag kan kunde man med men mig min mot mycket ni nu någon "
        "när och om oss på sedan sig sin själv som så till under upp ut utan vad var vara varit vem vi vid vilken "
        "än är åt över"
    ),
    "danish": (
        "ad af alle at blev bliver da de dem den denne der deres det dette dig din du efter eller en end er et "
        "for fra ham han hans har havde hendes hos hun hvad hvis hvor i ikke ind jeg jo kan kunne man med meget "
        "men mig min mod ned noget nogle nu når og også om op os over på sig skal som til ud under var ved vi vil "
        "være været"
    ),
    "norwegian": (
        "alle at av bare ble blir da de deg dem den denne der deres det dette din du eller en enn er et etter for "
        "fra ha hadde han hans har henne hennes hun hva hvis hvor hvordan i ikke inn jeg kan kunne man med meg "
        "men min mot noe noen nå når og også om opp oss over på seg skal som så til ut var ved vi vil være vært"
    ),
    "finnish": (
        "ei eivät en että ette he hän häntä ja joka jos jotka jota jossa kanssa kuin kun kuka me minä mikä mitä "
        "mutta myös ne niiden niin ole olen oli olivat olla on ovat se sen sekä siihen siinä sitä sinä tai te "
        "tämä tämän tässä tätä vaan vain voi"
    ),
    "hungarian": (
        "a abban ahhoz ahogy aki alatt amely ami az azok azt azonban be csak de egy egyes el ennek és ez ezek ezt "
        "fel ha hanem hogy hogyan is itt ki le lehet meg már még mert mint minden most nagy nem össze s sem "
        "szerint te úgy vagy van vagyok volt voltak"
    ),
    "romanian": (
        "a acest această aceste ai al ale am ar are au ca că care ce cea cei cel cu cum da dar de după din e ei "
        "el ele era este eu fi fost fără iar îi în între la le lor lui mai ne nici noi nu o pe pentru prin sa sau "
        "se si și sunt șă să te tu un una unei unui"
    ),
    "turkish": (
        "acaba ama ancak bana bazı ben bir biz bu bunu çok çünkü da daha de değil diye en gibi hem hep her hiç "
        "için ile ise kadar ki kim mi mu mı mü nasıl ne neden o olan olarak oldu on onlar onu sen siz şey şu ve "
        "veya ya yani"
    ),
    "polish": (
        "a aby ale am bardzo bez był była było być ci co czy dla do gdy gdzie go i ich ile im ja jak jako je jego "
        "jej jest jeszcze już kto która które który lub ma mi mnie może na nad nie niż o od on ona one oni po pod "
        "przed przez przy są się sobie ta tak także tam te tego tej ten to tu ty tylko w we wszystko z za ze że "
        "żeby"
    ),
    "czech": (
        "a aby ale ani až bez bude by byl byla bylo být co do ho i já jak jako je jeho její jejich jen jestli "
        "ještě jsem jsou k kde kdy když který která které mezi na nad ne nebo než o od on ona oni po pod podle "
        "pro proto před při s se si ta tak také ten to tu ty u v ve však vše z za ze že"
    ),
    "catalan": (
        "a al als amb aquest aquesta com de del dels el ella els en entre era és són et fins ha han hi i ja la "
        "les li lo mes més mi molt na ni no nos o on per perquè però que què qui se seu seva si sense ser sobre "
        "també un una unes uns va vaig"
    ),
    "indonesian": (
        "ada adalah agar akan aku anda atau bagi bahwa banyak belum bisa dalam dan dapat dari dengan di dia hanya "
        "harus ini itu jika juga kami kamu karena ke kepada kita lebih maka masih mereka oleh pada para saat saja "
        "sangat saya sebagai secara sebuah seorang seperti serta sudah telah tersebut tidak untuk yang"
    ),
    "russian": (
        "а без бы был была были было быть в вам вас весь во вот все всё вы где да даже для до его ее её если есть "
        "еще ещё же за и из или им их к как ко когда который кто ли либо мне может мы на над не него нее нет ни "
        "но ну о об он она они оно от по под при с со так также там то того тоже только том ты у уже чего чем что "
        "чтобы эта эти это этот я"
    ),
    "greek": (
        "αλλά αν από αυτά αυτή αυτό αυτός για δε δεν εγώ εδώ είναι είμαι είσαι έχει έχουν ή η ήταν θα και κι μα "
        "με μη μην μια μπορεί να ο οι όμως όπως ότι όταν ου πιο που πρέπει προς πώς σαν σε στη στην στις στο στον "
        "στους τα τη την της τι τις το τον του τους των ως"
    ),
    "arabic": (
        "أن أو أي إذا إلا إلى إن التي الذي الذين الى ان او بعد بين تحت ثم حتى ذلك عن عند على علي فوق في فى قبل قد "
        "كان كانت كل كما كيف لا لكن لم لن له لها ليس ما متى مع من منذ نحن هذا هذه هل هم هناك هو هي و يا"
    ),
    "hindi": (
        "अब आप इस उस एक और कर करने का कि किया किसी की कुछ के को कोई क्या गया जब जो तक तो था थी थे द्वारा दिया ने "
        "नहीं पर फिर भी मैं में यह यहाँ या ये रहा लिए वह वे सकता साथ से ही हुआ हुई हुए है हैं हो होता होती होने"
    ),
    "armenian": (
        "այդ այլ այն այս դու դուք եմ են ենք ես եք է էի էին էր ըստ թե ի իմ իր կա հետ համար մեջ մենք մեր նա նաև որ "
        "որը որոնք որպես ու ում պիտի վրա և"
    ),
    "tamil": "",
}
_SCRIPTS = {"CYRILLIC": "russian", "GREEK": "greek", "ARABIC": "arabic", "DEVANAGARI": "hindi", "ARMENIAN": "armenian"}
_SCRIPTS |= {"TAMIL": "tamil"}
_CODES = {
    "en": ENGLISH,
    "de": "german",
    "fr": "french",
    "es": "spanish",
    "it": "italian",
    "pt": "portuguese",
    "nl": "dutch",
    "sv": "swedish",
    "da": "danish",
    "no": "norwegian",
    "nb": "norwegian",
    "fi": "finnish",
    "hu": "hungarian",
    "ro": "romanian",
    "tr": "turkish",
    "pl": "polish",
    "cs": "czech",
    "ca": "catalan",
    "id": "indonesian",
    "ru": "russian",
    "el": "greek",
    "ar": "arabic",
    "hi": "hindi",
    "hy": "armenian",
    "ta": "tamil",
}
_LATIN = re.compile(r"[a-zß-öø-ÿ\u0100-\u024f\u1e00-\u1eff]+")
LATIN = tuple(name for name in _WORDS if name not in _SCRIPTS.values())
"""The languages of the Latin script, between which the words of a document decide."""
_READ = 20_000
_FEWEST = 3
"""The fewest function words of a text that is recognised as another language than English."""
_local = threading.local()


@cache
def stop_words(language: str) -> frozenset[str]:
    """The function words of a language, case-folded; they occur in texts on every subject."""
    return frozenset(unicodedata.normalize("NFKC", _WORDS.get(language, "")).casefold().split())


def script_language(letter: str) -> str | None:
    """The language whose rules are for words in the script of this letter; None if its script does not decide."""
    return None if letter.isascii() else _script_language(letter)


@lru_cache(maxsize=5000)
def _script_language(letter: str) -> str | None:
    return _SCRIPTS.get(unicodedata.name(letter, "").partition(" ")[0])


def detect(text: str) -> str:
    """The language of a text in the Latin script, by its function words; English if they do not decide.

    Each function word counts for the languages that have it, with a higher weight if they are few.
    """
    words = Counter(_LATIN.findall(unicodedata.normalize("NFKC", text[:_READ]).casefold()))
    scores = defaultdict[str, float](float)
    seen: Counter[str] = Counter()
    for word, times in words.items():
        having = _languages_of(word)
        for language in having:
            scores[language] += times / len(having)
            seen[language] += 1
    best = max(LATIN, key=lambda language: (scores[language], language == ENGLISH))
    return best if seen[best] >= _FEWEST and scores[best] > 1.2 * scores[ENGLISH] else ENGLISH


def language_called(name: str) -> str | None:
    """The language of a name or of a code of two letters; None for any other."""
    found = _CODES.get(name.strip().casefold(), name.strip().casefold())
    return found if found in _WORDS else None


def check_language(name: str) -> str:
    """The language of a name or of a code of two letters.

    Raises:
        FatalError: the language is unknown.
    """
    found = language_called(name)
    if found is None:
        raise FatalError(f"language {name!r} is not known; there are auto, {', '.join(_WORDS)}")
    return found


def language_mark(language: str) -> str:
    """The term that marks a passage whose words are stemmed in another language than English."""
    return f"={language}"


@lru_cache(maxsize=20_000)
def _languages_of(word: str) -> tuple[str, ...]:
    return tuple(language for language in LATIN if word in stop_words(language))


@lru_cache(maxsize=100_000)
def stem(word: str, language: str) -> str:
    """The stem of a case-folded word by Snowball's algorithm for the language."""
    # A stemmer keeps state while it works, so each thread has its own.
    stemmers: dict[str, object] = _local.__dict__.setdefault("stemmers", {})
    stemmer = stemmers.get(language)
    if stemmer is None:
        import snowballstemmer

        stemmer = stemmers[language] = snowballstemmer.stemmer(language)
    return str(stemmer.stemWord(word))  # pyright: ignore[reportAttributeAccessIssue]
