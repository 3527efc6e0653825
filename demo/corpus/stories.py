"""Short stories: a hero, a wish, a trouble, a helper and an ending that fits them."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from demo.corpus import words
from demo.corpus.core import Split, Turn, as_typed, pick, spin
from demo.corpus.names import person

_ASKS = (
    "[Tell me|Write|Make up|Can you tell me|Please tell me|I want to hear|Give me|Could you write] a [short |little |nice |bedtime |good ||]story [about|of|with] <hero>[.|?|]",
    "[Tell me|Write|Make up|Can you write|Please write|I would like] a [short |little ||]story about <hero> and <thing>[.|]",
    "[Tell|Write] a [short |]tale [about|of] <hero> who [finds|loses|looks for|wants] <thing>.",
    "[Story|A story|Story time|A short tale], please: <hero> and <thing>.",
    "[I would like|I'd love|My child wants] a [short |bedtime |]story [with|about] <hero>[ in it|][.|, please.]",
)
_FREE = (
    "[Tell me|Write|Make up|Can you tell me|Please tell me|I want to hear|Give me|Could you tell me] a [short |little |nice |bedtime |good ||]story[.|?|!|]",
    "[Do you know|Have you got] [a|any] [good |short |]stor[y|ies][?|?]",
    "I [want|would like|need] a [bedtime |short |]story[.|, please.|]",
)
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
    """Sentences in order, and the story in one sentence."""

    lines: tuple[str, ...]
    gist: str


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
    ), "<n> the <hero> loses <a_thing> and finds it again with the help of <m>."),
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
    ), "<n> the <hero> is afraid but helps <m> and grows brave."),
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
    ), "<n> the <hero> finds <a_thing> and learns to share it with <m>."),
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
    ), "<n> the <hero> stops in a contest to help <m> and wins <a_thing>."),
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
    ), "<n> the <hero> repairs <a_thing> for <m> by never giving up."),
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
    ), "<n> the <hero> travels far for <a_thing> and finds a friend in <m>."),
)  # fmt: skip


def _cast(rng: Random, split: Split) -> dict[str, str]:
    """Names, roles and words of one story."""
    hero = rng.choice(
        words.ANIMALS
        + words.JOBS
        + ("robot", "girl", "boy", "princess", "knight", "giant", "wizard")
    )
    helper = rng.choice([animal for animal in words.ANIMALS if animal != hero])
    thing = rng.choice(words.THINGS)
    name, friend = person(rng, split), person(rng, split)
    while friend == name:
        friend = person(rng, split)
    he = {"girl": "she", "princess": "she", "boy": "he", "knight": "he"}.get(
        hero, rng.choice(("he", "she"))
    )
    return {
        "hero": hero, "helper": helper, "thing": thing, "n": name, "m": friend, "he": he, "He": he.capitalize(),
        "him": "him" if he == "he" else "her", "his": "his" if he == "he" else "her",
        "a_thing": f"{words.article(thing)} {thing}", "trait": rng.choice(_TRAITS), "place": rng.choice(_PLACES),
    }  # fmt: skip


def make(rng: Random, split: Split) -> Turn:
    """A request for a story, by hero and thing or free, with the story."""
    cast = _cast(rng, split)
    if rng.random() < 0.75:
        hero = cast["hero"]
        named = rng.random() < 0.3
        who = (
            f"{words.article(hero)} {hero}"
            if rng.random() < 0.85 or named
            else f"{words.article(cast['trait'])} {cast['trait']} {hero}"
        )
        who += f" [called|named] {cast['n']}" if named else ""
        question = spin(rng, pick(rng, _ASKS, hero=who, thing=cast["a_thing"]))
    else:
        question = pick(rng, _FREE)
    plot = rng.choice(PLOTS)
    text = " ".join(pick(rng, (line,)) for line in plot.lines)
    for slot, value in cast.items():
        text = text.replace(f" a <{slot}>", f" {words.article(value)} {value}").replace(
            f"<{slot}>", value
        )
    gist = spin(rng, plot.gist, **cast)
    keys = (f"name:{cast['n']}", f"name:{cast['m']}")
    return Turn(user=as_typed(rng, question), reply=text, short=gist, value=gist, keys=keys,
                expect={"kind": "story", "value": ""}, think="I need a hero, a trouble and a good end.")  # fmt: skip
