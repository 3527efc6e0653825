"""Short stories: a hero, a wish, a trouble, a helper and an ending that fits them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b
from random import Random

from demo.corpus import vocabulary, words
from demo.corpus.core import Split, Turn, as_typed, pick, spin
from demo.corpus.names import GIVEN_BY_LETTER, person

_TELL = "[Tell me|Write|Make up|Can you tell me|Please tell me|I want to hear|Give me|Could you write|Think up|Invent|Let me hear|I would love|We need|Please write]"
_KIND = "[story|story|story|tale|bedtime story|fairy tale|short story|little story|nice story]"
_ASKS = (
    f"{_TELL} a {_KIND} [about|of|with] <who>[.|?|]",
    f"{_TELL} a {_KIND} about <who> [and|with] <a_thing>[.|]",
    f"{_TELL} a {_KIND} [about|of] <who> <clause>[.|]",
    f"{_TELL} a {_KIND} [about|of] <who> <clause>[.|]",
    f"{_TELL} a {_KIND} about <who> and <his> friend, <friend>[.|]",
    f"{_TELL} a {_KIND} about <who> <clause>, and <friend>[.|]",
    "[Story|A story|Story time|A short tale], please: <who> and <a_thing>.",
    "[My child|My son|My daughter|The class] wants a story [about|with] <who>[ in it|][.|, please.]",
    "[What happened to|Do you know the story of] <who> <clause>?",
)
_FREE = "<verb> a[| good| short| little| nice| new| funny| sad| long| happy| bedtime| sweet| true| wild| quiet] story[.|!|]"
_FREE_VERBS = ("Tell me", "Write", "Make up", "Can you tell me", "Please tell me", "I want to hear", "Give me", "Could you tell me",
               "Invent", "I would like", "I need", "Let us have", "Think of", "Do you know", "Have you got")  # fmt: skip
_PLACES = (
    "forest", "village by the sea", "town on a hill", "valley", "meadow", "garden", "house by a lake", "farm",
    "harbor", "mountain village", "wood", "castle", "small town", "cave by a river", "cottage near a mill",
)  # fmt: skip
_TRAITS = (
    "kind",
    "brave",
    "shy",
    "curious",
    "clever",
    "lazy",
    "cheerful",
    "careful",
    "young",
    "quiet",
    "lonely",
    "honest",
)


@dataclass(frozen=True, slots=True)
class Plot:
    """Sentences in order, the story in one sentence, and how a request asks for it."""

    lines: tuple[str, ...]
    gist: str
    asks: tuple[str, ...]  # said after the hero
    sign: str  # a word that each telling of the plot has


PLOTS: tuple[Plot, ...] = (
    Plot((  # a lost thing is found with help
        "[Once upon a time|Long ago|One spring|In a quiet year], a <trait> <hero> named <n> lived in a <place>.",
        "<n> [owned|had] an old <thing> that [came from|once belonged to] <his> grandmother, and <he> [loved it dearly|took good care of it].",
        "One [morning|windy day|rainy afternoon], the <thing> was gone.",
        "<n> looked [under the bed|behind the door|in every corner], [near the well|along the path|below the stairs] and [up in the attic|around the fence|in the tall grass], but [found nothing|it was not there].",
        "[Full of worry|With a heavy heart|Close to tears], <he> went to see <his> friend <m>, a [wise|patient|clever] <helper>.",
        "\"[Do not give up|Do not worry|Dry your eyes],\" said <m>. \"[Let us think where you had it last|Two of us see more than one|We will search together].\"",
        "[So they|The two friends] walked back [step by step|slowly] and [asked everyone they met|looked at the ground with care].",
        "[At last|Near sunset|After an hour], <m> saw something [shine|move] [between two stones|below an old tree|beside the stream].",
        "It was the <thing>, [a little dusty but whole|wet but not broken]!",
        "<n> [laughed with joy|jumped for joy|hugged <m>] and [said thank you three times|could hardly speak].",
        "That evening they [shared|baked] [a warm pie|a pot of soup|fresh bread with honey], and [the window glowed until late|they sang old songs].",
        "[From then on|Since that day], <n> knew that [a good friend is worth more than any treasure|worries get smaller when you share them].",
    ), "<n> the <hero> loses <a_thing> and finds it again with the help of <m>.", ("who [loses|has lost|misses|searches for] <a_thing>", "whose <thing> is [gone|lost|missing]", "and a lost <thing>", "and the missing <thing>"), "gone"),
    Plot((  # a fear is overcome
        "[There once was|In a <place> lived] a <trait> <hero> [called|named] <n>.",
        "<n> had one secret: <he> was afraid of [the dark|deep water|thunder|high places].",
        "When the others [played outside|went on trips], <he> [stayed at home|made excuses] and [felt alone|watched from the window].",
        "One [night|evening], [a cry for help came through the trees|someone knocked at the door in a hurry].",
        "It was [little |young ||]<m>, a <helper> who had [fallen into a ditch|lost the way home|hurt a leg] [while looking for <a_thing>|because of <a_thing>].",
        "<n>'s heart beat fast, [but nobody else was near|and there was no time to wait].",
        "\"I am coming,\" <he> [called|whispered], and took [a lamp|a long rope|a deep breath].",
        "Step by step <he> went on, [counting to ten again and again|thinking only of <m>].",
        "[Soon|Before long] <he> [reached|found] <m>, and [together they climbed back to the road|they walked home side by side].",
        "\"You are the bravest <hero> I know,\" said <m>.",
        "<n> smiled, because [the fear had become quite small|being brave does not mean that you are never afraid].",
        "[After that night|Ever since], <n> [joined every trip|was the first to help], and [<m> was always at <his> side|the two were never seen apart].",
    ), "<n> the <hero> is afraid but helps <m> and grows brave.", ("who is [afraid|scared|timid] at first", "who [becomes|grows|learns to be] brave", "and [courage|a great fear]", "who [overcomes|fights] <his> fear"), "afraid"),
    Plot((  # sharing turns out well
        "In a <place> there lived a <trait> <hero>, and <his> name was <n>.",
        "[One day|One sunny morning], <n> found a [golden|strange|beautiful|shining] <thing> [by the road|near the river|under a bush].",
        "\"[This is mine alone|I will keep it for myself|Nobody else may touch it],\" <he> thought, and hid it [in a box|under <his> bed].",
        "But the <thing> [gave no joy|stayed dull and cold], and <n> [sat alone|could not sleep] [night after night|for many days].",
        "Then <m> the <helper> came by, [tired and hungry|with wet feet|after a long journey].",
        "\"[May I rest here|Could I warm myself a little|Have you room for a guest]?\" asked <m>.",
        "<n> [thought for a moment|looked at the floor] and then [opened the door|nodded].",
        "[That night|After supper] <he> even showed the <thing> to <his> guest.",
        "At once it began to [glow|sing softly|sparkle], [and the whole room grew bright|as if it had waited for this].",
        "\"[It needs two pairs of eyes|Such things only work when they are shared],\" said <m> [with a smile|gently].",
        "[Now|From that day on], <n> showed it to all the neighbors, and [the house was never empty|there was always someone to laugh with].",
        "[And so|That is how] the <hero> learned that [joy grows when you share it|a shared treasure is twice as big].",
    ), "<n> the <hero> finds <a_thing> and learns to share it with <m>.", ("who [finds|discovers|hides|keeps] <a_thing>", "who [does not want to|will not|learns to] share", "and [sharing|a secret treasure|a magic <thing>]", "who [is selfish|is greedy] at first"), "guest"),
    Plot((  # a contest is won in an unexpected way
        "Every [summer|autumn|year], the <place> held a great [race|contest|fair].",
        "<n>, a <trait> <hero>, [wanted to win|dreamed of winning] the prize, <a_thing> [made of silver|with a red ribbon].",
        "<He> [trained|practised] [every morning before breakfast|from dawn to dusk], even when it rained.",
        "\"[You are too small|You will never do it],\" [laughed|said] <m> the <helper>, who had won [twice before|the year before].",
        "The great day came, and [the whole place was full of flags|a crowd gathered at the start].",
        "[At first|In the beginning], <m> was far ahead, and <n> [came last|could only see dust].",
        "But halfway, <m> [slipped on a wet stone|got stuck in the mud] and [could not go on|cried out in pain].",
        "<n> [could have run past|saw the finish so near]. Instead, <he> [stopped|turned around] and [offered a hand|pulled <m> up].",
        "[Arm in arm|Slowly], the two crossed the line [together|side by side], long after the others.",
        "[Nobody|No one] had ever heard such [loud cheers|a clapping of hands].",
        "The judge gave the <thing> to <n>, \"[for the kindest heart|because some things count more than speed].\"",
        "<m> [said sorry|blushed] and [bowed|shook <his> hand], and the two of them [became good friends|trained together the next year].",
    ), "<n> the <hero> stops in a contest to help <m> and wins <a_thing>.", ("who [wants|wants to win|wins|dreams of] <a_thing>", "in a [race|contest|competition]", "and a great race", "who [takes part in|enters|trains for] a [race|contest]"), "judge"),
    Plot((  # something broken is made
        "[Far away|Beyond seven hills] in a <place>, a <trait> <hero> named <n> [had a small workshop|worked with wood and wire].",
        "[One morning|On a cold day], <m> the <helper> brought [a broken|an old] <thing> in a bag.",
        "\"[Nobody could repair it|Everyone told me to throw it away],\" <m> said [sadly|with a sigh].",
        "<n> [turned it around|looked at it closely] and [scratched <his> head|hummed a tune].",
        "[The first try|The first plan] failed, for [the glue was too thin|one piece was too short].",
        "[The second try|The next idea] failed too, and [sparks flew|everything fell on the floor].",
        "\"[Third time lucky|Once more],\" said <n>, [rolling up <his> sleeves|lighting a candle].",
        "<He> worked [all night|until the stars grew pale], [piece by piece|with steady hands].",
        "When the sun rose, the <thing> [was better than new|looked as good as on its first day].",
        "<m> [could not believe it|danced around the table] and [paid with a basket of apples|promised to tell everyone].",
        "Soon [people came from near and far|a long line stood before the door], and <n> [never ran out of work|helped them all].",
        "On the wall of the workshop hung a sign: [try again|patience is the best tool].",
    ), "<n> the <hero> repairs <a_thing> for <m> by never giving up.", ("who [repairs|mends|fixes|saves] <a_thing>", "and a broken <thing>", "who never gives up", "with a [little |]workshop"), "workshop"),
    Plot((  # a journey and a return
        "<n> was a <trait> <hero> who [had never left|knew every stone of] <his> <place>.",
        "One [evening|day], [a letter came with the wind|an old traveller came by] and told of <a_thing> [on the other side of the mountains|at the end of the river].",
        "\"[I must see it|I want to find it],\" said <n>, and packed [bread, cheese and a map|a blanket and some nuts].",
        "On the second day <he> met <m>, a [merry|lonely|friendly] <helper> [who sat on a gate|with a song for every mile].",
        "\"[May I come along|Two travel better than one]?\" [asked|said] <m>, and [off they went|so they went on together].",
        "They crossed [a shaky bridge|a dark tunnel|a field of snow] and [slept under the stars|hid from a storm in a barn].",
        "After many days they [came to the place|saw it at last]: the <thing> [stood on a rock|lay in the soft moss], [small and plain|just as the tale had said].",
        "<n> [laughed|was silent for a while]. \"[I thought it would be bigger|So this is all],\" <he> said.",
        "\"[But look how far we have come|And yet I would not miss one step of the way],\" [answered|replied] <m>.",
        "They [left it where it was|drew a picture of it] and [turned home|took the long road back], [telling jokes|sharing their last apple].",
        "At home, everyone wanted to hear [about the journey|what they had seen], and <n> [talked until midnight|told it again and again].",
        "[The best part of it|What <he> liked best to tell], <he> said, was [the friend on the road|the way itself].",
    ), "<n> the <hero> travels far for <a_thing> and finds a friend in <m>.", ("who [looks for|travels to|goes to see] <a_thing>", "on a [long |]journey", "who [travels far|sees the world|leaves home]", "and a [great adventure|long way|journey]"), "packed"),
    Plot((  # a strange noise turns out to be harmless
        "[Every night|Night after night], a strange noise woke <n>, a <trait> <hero> [in|who lived in] a <place>.",
        "[Knock, knock, scratch|Tap, tap, rustle], it went, and then [all was still|it stopped].",
        "\"[A ghost|A monster], perhaps,\" [thought|whispered] <n>, and pulled the blanket over <his> head.",
        "In the morning <he> told <m>, a [sensible|calm|bright] <helper> [from next door|and old friend].",
        "\"[A riddle like that wants an answer|There is a reason for everything],\" said <m>. \"[Tonight we keep watch|Let us stay awake together].\"",
        "So they [sat on the stairs|hid behind a curtain] with [a small lamp|warm socks and biscuits] and waited.",
        "[The hours went by slowly|They nearly fell asleep]. Then the noise came again, [quite near|louder than ever].",
        "<m> [lifted the lamp|opened the hatch], and there it was: [a baby bird|a tiny mouse|a young squirrel] [stuck in|inside] <a_thing>!",
        "[It had tried to get out|It had been calling] all this time.",
        "<n> [turned the <thing> over|opened the <thing>] with care, and [out hopped the little one|the small guest was free].",
        "\"[So that was my monster|That is the smallest ghost I ever saw],\" laughed <n>.",
        "[From then on|After that], the nights were quiet, and when something [knocked|rustled], <n> [simply went to look|was only curious].",
    ), "<n> the <hero> hears a strange noise and solves the riddle with <m>.", ("who hears a [strange |]noise", "and a [mystery|riddle|secret]", "who [solves a mystery|finds out a secret]", "and a ghost"), "noise"),
    Plot((  # a seed and patience
        "<m>, an old <helper>, gave <n> a [tiny|brown|wrinkled] seed [for <his> birthday|one spring day].",
        "\"[Give it time|Be patient],\" <m> said, \"[and it will thank you|and you will be surprised].\"",
        "<n> was a <trait> <hero> from a <place> and had never [grown anything|owned a garden].",
        "<He> put the seed [in a pot by the window|into soft soil] and marked the spot with <a_thing>.",
        "The next day, [nothing had happened|there was nothing to see]. [Nor the next|Nor the day after].",
        "\"[It sleeps|It must be dead],\" [sighed|grumbled] <n>, but <he> [watered it all the same|gave it water anyway].",
        "[Weeks passed|A whole month passed]. [Others laughed|The neighbors shook their heads] at the [bare|empty] pot.",
        "Then, one [quiet|bright] morning, a green [tip|leaf] [looked out of the soil|stood in the light].",
        "It [grew and grew|climbed], [up the wall|around the <thing>] and [past the roof|into the sky].",
        "In summer it [opened a hundred flowers|was full of sweet fruit], and [bees came from everywhere|the whole street smelled of it].",
        "<n> [ran to fetch|called] <m>, who only [nodded|smiled]: \"[You see|What did I say]? [Good things take their time|Waiting is work, too].\"",
        "In autumn <n> [gathered the new seeds|filled a small bag with seeds] and [gave one to every child|sent them to all <his> friends].",
    ), "<n> the <hero> grows a seed from <m> and learns to be patient.", ("who plants a [seed|tree|flower]", "and [patience|a little seed|a garden]", "who [learns to wait|grows a plant]", "who has no patience"), "seed"),
    Plot((  # a find is given back
        "[On the way to the market|On <his> way home], a <trait> <hero> called <n> found [a purse full of coins|a bag of gold].",
        "<n> was poor and lived in [a small hut|one room] in a <place>. [With so much money <he> could buy|It was enough for] <a_thing>, [bread for a year|a warm coat] and more.",
        "\"[Who would ever know|Nobody saw me]?\" said a [small|quiet] voice in <his> head.",
        "But [the voice of <his> mother|another voice] said: \"[What is not yours is not yours|Somebody is crying now].\"",
        "So <he> went [from door to door|to every house] and asked [who had lost something|whose it was].",
        "[At the last door|At the end of the lane] sat <m>, a <helper>, with [red eyes|<his> head in <his> hands].",
        "\"[All my savings|The money for the winter],\" <m> [sobbed|said]. \"[I lost them on the road|They are gone].\"",
        "<n> put the coins on the table, [every single one|down to the last].",
        "<m> [could not speak|stared] for a while. Then <he> [gave <n> a long hug|took <n> by both hands].",
        "\"[Honest folk are rare|I will not forget this],\" said <m>. \"[Come and work with me|My house is yours].\"",
        "[A year later|In time], the two had [a shop|an inn] of their own, and over its door hung <a_thing>.",
        "\"[It cost me a bag of gold|My best bargain],\" <n> liked to say, \"[and I have never been richer|and I would do it again].\"",
    ), "<n> the <hero> gives back lost coins and finds a friend in <m>.", ("who [is honest|stays honest|tells the truth]", "and [honesty|a purse of coins|a bag of gold]", "who finds money", "who is [very |]poor"), "coins"),
    Plot((  # a quarrel and peace
        "<n> the <hero> and <m> the <helper> [lived side by side|were neighbors] in a <place> and [shared everything|ate together each evening].",
        "[One day|One hot afternoon] they began to quarrel over <a_thing>. \"[It is mine|I saw it first],\" said <n>. \"[No, mine|Never],\" said <m>.",
        "[Doors were slammed|Hard words were spoken], and [a wall of silence|a long silence] followed.",
        "<n>, who was <trait>, [ate alone|sang to <himself>] and found that [the soup had no taste|the evenings were long].",
        "On the other side, <m> [did the same|felt no better].",
        "[A week went by|Days became weeks]. The <thing> [lay in the rain|gathered dust], for neither [wanted|touched] it any more.",
        "Then [a storm|strong wind] tore [the roof|a shutter] off <n>'s house, and [water came in|everything got wet].",
        "[Before <he> could call|In the middle of the night], somebody [was holding the ladder|brought a tarp and nails]: it was <m>.",
        "They worked [without a word|side by side] until [the hole was closed|morning].",
        "\"[I was wrong|I am sorry],\" [said|murmured] both [at the same time|at once], and then they [had to laugh|laughed till they cried].",
        "The <thing> [was hung|got its place] [between the two houses|right on the fence], where it [belonged to both|could be seen from both sides].",
        "And [whenever|each time] they [began to argue|raised their voices], one of them [pointed at it|looked that way], and [the quarrel was over|they smiled].",
    ), "<n> the <hero> and <m> quarrel over <a_thing> and make peace.", ("who has a [quarrel|fight|row] with <his> friend", "and a [quarrel|fight|dispute]", "who [makes peace|says sorry]", "and <his> neighbor who quarrel"), "quarrel"),
    Plot((  # a first show
        "<n> was a <trait> <hero> who [sang|played music] [only when nobody listened|in secret], [deep in the wood|up in the attic] of a <place>.",
        "One day <m>, a [friendly|cheerful] <helper>, [passed by|stopped under the window] and [heard it|listened].",
        "\"[That was wonderful|What a voice]!\" called <m>. \"[There is a show on Saturday|The town needs music for its feast]. [Please come|You must be on the stage].\"",
        "<n> turned [red|pale]. \"[I cannot|What if I forget it all]?\"",
        "\"[Then look at me|Just sing for me],\" said <m>, \"[and forget the others|as if we were alone].\"",
        "[All week|Every evening] they practised, with <a_thing> [for good luck|as an audience].",
        "On Saturday, <his> knees [shook|were weak], and the [curtain|light] went up.",
        "The first note [came out too low|was very thin]. [Somebody coughed|A chair creaked].",
        "Then <n> saw <m> [in the front row|by the door], [holding up the <thing>|with the <thing> held high], and [took a breath|smiled].",
        "[The song rose|And now the song flew], [clear and strong|round and warm], up to the last seat.",
        "When it was over there was [a moment of silence|not a sound], and then [the clapping would not end|everyone jumped up].",
        "<n> still sings [in the attic|in the wood] now and then, but [the window is open|the stage is <his> second home].",
    ), "<n> the <hero> sings on a stage for the first time with the help of <m>.", ("who [sings|plays music|likes to sing]", "and a [song|concert|stage]", "who [gives a concert|is too shy to sing]", "and [music|a great show]"), "practised"),
)  # fmt: skip


_HEROES = (
    words.ANIMALS + words.JOBS + ("robot", "girl", "boy", "princess", "knight", "giant", "wizard")
)
_RARE_HEROES = vocabulary.ANIMALS + vocabulary.PEOPLE
_GENDER = {"girl": "she", "princess": "she", "boy": "he", "knight": "he"}
MAPPED_SHARE = 0.6  # the rest is drawn, so that the same request can give another story


def _by(rng: Random, key: str, pool: tuple[str, ...]) -> str:
    """One of the pool: mostly the one that the key decides, so that greedy stories differ by request."""
    if rng.random() >= MAPPED_SHARE:
        return rng.choice(pool)
    return pool[int.from_bytes(blake2b(key.encode(), digest_size=4).digest(), "big") % len(pool)]


def _named(rng: Random, split: Split, role: str) -> str:
    """A name for a role, mostly one with the same first letter (Felix the fox)."""
    pool = GIVEN_BY_LETTER.get(role[0].upper(), ())
    if split is Split.HELD or not pool or rng.random() < 0.2:
        return person(rng, split)
    return _by(rng, f"name {role}", pool)


def _cast(rng: Random, split: Split, told: str, hero: str, thing: str) -> dict[str, str]:
    """Names, roles and words of one story; `told` is what the request says of it."""
    helper = _by(rng, f"helper {hero}", words.ANIMALS)
    while helper == hero:
        helper = rng.choice(words.ANIMALS)
    name = friend = _named(rng, split, hero)
    while friend == name:
        friend = _named(rng, split, helper) if rng.random() < 0.8 else person(rng, split)
    he = _GENDER.get(hero, _by(rng, f"he {hero}", ("he", "she")))
    his, him = ("his", "him") if he == "he" else ("her", "her")
    return {
        "hero": hero, "helper": helper, "thing": thing, "n": name, "m": friend, "he": he, "He": he.capitalize(),
        "himself": f"{him}self", "him": him, "his": his, "a_thing": f"{words.article(thing)} {thing}",
        "trait": _by(rng, f"trait {told}", _TRAITS), "place": _by(rng, f"place {told}", _PLACES),
    }  # fmt: skip


def _question(rng: Random, ask: str, cast: dict[str, str], plot: Plot) -> str:
    """The request; what it names is what the story has."""
    hero, helper = cast["hero"], cast["helper"]
    who = f"{words.article(hero)} {hero}"
    draw = rng.random()
    if draw < 0.25:
        who += f" [called|named] {cast['n']}"
    elif draw < 0.4:
        who = f"{words.article(cast['trait'])} {cast['trait']} {hero}"
    elif draw < 0.5:
        who = f"{cast['n']} the {hero}"
    friend = f"{words.article(helper)} {helper}" + (f" [called|named] {cast['m']}" if rng.random() < 0.3 else "")  # fmt: skip
    text = spin(rng, ask, who=who, friend=friend, clause=rng.choice(plot.asks))
    return spin(rng, text, a_thing=cast["a_thing"], thing=cast["thing"], his=cast["his"])


def _filled(rng: Random, plot: Plot, cast: dict[str, str]) -> str:
    """The plot's sentences with the cast in them."""
    text = " ".join(pick(rng, (line,)) for line in plot.lines)
    for slot, value in cast.items():
        text = text.replace(f" a <{slot}>", f" {words.article(value)} {value}").replace(
            f"<{slot}>", value
        )
    return text


