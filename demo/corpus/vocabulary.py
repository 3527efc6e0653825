"""Everyday English words beside those of `words`, so that copying does not hang on a known few.

The lists hold no word of the prompts written by hand that the older lists did not hold: those
prompts ask what the model does with words it has not met.
"""

from __future__ import annotations

from demo.corpus import words


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


OBJECTS = _words(
    """album amulet antenna apron aquarium armchair armor ash atlas axe backpack badge bandage banjo banner barrel
    basin bathtub bayonet beaker beam bench bib binder binoculars blade blazer blender blouse bolt bonnet
    bookcase boot bow bowtie brace bracket brake branch briefcase brochure brooch bubble buckle bulb bundle bunk
    buoy cabinet cable cage calculator calendar camcorder cane canister cannon canopy canvas cape capsule
    caravan carpet carriage cart cartridge carton cassette cauldron cello chain chalk chandelier charger chart
    chimney chisel chopstick cigar circuit clamp clarinet clasp clipboard cloak clog cloth clothespin coaster
    cog coil collar column computer cone console container cooler copier cord cork corkscrew costume cot couch
    counter cradle crate crib crowbar crutch crystal cube cufflink cutter cylinder cymbal dagger dart dashboard
    deck denture dial diary dice diploma disc dishwasher document dome doorbell doormat dough drape dress drill
    dryer dumbbell duster earring easel elevator emblem engine eraser espresso fabric faucet fax fence fiddle
    figurine file filter fireplace firework flagpole flannel flashlight flask fleece folder footstool fossil
    fountain frame freezer fridge fuse gadget garland garment gate gauge gauze gavel gear gift glasses globe
    glue goblet goggles gong gown grater grill grinder guidebook hairbrush hairpin hammock handbag handcuff
    handkerchief handle handrail hanger harmonica harness harp headband headphone headset hearth heater hinge
    hoe hoodie horn horseshoe hose hourglass icebox icon inhaler insole instrument iron ironing jeans jersey
    jigsaw joystick jug juicer kayak keyboard keychain kimono knapsack knob knot label lace ladle lampshade
    lance laptop lasso latch lawnmower leash ledger lens lever lid lighter lightbulb limousine lipstick litter
    locker locket locomotive log loom loudspeaker luggage lunchbox lute mailbox mallet mandolin manual marker
    mast mat match mattress medal megaphone melody menu meter microphone microscope microwave milestone mill
    mixer mobile model modem monitor monocle mop moped mosaic motor motorbike mousepad mousetrap mural muzzle
    napkin nametag net newspaper nib nightgown nozzle oven overcoat padlock pager pail paintbrush palette
    pamphlet panel parachute parasol parcel parchment passport pastel patch pavilion pedal peg pendant pendulum
    pennant periscope petticoat photo pickaxe picture piggybank pillowcase pincushion pinwheel pitcher placard
    placemat plank plaster platform platter plow plug plunger podium pole poncho porcelain portrait postcard
    poster pouch powder prism projector propeller puck pulley pump punch puppet pushpin pyjamas quill quiver
    rack racket radar radiator raft raincoat rake ramp rattle razor receipt receiver recipe record recorder reel
    refrigerator relic remote rifle rim ringlet rivet robe rocket rod roller rosette router rowboat rubber
    rucksack rudder sack sandal satchel satellite saucer saucepan sauna saw saxophone scaffold scale scanner
    scepter scissors scooter scoreboard screen screw screwdriver scroll sculpture seat seatbelt settee shackle
    shaker shampoo shaver shawl sheath shelf shield shingle shoelace shorts shower shredder shutter sickle sieve
    signpost silo sink siren skateboard skewer ski skillet skirt slate sleeve sling slipper snorkel snowboard
    socket sofa spade spanner spatula speaker spear spectacles spinner sponge spool spout spray spur stake
    staircase stapler statue steamer steering stencil stereo stethoscope stick stilts stirrup stocking stopwatch
    stove strainer strap straw stretcher stroller submarine suit suitcase sundial sunglasses surfboard suspender
    sweater sweatshirt syringe tablecloth tablet tack tambourine tank tapestry tarp tattoo teacup telegram
    telephone telescope television thermometer thermos thimble thread throne thumbtack tiara tie tinsel tire
    toaster toilet token tongs toolbox toothbrush toothpaste toothpick torpedo tractor trampoline transmitter
    trap trapeze treadmill tricycle trident trinket tripod trolley trombone trophy trousers trowel trunk tube
    tuba tugboat turban turbine turntable tuxedo tweezers typewriter tyre ukulele uniform urn vacuum valve van
    vehicle veil vest video visor wallpaper wand wardrobe washer wedge weight wetsuit wheelbarrow wheelchair
    whip whisk wig windmill windshield wire wok woodcut wreath wristband xylophone yacht yardstick yoke yoyo"""
)
PEOPLE = _words(
    """accountant acrobat admiral adviser agent ambassador analyst apprentice archer architect astronaut astronomer
    athlete attorney auditor babysitter ballerina bandit barista bartender beekeeper biologist blacksmith
    boatman bodyguard bookseller botanist boxer brewer bricklayer broadcaster broker bursar businessman
    cameraman candidate captain caretaker cartoonist cashier champion chauffeur choreographer cleaner cleric
    clown cobbler collector colonel comedian commander composer conductor consultant contractor cooper coroner
    councillor courier cowboy craftsman critic curator customs cyclist daredevil dealer deckhand decorator
    deputy detective dietitian diplomat director diver dressmaker drummer economist electrician emperor envoy
    explorer fencer ferryman firefighter flautist florist foreman forester fortuneteller gambler geologist
    ghostwriter glassblower glazier goalkeeper goldsmith governor grocer groom guard guardian guitarist gymnast
    hairdresser harpist hatter helmsman herald herbalist hermit historian horseman hunter illustrator innkeeper
    inspector instructor interpreter investigator janitor jester jeweller jockey joiner journalist juggler juror
    keeper knight landlord laundress lecturer lifeguard linguist locksmith logger lumberjack magician maid
    mailman major manager marine marshal mason masseur mathematician mayor mediator merchant messenger
    meteorologist midwife milkman minister minstrel missionary monk mountaineer mover narrator naturalist
    navigator negotiator neurologist newsreader notary novelist nun official operator optician orchardist
    organist paramedic pastor patrolman peasant peddler pharaoh philosopher physicist pianist pioneer pirate
    playwright policeman politician porter postman preacher president priest prince princess principal producer
    programmer promoter prophet psychologist publisher puppeteer ranger rapper realtor recruiter referee
    registrar reporter researcher restorer rider roofer runner saddler salesman scholar schoolboy scout sculptor
    seamstress secretary senator sergeant servant sheriff shepherd shoemaker shopkeeper signalman skater skier
    skipper smith smuggler sociologist solicitor spy squire stableboy statistician steward stockbroker
    stonemason storyteller stuntman supervisor surveyor swimmer tanner taxidermist technician teller tenor
    therapist thief tinker translator trapper treasurer trucker trumpeter tutor typist umpire undertaker
    upholsterer usher valet vendor veteran vicar violinist volunteer warden warrior watchmaker weaver wizard
    woodcutter wrestler zookeeper zoologist"""
)
PLACES = _words(
    """abbey academy airport alley aisle amphitheatre arcade arena armory arsenal attic auditorium avenue backyard
    bakery balcony ballroom bank bar barracks basement basilica bathroom battlefield bazaar beachhouse bedroom
    bistro boulevard boutique brewery brook bungalow bunker cabin cafe cafeteria campground campsite campus
    canal canteen carpark casino catacomb cathedral cellar cemetery chamber chapel chateau church circus citadel
    classroom clearing clinic cloister closet clubhouse coalmine coliseum college conservatory convent corner
    corridor cottage court courthouse courtyard cove crossroads crypt dairy dam delta den depot diner distillery
    dock dorm driveway dungeon embassy entrance estuary factory fairground farmhouse firehouse fjord foundry
    fort fortress foyer gallery gangway garage garrison gateway geyser glacier glade gorge granary greenhouse
    grocery grotto grove gulf gully gym hairdressers hallway hangar harbour haystack headland heath hedge
    henhouse highland highway hollow homestead hospital hostel house hut igloo inlet inn islet jail junction
    kennel kindergarten kingdom kiosk laboratory lagoon landing lane laundry lawn loft lobby lodge lounge
    maisonette mall manor mansion marina market marketplace mausoleum maze mezzanine mine moat monastery
    monument moor mosque motel mound nursery oasis observatory opera orchard orphanage outback outpost palace
    pantry parlor parsonage pasture patio pavement peak peninsula pharmacy pier pit planetarium plateau
    playground plaza pool porch port post prairie precinct prison province pub pyramid quarry quay quarter
    racetrack railway ranch ravine rectory refinery refuge reservoir resort restaurant ridge riverbank roadside
    rooftop ruin runway salon sanctuary sawmill scrapyard seaside settlement shed shelter shipyard shore shrine
    sidewalk skyscraper slope smithy spa square stable stadium stage stall station steppe storeroom strait
    studio suburb subway summit supermarket swamp synagogue tavern temple terminal terrace theatre theme
    tollgate tomb townhouse trail trench tundra tunnel turret university vault veranda vestry viaduct villa
    vineyard waiting warehouse waterfall waterfront watermill wharf wilderness windowsill winery wing workshop
    zoo"""
)
FOODS = _words(
    """anchovy appetizer artichoke asparagus bacon baguette barley basil batter berry biryani blackberry blueberry
    bouillon bran brie brisket broccoli broth brownie bun butter buttermilk caramel cardamom casserole
    cauliflower caviar celery cereal champagne cheddar cheesecake chili chip chives chocolate chowder chutney
    cider cinnamon clementine clove cocoa cod coffee compote coriander corn cornbread cranberry crepe croissant
    crouton crumble cumin curd currant curry custard dessert dill dressing drumstick eclair eggplant endive
    falafel fennel feta fillet flapjack flour fondue fritter fudge garlic gelatin gherkin ginger gnocchi goulash
    granola gravy guacamole gumbo haddock halibut ham hamburger hash hazelnut herb herring honey honeydew hotdog
    hummus icing jam jelly juice kebab kelp ketchup kidney kipper kumquat lasagna lemonade lentil lettuce
    licorice linguine liqueur loaf lollipop lychee macaroni macaroon mackerel mandarin marmalade margarine
    marinade marshmallow marzipan mayonnaise meatball meringue milkshake millet mint molasses mousse mozzarella
    muesli mussel mustard mutton nougat nutmeg oatmeal oil okra omelette oregano oyster paella paprika parfait
    parmesan parsley parsnip pasta pastrami pastry patty pecan pepperoni persimmon pesto pheasant pilaf
    pineapple pistachio plantain pomegranate popcorn poppy pork porridge prawn praline prune pudding quiche
    quince quinoa radicchio ramen raspberry ratatouille ravioli relish rhubarb ribs rice risotto rosemary rye
    saffron sage salami salsa salt sardine sauce sauerkraut seafood seaweed sesame shallot sherbet shortbread
    shrimp sirloin smoothie snack sorbet souffle soup soy spaghetti spice spinach sprout squash steak stew stock
    strawberry strudel stuffing sugar sundae sushi syrup tamarind tangerine tapioca tea tempura thyme toast
    toffee tofu topping tortilla treacle trout truffle turmeric vanilla veal vegetable venison vinegar wasabi
    watercress watermelon wheat wine yam yeast yogurt zucchini"""
)
ANIMALS = _words(
    """aardvark albatross alligator alpaca anaconda anteater antelope ape armadillo baboon barracuda bass beetle
    bloodhound bobcat budgie bull bulldog bumblebee buzzard calf canary capybara caribou carp caterpillar
    catfish centipede chameleon cheetah chick chimpanzee chinchilla chipmunk cicada clam cobra cockatoo
    cockroach collie condor coral corgi cormorant cougar coyote cuckoo cub dingo dinosaur dodo doe dormouse
    dragonfly dromedary earthworm echidna egret elk emu ewe fawn finch firefly flamingo flea foal gazelle gerbil
    gibbon gnat gnu goldfish gopher grasshopper greyhound grizzly grouse guppy gull hamlet heifer hippo hornet
    hound hummingbird husky hyena ibex ibis iguana impala jackal jackdaw jay jellyfish kestrel kingfisher kid
    krill ladybird lark lemming lemur leech limpet locust loon louse macaw magpie mallard mammoth manatee mantis
    marmot marten mastiff mayfly meerkat mink mockingbird mongoose mosquito moth mustang narwhal newt
    nightingale ocelot opossum orangutan orca oriole osprey ostrich oxen parakeet partridge perch piglet pike
    piranha platypus polecat poodle porcupine porpoise possum puffin puma quail ram rattlesnake ray reindeer
    retriever rhino roach rook salamander scorpion seahorse shrew skunk skylark sloth slug sole spaniel
    springbok stag stallion starfish starling stingray stoat swallow swordfish tadpole tapir tarantula termite
    tern terrier thrush tick toucan vole vulture wallaby warbler warthog weevil whippet wildcat wolverine wombat
    woodchuck woodpecker wren"""
)
IDEAS = _words(
    """ability absence accent access accident account action addition advantage adventure advice affair agenda
    agreement aim allowance anger anniversary announcement appeal appearance appetite applause application
    appointment approach argument army arrival art article aspect atmosphere attempt attention attitude audience
    average award balance ballot band basis battle beauty beginning behavior belief benefit birth birthday blame
    blood bonus border bottom brain brand breath budget burden business campaign cancer career catalog cause
    celebration census century ceremony challenge chance change chapter character charge charity cheer chemistry
    childhood choice chorus circle citizen claim class clause climate club clue coincidence comfort comment
    committee community comparison competition complaint concept concern conclusion condition conference
    confidence conflict confusion connection consequence contact content context contest contract contribution
    control conversation cooperation copy cost council courage course cousin credit crew crime crisis crowd
    culture cure curve custom cycle damage danger daughter dawn deadline deal death debt decade decision defense
    degree delay delivery demand democracy density departure deposit depth description desire detail development
    device difference difficulty dignity dimension direction disaster discipline discount discovery discussion
    disease distance district division dozen drama duration duty ear ease echo economy edge edition education
    effect effort election emergency emotion employment encounter energy entertainment enthusiasm environment
    episode equation era error essay event evidence exam example exception exchange excitement excuse exercise
    exhibition existence expansion experience experiment explanation export extent extreme eye facility failure
    faith fame family fantasy fashion fate fault favor feast feature fee festival fever fiction finding finger
    fitness flavor flight flood focus foot force forecast fortune foundation fraction freedom friendship front
    fuel fun function fund funeral future gain gap generation genius gesture glory goal gossip grace gratitude
    growth guess guest guidance habit half harmony harvest headline health heart heat height heritage history
    holiday honor hope hospitality humor hurry identity illness image imagination impact import impression
    improvement incident income independence industry influence injury innocence insight inspiration instance
    institution insurance intelligence intention interest interview invasion invention investment invitation
    issue item journey joy judgment justice knowledge labor lack law leader league lecture legend leisure length
    lesson liberty lifestyle limit link loan location logic loss luck luxury magic majority management manner
    margin mass matter maximum meal meaning measure medicine membership memory mention mercy message method
    midnight migration minimum minute miracle mission mistake mixture mode moment mood motion motivation
    movement mystery myth nation nature nerve noise noon nonsense notice notion oath objective obligation
    occasion offer opinion opportunity option origin outline ownership pace pain panic parade paragraph pardon
    part partner passage passion past patience pattern pause payment peace penalty percentage performance period
    permission personality perspective phase phrase piece plan pleasure poetry policy pollution popularity
    portion position possibility poverty power practice praise prayer preference presence pressure prestige
    pride principle priority privacy privilege prize procedure process profit progress project promise promotion
    proof property proportion proposal protection protest proverb purpose quality quantity quest quota quotation
    race range ratio reaction reality reason rebellion reception recovery reduction reference reform region
    regret rejection relation relief religion reminder rent repair report reputation request research reserve
    resistance resource respect response responsibility retirement return reunion revenue review revolution
    reward rhythm riddle riot risk ritual rival role romance routine rule rumor sacrifice safety salary sample
    satisfaction scandal scene schedule scheme scholarship science score season secret section sector security
    selection sensation series session shadow shame shift shock shortage sign signal silence similarity
    situation skill slang slogan society solution sorrow sound source space speech speed spelling spirit sport
    stability standard statement status step strategy strength stress strike structure struggle style subject
    subscription success suggestion summary supply support surface surprise survey survival sympathy symptom
    system talent target task taste tax team technique technology temper temperature temptation tendency tension
    term territory theory therapy thought threat thrill tone topic tourism trade tradition traffic tragedy
    training trait transfer transition transport treatment treaty trend trial tribe trick triumph trouble truth
    tune uncle union unity universe update vacation variety verdict version victim victory view violence virtue
    vision vitamin voice volume vote voyage wage warning waste wealth wedding weekend welfare width wisdom
    witness wonder worry worth youth zone"""
)
QUALITIES = _words(
    """absent absolute abstract absurd academic acceptable accurate active actual additional adequate advanced
    adventurous aggressive agile alert alike alive alone amateur amazing ambitious ample amused ancient annoyed
    annual anxious apparent appropriate arctic artificial ashamed asleep athletic attractive authentic automatic
    available awake aware awful awkward bald bare basic beautiful beloved bent beneficial best better bitter
    bizarre blank bleak blind blond blunt bored boring bossy bouncy boundless brief brilliant brisk brittle
    broad broken brutal bulky bumpy burnt candid capable careful careless casual cautious central certain
    charming cheap cheerful cheeky chief childish chilly chubby civil classic clear clumsy coarse colorful
    comfortable comic common compact complete complex confident confused conscious constant convenient correct
    corrupt costly courageous cozy crazy creamy creative creepy critical crooked crowded crucial crude cruel
    crunchy curly current curved cute daily damp dangerous daring dazzling dead deaf dear decent decisive
    deliberate delicate delicious delightful dense dependent desperate different difficult digital diligent dim
    direct dirty distant distinct dizzy domestic dominant double doubtful drafty dramatic drowsy drunk dual dull
    dusty dynamic eastern economic educated effective efficient elaborate elastic elderly electric elegant
    emotional enchanted endless energetic enormous entire envious equal essential eternal ethical even everyday
    evil exact excellent excited exciting exclusive exotic expensive expert explicit extraordinary faded faint
    faithful fake familiar famous fancy far fascinating fat fatal favorite fearful fearless feeble female
    fertile festive few fictional filthy final financial firm fit flat flawless flexible floral fluffy fluid
    fond foolish foreign formal fortunate fragile fragrant frail frequent friendly frosty frozen fruitful full
    furious furry fuzzy generous genuine giant gifted gigantic global gloomy glorious glossy gorgeous graceful
    grand grateful grave greasy greedy grim gross grumpy guilty hairy handmade handsome handy harmful harmless
    harsh hasty haunted healthy heartless helpful helpless hidden holy homeless hopeful horrible hostile humid
    hungry icy ideal idle illegal imaginary immense immune impatient imperfect important impossible impressive
    incredible indoor infinite informal initial inner innocent intense interested internal invisible itchy
    jagged jealous joint joyful juicy junior keen kindhearted known lacy lame lasting lavish lean leafy legal
    level liberal likely limited linear liquid literal loose lost loving loyal lunar luxurious mad magical
    magnetic main male mature mean mechanical medical medieval mellow melted mental messy metallic mighty
    military minor missing modern modest moist moral muddy multiple musical mute mutual mysterious naive narrow
    nasty natural naughty naval near necessary needy negative nervous neutral nimble noble noisy normal northern
    notable noted novel numb obedient obvious occasional odd oily opaque opposite optimal ordinary organic
    original outdoor outer outgoing oval overdue painful pale parallel partial particular passive patient
    peaceful peculiar perfect permanent personal pesky petty physical plastic playful pleasant plump pointed
    poisonous polished political popular portable positive possible powerful practical precious precise pregnant
    premium present previous prickly primary prime primitive private probable productive professional profound
    prominent prompt proper protective prudent public pure puzzled quaint qualified questionable quirky radiant
    random rational raw ready real realistic reasonable recent reckless regular related relaxed relevant
    reliable reluctant remarkable repeated respectful responsible restless rigid risky robust romantic rotten
    rowdy rude rugged rural rusty ruthless sacred salty same sandy satisfied scared scary scenic scientific
    scrawny secondary secure selfish senior sensible sensitive separate serene serious severe shabby shaggy
    shaky shallow shiny shocked shrill sick significant similar sincere skilled skinny sleepy slender slick slim
    slippery sloppy smelly smoky snobbish snowy sober social solar solid sophisticated sore southern spacious
    spare sparkling special specific spectacular spicy spiky spiritual spoiled spontaneous spotless stale starry
    static steady steep sticky stiff stingy stormy straight strange strict stubborn stunning stupid sturdy
    subtle successful sudden sufficient sunken sunny superb superior supreme surprised suspicious swollen
    symbolic talented talkative tangible tasty tearful tedious temporary tender tense terrible thankful thirsty
    thorough thoughtful thrifty tight timely timid tough toxic traditional tragic tranquil transparent trendy
    tricky tropical trusty twin typical ugly ultimate unable uncommon unfair unhappy unique united unknown
    unlikely unusual upbeat upset urban urgent useful useless usual vacant vague vain valid valuable vast velvet
    verbal vertical vibrant vicious vigorous violent virtual visible visual vital vivid vocal volatile voluntary
    vulnerable wealthy weary weekly weird western wicked widespread wiggly willing winding windy wireless witty
    wooden woolen worldwide worried worthless worthy wretched wrong youthful zany zealous"""
)
ACTIONS = _words(
    """abandon absorb accept accompany accuse achieve acquire adapt add adjust admire admit adopt advance advise
    afford agree allow amaze amuse announce annoy apologize appear applaud appoint appreciate arrest arrive
    assemble assign assist assume assure attach attack attend attract avoid bargain bathe beg behave believe
    belong bend bite blend bless blink bloom blow blush boast boil borrow bother bounce breathe broadcast browse
    bury cancel care cease celebrate chase chat cheat chew choose chop clarify click collapse collect combine
    compare compete complain compose conceal concentrate conclude confess confirm confuse congratulate consider
    consist construct consume contain continue contribute convince cough crawl criticize crush curl dare decide
    declare decorate decrease defeat defend deliver deny depart depend deserve design destroy detect develop
    differ dine disagree disappear discover dislike dismiss display divide donate doubt drag drain drift drip
    drop drown earn educate elect embrace emerge enable encourage endure engage enjoy enlarge enter entertain
    escape establish estimate examine exceed excel excite exclude exhibit exist expand expect explode explore
    express extend face fade fail fasten fetch film flap flash flee flow fool forbid forget forgive found freeze
    frighten fry gallop gather gaze generate giggle glance glide glow grab grant graze grin grind grip groan
    guarantee guide hang happen harm hate haul heal hesitate hire hiss hover howl hum identify ignore illustrate
    imagine imitate improve include increase inform inherit injure insist inspect inspire install instruct
    insult intend interrupt introduce invade invent invest investigate invite itch jog join juggle justify kneel
    knock lead leap lend lick lie load lose love maintain manage manufacture march mark marry master melt
    memorize mend migrate miss moan multiply murmur nag neglect negotiate nod obey observe obtain occupy occur
    omit operate oppose organize overcome owe own pack participate pass pat pay peel perform permit persuade
    pinch plead plunge point polish possess postpone pounce pray preach predict prefer prepare preserve press
    pretend prevent proceed produce promote pronounce propose protect prove provide publish punish purchase
    pursue qualify quarrel quit quote raise react realize rebuild receive recognize recommend recover recycle
    reduce reflect refuse reject relax release rely remain remember remind remove repeat replace require rescue
    resemble resign resist resolve restore restrict retire retreat reveal revise rinse rob rub rush satisfy
    scatter scold scrape scratch scream search seek seem select settle shake shape shave shiver shrug sigh sip
    sketch slap slice slip smash sneeze sniff snore soak solve soothe spark specify spell spend spill spit
    splash split spoil spread sprint sprinkle squeeze stare starve steal steer stir store strengthen stretch
    stroll stumble succeed suffer suggest supervise suppose surrender surround survive suspect sustain sway
    swear sweep swell tackle tap tease tempt terrify test threaten tickle tighten toss trace transform translate
    tremble trot trust tumble twist understand undo unite unlock unpack urge vanish vary verify wander warn weep
    weigh wiggle wink wipe worship wrap wrestle yawn yell yield"""
)
NOUNS = OBJECTS + PEOPLE + PLACES + FOODS + ANIMALS + IDEAS
EVERYDAY = NOUNS + QUALITIES + ACTIONS
ALL = words.ALL + EVERYDAY
