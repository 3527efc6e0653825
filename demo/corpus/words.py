"""Everyday words by category."""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


ANIMALS = _words(
    """ant badger bat bear beaver bee bird bison boar buffalo butterfly camel cat chicken cow crab crane cricket crow
    deer dog dolphin donkey dove dragon duck eagle eel elephant falcon ferret fish fly fox frog gecko giraffe goat goose
    gorilla hamster hare hawk hedgehog hen heron horse jaguar kangaroo kitten koala lamb leopard lion lizard llama
    lobster lynx mole monkey moose mouse mule octopus otter owl ox panda parrot peacock pelican penguin pig pigeon pony
    puppy rabbit raccoon rat raven robin rooster salmon seal shark sheep snail snake sparrow spider squid squirrel stork
    swan tiger toad turkey turtle walrus wasp weasel whale wolf worm yak zebra"""
)
FOODS = _words(
    """almond apple apricot avocado bagel banana bean beet biscuit burger cabbage cake candy carrot cashew cherry
    chestnut coconut cookie cracker cucumber cupcake date donut dumpling egg fig grape guava kiwi leek lemon lime mango
    melon muffin mushroom nectarine noodle nut olive onion orange pancake papaya pea peach peanut pear pepper pickle pie
    pizza plum potato pretzel pumpkin radish raisin roll salad sandwich sausage scone taco tart tomato turnip waffle
    walnut"""
)
THINGS = _words(
    """anchor arrow bag ball balloon basket bead bell belt bike blanket block boat book bottle bowl box bracelet brick
    broom brush bucket button camera candle cap card chair chest clock cloud coat coin comb compass crayon crown cup
    curtain cushion desk diamond dish doll door drum envelope fan feather flag flower flute fork glove guitar hammer hat
    helmet hook jacket jar jewel kettle key kite ladder lamp lantern leaf letter lock magnet map marble mask mirror
    mitten mug nail necklace needle notebook oar paddle page pan paper pebble pen pencil piano pillow pin pipe plate
    plant pocket pot puzzle quilt radio ribbon ring robot rock rope rose rug ruler saddle sail scarf shell ship shirt
    shoe shovel skate sled soap sock spoon stamp star sticker stone stool sword table tape teapot tent ticket tile tool
    torch towel toy train tray treasure truck trumpet umbrella vase violin wagon wallet watch wheel whistle window
    wrench yarn zipper"""
)
NATURE = _words(
    """autumn bay beach bridge canyon castle cave city cliff coast creek desert dune earth farm field fire fog forest
    frost garden grass harbor hill ice island jungle lake land light marsh meadow moon mountain night ocean park path
    pond rain reef river road sand sea sky snow spring storm stream street summer sun thunder tower town tree valley
    village volcano wave wind winter wood world yard"""
)
QUALITIES = _words(
    """angry big blue bold brave bright brown busy calm clean clever cold cool crisp curious dark deep dry eager early
    easy empty fair fast fierce fine fresh funny gentle glad golden good gray great green happy hard heavy high honest
    hot huge humble jolly kind large late lazy light little lively long loud low lucky merry mild neat new nice old
    orange pink plain polite poor proud purple quick quiet rapid rare red rich ripe rough round royal sad safe sharp
    short shy silent silly silver simple slow small smart smooth soft sour strong sweet swift tall tame thick thin tidy
    tiny warm weak wet white wide wild wise yellow young"""
)
ACTIONS = _words(
    """ask bake bark build call carry catch clap climb cook count cry cut dance dig draw dream drink drive eat fall feed
    fight find fix float fold follow give grow hide hold hop hug hunt jump keep kick knit laugh learn lift listen look
    make meet mix move open paint plant play pour pull push read ride ring roll run sail save see sell send sew share
    shout sing sit skip sleep slide smile speak spin stand start stay stop swim swing take talk teach tell think throw
    touch try turn visit wait walk wash watch wave whisper win wish work write"""
)
COLOURS = _words(
    "red blue green yellow orange purple pink brown black white gray silver golden violet"
)
JOBS = _words(
    """actor artist baker banker barber builder butcher carpenter chef clerk coach dancer dentist designer doctor driver
    editor engineer farmer fisher gardener judge lawyer librarian mechanic miner musician nurse painter pharmacist
    photographer pilot plumber poet potter printer professor sailor scientist singer soldier surgeon tailor teacher
    waiter welder writer"""
)
HOBBIES = _words(
    """archery baking camping chess cooking cycling dancing drawing fishing gardening hiking juggling knitting painting
    photography pottery reading rowing running sailing sewing singing skating skiing surfing swimming tennis travelling
    yoga football climbing"""
)
ALL = tuple(dict.fromkeys(ANIMALS + FOODS + THINGS + NATURE + QUALITIES + ACTIONS + JOBS))

_IRREGULAR = {
    "fish": "fish", "sheep": "sheep", "mouse": "mice", "goose": "geese", "ox": "oxen", "wolf": "wolves",
    "leaf": "leaves", "knife": "knives", "potato": "potatoes", "tomato": "tomatoes", "mango": "mangoes",
    "deer": "deer", "moose": "moose", "squid": "squid", "bison": "bison", "salmon": "salmon",
}  # fmt: skip


def plural(noun: str) -> str:
    """The plural of a noun of these lists."""
    if noun in _IRREGULAR:
        return _IRREGULAR[noun]
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh", "z")) else "s")


def article(noun: str) -> str:
    """`a` or `an` for a noun of these lists."""
    return "an" if noun[0] in "aeiou" else "a"
