"""Names of people and places, made from syllables, so that models learn to copy and not to recall."""

# ruff: noqa: SIM905 - a text of words reads better than a list of strings
from __future__ import annotations

from random import Random

from demo.corpus.core import Split, fits

_GIVEN = tuple(
    """Ada Adam Aisha Alba Alma Amir Amy Ana Andrei Anna Anton Aria Arthur Asha Ava Ben Bella Bo Boris Carla Carlos
    Cathy Cem Clara Colin Cora Dana Daniel Daria David Deniz Diego Dina Dora Edith Elena Eli Elif Ella Emil Emma
    Enzo Erik Esther Eva Fatima Felix Fiona Flora Freya George Gina Greta Gus Hana Hannah Hugo Ida Igor
    Ines Ingrid Iris Isa Ivan Jack Jana Jasper Jo Joel John Jonas Julia Kai Karim Kate Kenji Kim Klara Lara
    Laura Lea Lena Leo Leon Lia Lily Lina Liam Lou Lucas Lucy Luis Luna Maja Mara Marco Maria Marie Marta
    Mary Maya Mei Mia Mina Mira Mohamed Nadia Naomi Nate Nia Nico Nina Noah Nora Oda Olga Oliver Olivia Omar
    Oscar Paul Paula Pedro Peter Pia Priya Rafael Ravi Rita Rosa Sam Samir Sara Selma Simon Sofia Sophie
    Stella Sven Tamar Tara Theo Tim Tina Tom Tomas Uma Vera Victor Viola Walter Wendy Xavier Yara Yuki Yusuf Zara
    Zoe""".split()
)
_NOT_NAMES = frozenset(
    """have make made take give like live love home name time come some done more here there these those were are same
    side size site note nose nine none take tale tell date data dare fire fine five free game gave gone have hole hope
    lake late line made male mine more move rate rice ride rise rose safe sale same save solo tone tree tube true use
    wake wave wide wine wise bake base bike bite bone cake care case code cone dine dune face fame fare file gate hide
    kite lane life like lime mile mole pile pine pole pure rare ripe rope rule tape tide tile vase vote wire zero none
    free tree tria area idea trio three those prize grape stone prove drive broke brave drove state store stove grade
    plane shade shape share shore those whole while frame frozen brake late radio piano studio video polite tomato
    potato banana remote severe before beside became zebra solar vital local final moral rural total metal medal""".split()
)
_ONSETS = tuple("b br d dr f fl g gr h j k kr l m n p pr r s st t tr v w z th sh".split())
_VOWELS = tuple("a a e e i o u ia eo ai".split())
_CODAS = ("", "", "", "n", "l", "r", "s", "m", "k", "nd", "th")
_TOWN_ENDS = tuple("burg dale ford ton ville stead mouth bridge haven wick field port".split())
CITIES = tuple(
    """Amsterdam,Athens,Austin,Berlin,Boston,Cairo,Chicago,Copenhagen,Delhi,Dublin,Geneva,Hamburg,Helsinki,Istanbul,
    Kyoto,Lagos,Lima,Lisbon,London,Madrid,Milan,Montreal,Moscow,Mumbai,Munich,Nairobi,New York,Oslo,Paris,Porto,Prague,
    Rome,San Diego,Seattle,Seoul,Sydney,Tokyo,Toronto,Vienna,Warsaw,Zurich,Rotterdam,Barcelona,Brussels,Cape Town,
    Los Angeles,Buenos Aires,Singapore,Beijing,Stockholm""".replace("\n    ", "").split(",")
)


def _syllables(rng: Random, count: int) -> str:
    return "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(count))


def person(rng: Random, split: Split) -> str:
    """A first name on the wanted side: half of them known ones, half made up."""
    while True:
        if rng.random() < 0.45:
            name = rng.choice(_GIVEN)
        else:
            name = (_syllables(rng, rng.choice((2, 2, 3))) + rng.choice(_CODAS)).capitalize()
        if name.lower() not in _NOT_NAMES and fits(f"name:{name}", split):
            return name


def surname(rng: Random) -> str:
    """A made-up family name; it is no split key and never looks like a first name."""
    return (
        _syllables(rng, rng.choice((1, 2)))
        + rng.choice(("sson", "berg", "ski", "wright", "wood", "ley"))
    ).capitalize()


def place(rng: Random) -> str:
    """A city, real or made up."""
    if rng.random() < 0.4:
        return rng.choice(CITIES)
    return (_syllables(rng, rng.choice((1, 1, 2))) + rng.choice(_TOWN_ENDS)).capitalize()


def brand(rng: Random) -> str:
    """A made-up name of a firm or product line."""
    return (_syllables(rng, 2) + rng.choice(("x", "tec", "co", "soft", "go", "ware"))).capitalize()
