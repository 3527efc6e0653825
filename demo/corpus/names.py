"""Names of people and places, made from syllables, so that models learn to copy and not to recall."""

# ruff: noqa: SIM905 - a text of words reads better than a list of strings
from __future__ import annotations

from random import Random

from demo.corpus import vocabulary
from demo.corpus.core import Split, fits, is_held

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
# Rarer ones, whose pieces the tokenizer has not met together.
_RARER = tuple(
    """Abigail Adelheid Agatha Agnes Alasdair Albert Alejandra Alessio Alfred Alistair Amadou Amelia Anastasia Andreas Angus
    Anneliese Antonio Archibald Ariadne Arnold Astrid August Aurelia Balthasar Barbara Barnaby Beatrice Benedict Bernadette
    Bertram Bianca Birgit Bogdan Brendan Bridget Brunhilde Byron Caleb Camille Caroline Casimir Caspar Catherine Cecilia
    Cedric Charlotte Chiara Chloe Christopher Clement Clive Conrad Constance Cordelia Cornelius Cosima Cuthbert Cyprian
    Dagmar Damian Danuta Deborah Delphine Desmond Dieter Dimitri Dominic Dorothea Douglas Duncan Ebba Edgar Edmund Edwin
    Eleanor Elisabeth Elspeth Emilia Enrique Ernest Estelle Eugenia Eustace Evangeline Ezekiel Farida Ferdinand Fergus
    Florian Frances Francesca Frederick Friedrich Gabriel Gareth Genevieve Geoffrey Gerald Gertrude Gideon Gilbert Giovanni
    Gisela Gloria Godfrey Gordon Graham Gregory Griselda Guillaume Gunther Gustav Gwendolyn Halvard Harriet Hassan Heather
    Hedwig Heinrich Helga Henrietta Herbert Hermione Hildegard Horatio Howard Hubert Humphrey Ignatius Ilse Imogen Indira
    Isabella Isidore Ismail Ivana Jacqueline Jadwiga Jeremiah Jerome Joachim Johanna Josephine Joshua Judith Jurgen Justine
    Kamala Kasper Katarina Keith Kenneth Khadija Kieran Kirsten Konstantin Kristof Lambert Lancelot Lavinia Leopold Leticia
    Lionel Lorenzo Louisa Lucinda Ludmila Ludwig Lukasz Lydia Mackenzie Magdalena Malcolm Manfred Marcellus Margaret
    Marguerite Marianne Martha Mathilda Matteo Maurice Maximilian Melchior Melinda Mercedes Meredith Michael Mildred
    Millicent Miranda Mordecai Moritz Muriel Mustafa Nathaniel Nicholas Nigel Nikolai Norbert Octavia Olaf Oleksandr Ophelia
    Orlando Oswald Ottokar Pamela Pascal Patricia Penelope Percival Petronella Philippa Phoebe Quentin Rachel Radoslav Ramona
    Randolph Raymond Rebecca Reginald Reinhold Ricarda Richard Roberta Roderick Roland Romana Roswitha Rowena Rudolf Rupert
    Sabine Salvador Samantha Santiago Saskia Sebastian Serafina Sheila Sibylle Siegfried Sigrid Silvester Solveig Stanislaw
    Stefania Stephen Svetlana Tabitha Tadeusz Tamsin Tatiana Terence Thaddeus Theodora Thomas Tobias Torsten Tristan Ulrich
    Umberto Ursula Valentina Vanessa Veronica Vincent Vladimir Waltraud Wilfred Wilhelmina Winifred Wolfgang Yasmin Yolanda
    Yvette Zacharias Zdenka Zuleika""".split()
)
_SURNAMES = tuple(
    """Abernathy Ackermann Adeyemi Albrecht Alvarez Anderson Appleby Armstrong Ashworth Atkinson Bakker Baldwin Banerjee
    Barrington Bauer Beaumont Beckett Bennett Bernstein Blackwood Blanchard Bradshaw Brennan Brooks Buchanan Burke Callahan
    Cameron Campbell Carpenter Castillo Chandler Chatterjee Christensen Clarke Cohen Collins Cooper Costa Crawford
    Cunningham Dalton Davenport Delgado Dietrich Donovan Doyle Dubois Eastwood Edwards Eklund Ellis Engel Eriksen Evans
    Faulkner Ferguson Fernandez Fischer Fitzgerald Fleming Foster Fournier Friedman Fuchs Gallagher Garcia Gardner Gibson
    Goldberg Gonzalez Goodwin Grantham Greenfield Griffiths Gupta Haddad Hagen Hamilton Hansen Hargreaves Harrison Hartmann
    Hayashi Henderson Herrera Hoffmann Holloway Holm Hopkins Huang Hughes Ibrahim Ishikawa Jablonski Jackson Jacobsen
    Jankowski Jenkins Jensen Johansson Kaminski Kapoor Kaufmann Kawasaki Kennedy Khan Kjeldsen Koch Kowalski Kramer Krishnan
    Larsen Lawson Lefebvre Lehmann Leclerc Lindqvist Livingston Lombardi Lopez Lundgren MacDonald Mahoney Marchetti Martinez
    Matsumoto McCarthy Mendoza Meyer Mitchell Molina Morales Moreau Murphy Nakamura Navarro Nguyen Nielsen Novak OBrien
    Okafor Olsen Ortega Osborne Papadopoulos Parker Patel Pedersen Pereira Petersen Phillips Popescu Powell Quinn
    Ramirez Rasmussen Reinhardt Reynolds Richardson Robinson Romero Rosenthal Rossi Rousseau Ruiz Russell Saunders Schmidt
    Schneider Schreiber Schubert Schwartz Sharma Sheridan Shimizu Simmons Singh Sokolov Sorensen Stewart Sullivan Suzuki
    Takahashi Taylor Thompson Thornton Torres Townsend Underwood Vandenberg Vasquez Villanueva Vogel Wagner Wallace Watanabe
    Weber Whitaker Williams Wojcik Yamamoto Yilmaz Zhang Ziegler Zimmermann""".split()
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
_RARER_PLACES = tuple(
    """Aberdeen,Accra,Addis Ababa,Adelaide,Albuquerque,Algiers,Anchorage,Ankara,Antwerp,Arequipa,Asheville,Avignon,Baku,
    Baltimore,Bangalore,Bangkok,Bergen,Birmingham,Bogota,Bordeaux,Bratislava,Bremen,Brighton,Brisbane,Bucharest,
    Calgary,Cambridge,Canberra,Caracas,Cardiff,Casablanca,Chennai,Cincinnati,Cologne,Cordoba,Cork,Coventry,Cusco,Dakar,
    Dallas,Damascus,Debrecen,Dresden,Dubrovnik,Durban,Eindhoven,Exeter,Fez,Frankfurt,Freiburg,Fukuoka,Galway,Gdansk,
    Genoa,Glasgow,Gothenburg,Granada,Guadalajara,Halifax,Hanoi,Havana,Heidelberg,Hiroshima,Honolulu,Houston,
    Innsbruck,Inverness,Jakarta,Johannesburg,Kathmandu,Kazan,Krakow,Kuala Lumpur,La Paz,Lausanne,Leipzig,Limerick,Linz,
    Liverpool,Ljubljana,Louisville,Luxembourg,Malaga,Manchester,Manila,Mannheim,Marrakesh,Marseille,Medellin,
    Melbourne,Memphis,Miami,Minneapolis,Mombasa,Monterrey,Montevideo,Nagoya,Nairn,Naples,Nashville,Newcastle,Nottingham,
    Nuremberg,Odense,Oklahoma,Osaka,Ottawa,Oxford,Palermo,Panama,Perth,Philadelphia,Pittsburgh,Plymouth,Poznan,
    Pretoria,Quebec,Quito,Reykjavik,Rio de Janeiro,Rochester,Sacramento,Salamanca,Salzburg,San Francisco,Santiago de Chile,
    Sapporo,Sarajevo,Seville,Shanghai,Sheffield,Siena,Southampton,Stavanger,Strasbourg,Stuttgart,Taipei,Tallinn,
    Tampere,Tashkent,Tbilisi,Tehran,Thessaloniki,Tirana,Toledo,Toulouse,Trieste,Trondheim,Tunis,Uppsala,Utrecht,Valencia,
    Vancouver,Verona,Vilnius,Wellington,Winnipeg,Wroclaw,Yerevan,York,Zagreb,Zaragoza""".replace(
        "\n    ", ""
    ).split(",")
)


def _syllables(rng: Random, count: int) -> str:
    return "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(count))


_PIECES = tuple(w for w in vocabulary.ALL if 4 <= len(w) <= 9)
_LETTERS = "abcdefghiklmnoprstuvwyz"
_COMMON = frozenset(vocabulary.ALL)


def odd_word(rng: Random) -> str:
    """A word that no dictionary has: syllables, two halves of known words, or mere letters."""
    while True:
        draw = rng.random()
        if draw < 0.4:
            first, second = rng.choice(_PIECES), rng.choice(_PIECES)
            word = first[: rng.randint(2, len(first) - 1)] + second[-rng.randint(2, 4) :]
        elif draw < 0.75:
            word = _syllables(rng, rng.choice((1, 2, 2, 3))) + rng.choice(_CODAS)
        else:
            word = "".join(rng.choice(_LETTERS) for _ in range(rng.randint(3, 7)))
        if word not in _COMMON and not is_held(f"name:{word.capitalize()}"):
            return word


def person(rng: Random, split: Split) -> str:
    """A first name on the wanted side: half of them known ones, half made up."""
    while True:
        draw = rng.random()
        if draw < 0.3:
            name = rng.choice(_GIVEN)
        elif draw < 0.6:
            name = rng.choice(_RARER)
        elif draw < 0.88:
            name = (_syllables(rng, rng.choice((2, 2, 3))) + rng.choice(_CODAS)).capitalize()
        else:
            first, second = rng.choice(_GIVEN), rng.choice(_RARER)
            name = first[: rng.randint(1, len(first))] + second[-rng.randint(2, 5) :].lower()
        low = name.lower()
        known = low in _NOT_NAMES or low in _COMMON or name in _NO_GIVEN
        if not known and fits(f"name:{name}", split):
            return name


def _by_letter() -> dict[str, tuple[str, ...]]:
    """Known first names of the training side by their first letter."""
    free = [
        n for n in _GIVEN + _RARER if n.lower() not in _COMMON and fits(f"name:{n}", Split.TRAIN)
    ]
    return {letter: tuple(n for n in free if n[0] == letter) for letter in {n[0] for n in free}}


GIVEN_BY_LETTER = _by_letter()


def _unheld(name: str) -> bool:
    """Whether no part of the name lies on the held-out side, where first names alone belong."""
    return not any(is_held(f"name:{part}") for part in name.split(" "))


_FREE_SURNAMES = tuple(name for name in _SURNAMES if _unheld(name))
_FREE_PLACES = tuple(name for name in _RARER_PLACES if _unheld(name))
_NO_GIVEN = frozenset(part for name in CITIES + _FREE_PLACES for part in name.split(" "))


def surname(rng: Random) -> str:
    """A family name, made up or known; it is no split key and never a held-out first name."""
    if rng.random() < 0.5:
        return rng.choice(_FREE_SURNAMES)
    while True:
        name = (
            _syllables(rng, rng.choice((1, 2)))
            + rng.choice(("sson", "berg", "ski", "wright", "wood", "ley", "mann", "ova", "ing", ""))
        ).capitalize()
        if _unheld(name):
            return name


def place(rng: Random) -> str:
    """A city, real or made up."""
    draw = rng.random()
    if draw < 0.25:
        return rng.choice(CITIES)
    if draw < 0.5:
        return rng.choice(_FREE_PLACES)
    if draw < 0.6:
        return odd_word(rng).capitalize()
    while True:
        name = (_syllables(rng, rng.choice((1, 1, 2))) + rng.choice(_TOWN_ENDS)).capitalize()
        if _unheld(name):
            return name


def brand(rng: Random) -> str:
    """A made-up name of a firm or product line."""
    if rng.random() < 0.3:
        return odd_word(rng).capitalize()
    while True:
        ends = ("x", "tec", "co", "soft", "go", "ware")
        name = (_syllables(rng, 2) + rng.choice(ends)).capitalize()
        if _unheld(name):
            return name
