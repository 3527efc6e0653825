"""The tools that conversations offer: names, parameters, requests, results and what to say of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from demo.corpus import vocabulary, words
from demo.corpus.core import Json, Split, spin
from demo.corpus.material import FOODS, OBJECTS, item
from demo.corpus.names import brand, person, place

Draw = Callable[[Random, Split], Json]


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter: names it may have, JSON type, description, how to draw a value."""

    names: tuple[str, ...]
    kind: str
    about: str
    draw: Draw
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool: in `asks` and `says`, <x> is the argument or result x by its key here."""

    names: tuple[str, ...]
    about: str
    params: dict[str, Param]
    asks: tuple[str, ...]
    result: Callable[[Random], dict[str, Json]]
    says: str


def _place(rng: Random, _: Split) -> str:
    return place(rng)


def _person(rng: Random, split: Split) -> str:
    return person(rng, split)


def _int(low: int, high: int) -> Draw:
    return lambda rng, _: rng.randint(low, high)


def _one(pool: tuple[str, ...]) -> Draw:
    return lambda rng, _: rng.choice(pool)


def _clock(rng: Random, _: Split) -> str:
    return f"{rng.randint(0, 23):02d}:{rng.choice((0, 15, 20, 30, 40, 45)):02d}"


def _phrase(rng: Random, _: Split) -> str:
    return spin(
        rng,
        "[<v>|buy|find|wash|bring|fix|pack|sell] the <t>",
        v=rng.choice(words.ACTIONS),
        t=item(rng),
    )


def _money(rng: Random) -> float:
    return rng.randint(2, 900) + rng.choice((0.0, 0.5, 0.25, 0.8))


_DAYS = (
    "today",
    "tomorrow",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
)
_MONEY = ("EUR", "USD", "GBP", "JPY", "CHF", "SEK", "INR", "CAD")
_TONGUES = ("French", "German", "Spanish", "Dutch", "Italian", "Polish", "Japanese", "Turkish")
_FOODS = ("Italian", "Indian", "Thai", "Greek", "Mexican", "Turkish", "Japanese", "vegan", "French")
_ROOMS = ("kitchen", "bedroom", "living room", "bathroom", "office", "garage", "hall", "garden")
_SKY = ("sunny", "cloudy", "rainy", "windy", "foggy", "snowy")
_CITY = Param(("city", "location", "place", "town"), "string", "[Name of the |The ]city", _place)

TOOLS: tuple[Tool, ...] = (
    Tool(("get_weather", "weather", "current_weather", "lookup_weather"), "[Get|Return|Look up] the [current |]weather [of|in|for] a city", {
        "city": _CITY, "unit": Param(("unit", "units", "scale"), "string", "[Unit of temperature|Temperature unit]", _one(("celsius", "fahrenheit")), ("celsius", "fahrenheit")),
    }, ("[What is|What's|How is|Tell me] the weather [in|for] <city>[| now| today]?", "[Is it|Will it be] [raining|sunny|cold|warm] in <city>[| today| now]?",
        "[What is|What's] the weather in <city> in <unit>?", "[Weather|The weather|Forecast] [in|for] <city>[| please|, please][.|?|]", "I [go|travel|drive|walk] to <city> [soon|today|tomorrow]. [How will the weather be|What is the weather|Will it rain|Do I need a coat|Is it cold]?", "[Does it rain|Does it snow|Is the sun out|Can I swim outside] in <city>?", "[I wonder|I want to know|Find out] [how warm it is|what the weather is] in <city>.", "[How warm|How cold|How hot] is it in <city>?", "Do I need an umbrella in <city>?", "[Check|Get|Show me] the weather [of|in|for] <city> in <unit>."),
        lambda r: {"temperature": r.randint(-9, 38), "sky": r.choice(_SKY)}, "It is <temperature> degrees and <sky> in <city>."),
    Tool(("get_time", "current_time", "local_time", "world_clock"), "[Get|Return] the [current|local] time [of|in] a city", {"city": _CITY},
        ("[What time is it|What is the time] in <city>[| now]?", "[Tell|Show] me the [local |]time in <city>.", "[Time|Local time|The time] in <city>[| please|, please][.|?|]", "[What|Which] hour is it in <city>?", "[I must call|I call|My aunt lives in] <city>[. What time is it there|, is it late there|. Is it night there]?", "[Is it|Are they] [already night|still morning|asleep] in <city>?", "[What is the hour|What do the clocks show|How late is it now] in <city>?", "[Find out|I need|I want to know] the time in <city>.", "How late is it in <city>?"),
        lambda r: {"time": _clock(r, Split.TRAIN)}, "It is <time> in <city>."),
    Tool(("convert_currency", "exchange", "currency_convert"), "Convert [an amount of money|money] [from one currency to another|between currencies]", {
        "amount": Param(("amount", "value", "sum"), "number", "Amount [of money|to convert]", _int(1, 999)),
        "source": Param(("from", "source", "from_currency"), "string", "Currency [code |]to convert from", _one(_MONEY)),
        "target": Param(("to", "target", "to_currency"), "string", "Currency [code |]to convert to", _one(_MONEY)),
    }, ("[Convert|Change|Exchange] <amount> <source> [to|into] <target>.", "How much is <amount> <source> in <target>?", "<amount> <source> in <target>[?|, please.|]", "[I have|I got|Here are] <amount> <source>. [What is that|How much is that] in <target>?", "What do I get in <target> for <amount> <source>?"),
        lambda r: {"result": _money(r)}, "<amount> <source> is <result> <target>."),
    Tool(("send_email", "send_mail", "email", "send_message"), "Send [an email|a message] to [a person|someone]", {
        "to": Param(("to", "recipient", "receiver"), "string", "[Who gets it|The recipient]", _person),
        "subject": Param(("subject", "title", "text", "body"), "string", "[Subject|Text] of the message", _phrase),
    }, ("[Send|Write] [an email|a message|a mail] to <to> [saying|with the text|that says]: <subject>.", "[Email|Message|Tell] <to>: <subject>.", "[A|One] [mail|message|email] to <to>[: |, text: ]<subject>.", "<to> should [know|read] this: <subject>. [Send it|Mail it].", "[Please |]let <to> know: <subject>."),
        lambda r: {"status": "sent"}, "Your message to <to> is sent."),
    Tool(("create_reminder", "set_reminder", "add_reminder", "remind"), "[Create|Set|Add] a reminder", {
        "text": Param(("text", "task", "what", "note"), "string", "What to [remember|do]", _phrase),
        "time": Param(("time", "at", "when"), "string", "Time [of day |]as HH:MM", _clock),
    }, ("Remind me to <text> at <time>.", "[Set|Create|Add] a reminder [for|at] <time>: <text>.", "At <time> I [must|have to|need to] <text>. [Remind me|Please remind me].", "[Can|Could] you remind me at <time> to <text>?"),
        lambda r: {"status": "ok"}, "I will remind you at <time> to <text>."),
    Tool(("set_alarm", "create_alarm", "alarm", "wake_up"), "Set an alarm", {"time": Param(("time", "at", "clock"), "string", "Time as HH:MM", _clock)},
        ("[Set an|I need an] alarm [for|at] <time>.", "[I must|I have to] [get up|wake up] at <time>.", "Alarm [at|for] <time>[, please|].", "[Let it ring|Ring] at <time>.", "Wake me [up |]at <time>.", "[Can|Could] you wake me at <time>?"), lambda r: {"status": "set"}, "Your alarm is set for <time>."),
    Tool(("play_music", "play_song", "music_player", "play"), "Play music [by|of] an artist", {
        "artist": Param(("artist", "singer", "band", "by"), "string", "[Name of the |The ]artist", _person),
    }, ("Play [music|songs|a song|something] by <artist>.", "I want to [hear|listen to] <artist>.", "[I am in the mood for|How about|Let us hear|I love] [songs by |music by |]<artist>[. Play something|, please play it|. Put it on].", "[Start|Turn on] [the music of |songs of |]<artist>.", "Some <artist>, please.", "[Can|Could] you play <artist>?", "Put on [some |]<artist>."), lambda r: {"status": "playing"}, "I am playing <artist> now."),
    Tool(("translate", "translate_text", "translator"), "Translate [a text|text|a word] [into another language|to a language]", {
        "text": Param(("text", "word", "phrase"), "string", "Text to translate", _one(vocabulary.ALL)),
        "language": Param(("language", "target_language", "to", "lang"), "string", "[Target language|Language to translate into]", _one(_TONGUES)),
    }, ("Translate <text> [to|into] <language>.", "[What is|How do you say] <text> in <language>?", "How would I say <text> in <language>?"), lambda r: {"translation": brand(r).lower()}, "In <language> it is <translation>."),
    Tool(("get_stock_price", "stock_price", "share_price", "quote"), "Get the [share|stock] price of a company", {
        "company": Param(("company", "symbol", "name", "firm"), "string", "[Name of the |The ]company", lambda r, _: brand(r)),
    }, ("[What is|Tell me] the [stock|share] price of <company>?", "[How much is a share of|What does a share cost at] <company>?", "How are the shares of <company> doing?"), lambda r: {"price": _money(r)}, "A share of <company> costs <price>."),
    Tool(("find_restaurant", "search_restaurants", "restaurants", "find_food"), "[Find|Search] restaurants in a city", {
        "city": _CITY, "cuisine": Param(("cuisine", "food", "kind", "style"), "string", "Kind of food", _one(_FOODS)),
    }, ("[Find|Search|Look for] [a|an] <cuisine> restaurant in <city>.", "Where can I eat <cuisine> food in <city>?", "I [want|would like] <cuisine> food in <city>.", "Which [restaurant is|restaurants are] good in <city>?"),
        lambda r: {"restaurant": f"{brand(r)} Kitchen"}, "Try <restaurant> in <city>."),
    Tool(("book_table", "reserve_table", "reservation"), "[Book|Reserve] a table [in|at] a restaurant", {
        "restaurant": Param(("restaurant", "place", "name"), "string", "[Name of the |The ]restaurant", lambda r, _: brand(r)),
        "people": Param(("people", "guests", "seats", "party_size"), "integer", "Number of [people|guests]", _int(1, 12)),
        "time": Param(("time", "at", "when"), "string", "Time as HH:MM", _clock),
    }, ("[Book|Reserve] a table for <people> at <restaurant> at <time>.", "I [need|want] a table at <restaurant> for <people> people at <time>.", "We are <people> and want to eat at <restaurant> at <time>."),
        lambda r: {"code": r.randint(100, 999)}, "Your table at <restaurant> is booked under number <code>."),
    Tool(("search_flights", "find_flights", "flights", "search_trains", "find_trains"), "[Find|Search] [flights|connections] between two cities", {
        "origin": Param(("from", "origin", "start", "departure"), "string", "City of departure", _place),
        "destination": Param(("to", "destination", "arrival", "end"), "string", "City of arrival", _place),
        "day": Param(("day", "date", "on"), "string", "Day of travel", _one(_DAYS)),
    }, ("[Find|Search|Show me] [flights|trains|tickets|a ticket|a trip] from <origin> to <destination>[| please].", "[I have to be|I need to be|I will be] in <destination> on <day>, I start in <origin>. [Find a train|Find a flight|How do I go]?", "<origin> to <destination>[, please|: any tickets][.|?]", "How do I get from <origin> to <destination> on <day>?", "I [want|need] to [go|travel] from <origin> to <destination> on <day>.", "[Is there|Find] a [flight|train] from <origin> to <destination> on <day>[?|.]"),
        lambda r: {"departure": _clock(r, Split.TRAIN), "price": _money(r)}, "It leaves <origin> at <departure> and costs <price>."),
    Tool(("switch_light", "set_light", "light", "control_light"), "[Switch|Turn] the light in a room on or off", {
        "room": Param(("room", "where", "place"), "string", "[Name of the |The ]room", _one(_ROOMS)),
        "state": Param(("state", "mode", "value"), "string", "on or off", _one(("on", "off")), ("on", "off")),
    }, ("[Turn|Switch] <state> the light in the <room>.", "Light <state> in the <room>[!|.|, please.]", "[I am in|I leave|I go to] the <room>. [Turn|Switch] the light <state>.", "[Can|Could] you [switch|turn] <state> the <room> [light|lamp]?", "<room> light <state>[, please|][.|]", "[Turn|Switch] the <room> light <state>.", "[Turn|Switch] the light in the <room> <state>[, please|]."), lambda r: {"status": "done"}, "The light in the <room> is <state>."),
    Tool(("add_todo", "add_task", "todo", "add_to_list", "shopping_list"), "Add an item to [the|a] [to-do|shopping] list", {
        "item": Param(("item", "task", "entry", "product"), "string", "[The item|What] to add", _one(FOODS + OBJECTS)),
    }, ("[Add|Put] <item> [to|on] [my|the] [list|shopping list|to-do list].", "I need to buy [a |]<item>. [Add it to the list|Put it on my list].", "We [are out of|have no more|need] <item>. [List it|Add it|Put it on the list].", "<item> [goes|belongs] on the list[.|!]", "[Do not let me forget|Note down|Remember] <item>.", "[Write|Note] <item> on my list."), lambda r: {"status": "added"}, "I put <item> on your list."),
    Tool(("get_distance", "distance", "route", "measure_distance"), "Get the distance between two [cities|places]", {
        "origin": Param(("from", "origin", "start", "a"), "string", "[First|Start] [city|place]", _place),
        "destination": Param(("to", "destination", "end", "b"), "string", "[Second|End] [city|place]", _place),
    }, ("How far is [it from |]<origin> [to|from] <destination>?", "[What is|Tell me] the distance [from|between] <origin> [to|and] <destination>?", "[Distance|The distance] from <origin> to <destination>[?|, please.|]", "I drive from <origin> to <destination>. How [far|long] is [that|the way]?", "How many kilometers [is it|are there] from <origin> to <destination>?"),
        lambda r: {"km": r.randint(20, 9000)}, "It is <km> km from <origin> to <destination>."),
    Tool(("roll_dice", "dice", "roll", "throw_dice"), "Roll [a die|dice]", {"sides": Param(("sides", "faces", "max"), "integer", "Number of sides", _int(4, 30))},
        ("Roll a [die|dice] with <sides> sides.", "[Throw|Roll] a <sides>-sided [die|dice][, please|].", "Give me a roll of a <sides> sided die."), lambda r: {"roll": r.randint(1, 20)}, "I rolled a <roll>."),
    Tool(("get_order", "order_status", "track_order", "find_order"), "[Get|Look up] the status of an order", {
        "order": Param(("order_id", "id", "number", "order"), "integer", "Number of the order", _int(100, 9999)),
    }, ("Where is [my |]order <order>?", "[What is|Check] the [status|state] of order [number |]<order>[?|.]", "[Any update on|Tell me about|What about|How is] [my |]order <order>[?|.]", "I [ordered something|wait for a parcel|bought a lamp]. The [order |]number is <order>. [Where is it|Is it sent]?", "Order <order>[: where is it|, please|: any news][?|.]", "[Track|Look up|Find] order [number |]<order>.", "Has order <order> been [sent|shipped]?"),
        lambda r: {"status": r.choice(("shipped", "packed", "delivered", "delayed", "paid"))}, "Order <order> is <status>."),
    Tool(("get_user", "find_user", "lookup_customer", "find_contact", "get_contact"), "[Find|Get|Look up] a [person|customer|contact] by name", {
        "name": Param(("name", "user", "customer", "who"), "string", "[Name of the |The ]person", _person),
    }, ("[Find|Look up|Show me|Get] the [contact|customer|user|data] [of |]<name>.", "Who is <name>?", "What is the [phone number|address] of <name>?", "[How|Where] can I reach <name>?"),
        lambda r: {"phone": r.randint(10000, 99999), "city": place(r)}, "You reach <name> at <phone>."),
    Tool(("search_docs", "search", "search_web", "find_documents", "lookup"), "Search [the documentation|documents|pages] for [words|a topic]", {
        "query": Param(("query", "q", "keywords", "topic", "text"), "string", "[What to search for|Search words]", lambda r, _: f"{r.choice(words.QUALITIES)} {words.plural(r.choice(words.THINGS + words.ANIMALS))}"),
    }, ("[Search|Look] for <query>.", "[Find|Search] [pages|documents|something] about <query>.", "What can you find about <query>?", "Look up <query>."), lambda r: {"hits": r.randint(2, 99)}, "I found <hits> pages about <query>."),
    Tool(("start_timer", "set_timer", "timer", "countdown"), "Start a timer", {
        "minutes": Param(("minutes", "duration", "length", "min"), "integer", "[Minutes|Length in minutes]", _int(1, 90)),
    }, ("[Set|Start] a timer [for|of] <minutes> minutes.", "[Timer|Timer for] <minutes> minutes[, please|].", "[The pasta|The cake|My tea|The rice] [needs|takes] <minutes> minutes. [Set a timer|Start a timer|Tell me when it is done].", "<minutes> minutes[, starting now|, go|, please][.|!]", "[Start|Begin] a <minutes> minute [timer|countdown].", "[Tell|Call] me in <minutes> minutes.", "Count down <minutes> minutes."), lambda r: {"status": "running"}, "The timer runs for <minutes> minutes."),
)  # fmt: skip