def make(rng: Random, split: Split) -> Turn:
    """A request for a story, with hero, friend, thing and plot or free, and the story."""
    free = rng.random() < 0.15
    ask = _FREE if free else rng.choice(_ASKS)
    hero = rng.choice(_HEROES if rng.random() < 0.8 else _RARE_HEROES)
    thing = rng.choice(words.THINGS)
    told = thing if "thing" in ask else hero
    if free:
        ask = spin(rng, ask, verb=rng.choice(_FREE_VERBS))
        told = ask.rstrip(".!")
        hero = _by(rng, f"hero {told}", _HEROES)
    if "thing" not in ask:
        thing = _by(rng, f"thing {told}", words.THINGS)
    cast = _cast(rng, split, told, hero, thing)
    asked = "<clause>" in ask
    plot = rng.choice(PLOTS) if asked else PLOTS[int(_by(rng, f"plot {told}", _NUMBERS))]
    question = ask if free else _question(rng, ask, cast, plot)
    text = _filled(rng, plot, cast)
    gist = spin(rng, plot.gist, **cast)
    keys = (f"name:{cast['n']}", f"name:{cast['m']}")
    said = set(re.findall(r"\w+", question)) if not free else set()
    wanted = [
        cast[slot] for slot in ("hero", "thing", "helper", "trait", "n", "m") if cast[slot] in said
    ]
    wanted += [plot.sign] if asked else []
    return Turn(user=as_typed(rng, question), reply=text, short=gist, value=gist, keys=keys,
                expect={"kind": "story", "value": wanted}, think="I need a hero, a trouble and a good end.")  # fmt: skip


_NUMBERS = tuple(map(str, range(len(PLOTS))))
