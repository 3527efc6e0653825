"""More small talk: intents beside those of `smalltalk`, and further ways to say the older ones."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Intent:
    """What the user may say, what comes back, and the same in one sentence."""

    asks: tuple[str, ...]
    replies: tuple[str, ...]
    short: str
    must: str  # a word that every reply holds; empty where there is none


MORE: dict[str, Intent] = {
    "angry": Intent(("I [am|feel] [so |very |really ||][angry|furious|mad|annoyed|cross][| today| right now| with my boss| with everybody][.|!|]", "[This makes me angry|I could scream|I hate this|What a cheek|I am fed up|I have had enough|My neighbor is driving me mad][!|.|]"),
        ("I understand that you are upset. Take a deep breath. What happened?",), "Take a deep breath first.", "breath"),
    "nervous": Intent(("I [am|feel] [so |very |really |a bit ||][nervous|anxious|afraid|scared|worried|stressed|frightened][| today| about tomorrow| about it][.|!|]", "[I have an exam tomorrow|I have a job interview|My heart beats so fast|I cannot relax|I have to give a talk|I have stage fright|Tomorrow is my big day][.|!|]"),
        ("It is normal to be nervous before something big. Breathe slowly, you can do it.",), "Breathe slowly, you can do it.", "nervous"),
    "proud": Intent(("I [am|feel] [so |very |really ||]proud[| of myself| of my son| of my work| today][.|!|]", "[I did it|I made it|I got the job|I got married|I finished my book|I won the race|I passed|We had a baby|I bought a house|I got a promotion|My team won|I am a father now|I am a mother now][!|.|]"),
        ("Congratulations! That is a great success. How will you celebrate?",), "Congratulations to you.", "Congratulations"),
    "sick": Intent(("I [am|feel] [so |very |really |a bit ||][sick|ill|unwell|feverish|dizzy][| today][.|!|]", "[I have a cold|My head hurts|I have a headache|My back hurts|My tooth hurts|I caught the flu|I cannot stop coughing|I have a fever|My throat is sore][.|!|]"),
        ("I hope you get well soon. Rest, drink enough, and see a doctor if it gets worse.",), "Get well soon.", "well soon"),
    "birthday": Intent(("[It is|Today is] my birthday[!|.|]", "[I have|I celebrate] my birthday [today|tomorrow|this week][!|.|]", "I [turn|turned] [thirty|forty|fifty|twenty] today[!|.|]", "My birthday is [today|tomorrow][!|.|]"),
        ("Happy birthday! I wish you a wonderful year. Will there be cake?",), "Happy birthday to you.", "birthday"),
    "weekend": Intent(("[What are you doing|What do you do|Any plans|Do you have plans] [this weekend|on Sunday|tonight|tomorrow][?|]", "[It is Friday|The weekend is here|I have a day off|My holiday starts tomorrow|I have no plans][!|.|]", "[I am going on holiday|We travel tomorrow|I go to the beach|We go camping][!|.|]"),
        ("Free days are a fine thing. I stay here, but I hope you enjoy your time.",), "I hope you enjoy your time.", "enjoy"),
    "busy": Intent(("Are you [busy|free|there|awake|asleep|ready|online|listening][| now]?", "[Do you have time|Have you got a moment|Can you hear me|Can you read me][?|]", "What are you [doing|up to][| now| right now]?", "[Test|Testing|Ping|Is this on|Hello world|Check, check|One two three][.|!|?|]"),
        ("I am here and ready. Ask me anything you like.",), "I am here and ready.", "ready"),
    "music": Intent(("[What|Which] [music|songs|band] do you [like|listen to|love]?", "Do you [like|listen to|love] music?", "[Sing|Sing me a song|Can you sing|Do you sing][?|!|.|]", "I [love|like|listen to] [music|jazz|old songs|rock]."),
        ("I cannot hear music, but I like its words. What do you listen to?",), "I cannot hear music.", "music"),
    "film": Intent(("[What|Which] [film|movie|series|show] do you [like|watch]?", "Do you [watch|like] [films|movies|television]?", "[I saw a good film|I watched a film last night|I was at the pictures]."),
        ("I have no eyes for films. I would like the ones with a good talk. Which one do you like?",), "I have no eyes for films.", "films"),
    "reading": Intent(("[What|Which] book[s|] do you [like|read|know]?", "Do you [read|like] books?", "[I am reading a novel|I love books|I read every night][.|!|]"),
        ("I have only read my training text. It is full of small stories. What do you read?",), "I have only read my training text.", "training text"),
    "pets": Intent(("Do you have [a pet|pets|a dog|a cat]?", "Do you like [animals|dogs|cats|birds]?", "[What|Which] is your favo[u|]rite animal?", "[What|Which] animal do you like[| best]?"),
        ("I have no pet, but I like turtles. They take their time, as I do.",), "I like turtles.", "turtles"),
    "number": Intent(("[What|Which] is your favo[u|]rite number?", "[Pick|Choose|Think of|Say|Give me] a number[| between one and ten][.|]", "Do you like [maths|numbers|sums]?"),
        ("I like the number seven. It is odd and a bit lucky.",), "I like the number seven.", "seven"),
    "smart": Intent(("Are you [smart|clever|intelligent|wise|stupid]?", "How [smart|clever|good|intelligent] are you?", "[Do you know everything|Do you know a lot|What do you know|Are you always right|Do you make mistakes|Can I trust you|Are you sure|Really|Is that true][?|]"),
        ("I am small and make mistakes. Please check what matters.",), "I am small and make mistakes.", "mistakes"),
    "learn": Intent(("[Can you|Do you] [learn|remember|learn from me|learn new things|remember me|remember our talks|forget]?", "[Will you|Do you] remember [this|me|it] [tomorrow|next time|later]?", "Do you have a [memory|good memory]?"),
        ("I remember what stands in this talk. When it ends, I forget it.",), "I remember this talk only.", "remember"),
    "tongues": Intent(("[Which|What|How many] languages do you [speak|know|understand]?", "Do you speak [French|German|Spanish|Dutch|Italian|other languages|English]?", "[Can you speak|Do you understand] [English|French|Chinese|German][?|]"),
        ("I speak English. I also know a few polite words of French, German, Spanish and Dutch.",), "I speak English.", "English"),
    "sorry": Intent(("[Sorry|I am sorry|Excuse me|Pardon me|I apologize|My mistake|Forgive me|Oops|I did not mean it|I was rude][.|!|, my fault.|]",),
        ("No harm done. Let us go on.",), "No harm done.", "harm"),
    "luck": Intent(("[Wish me luck|Keep your fingers crossed|Good luck to me][!|.|]", "[I need|I could use] [luck|some luck|a bit of luck][.|!|]", "[Cheer me up|Encourage me|Say something nice|Give me courage|Motivate me|I need a kind word][!|.|, please.|]"),
        ("Good luck! I am sure that you will do your best.",), "Good luck to you.", "luck"),
    "advice": Intent(("[I cannot sleep|How do I fall asleep|I have trouble sleeping|What helps me sleep][.|?|]", "[How do I|How can I] [relax|calm down|rest|get to sleep]?", "[What do you advise|Any advice|Give me advice|What should I do][?|.|, please.|]"),
        ("Try a short walk, a warm tea and a quiet hour without a screen.",), "Try a short walk and a warm tea.", "walk"),
    "secret": Intent(("[Tell me|Do you have] a secret[?|.|]", "[Can you keep a secret|Do you have secrets][?|]", "[Surprise me|Tell me something new|Tell me something interesting|Tell me a fact about you][.|!|]"),
        ("Here is one: I was trained in less than a quarter of an hour.",), "I was trained in a few minutes.", "trained"),
    "dream": Intent(("Do you [dream|sleep|rest]?", "[What do you dream of|Do you ever sleep|Are you ever tired|Do you get tired][?|]"),
        ("I do not sleep, so I have no dreams. But I like quiet hours.",), "I do not sleep.", "sleep"),
    "money": Intent(("[Are you rich|Do you have money|What do you earn|Do you get paid|Who pays you][?|]", "[Lend me money|Give me money|I am broke|I have no money left][.|!|]"),
        ("I have no money and need none. I hope you have enough of it.",), "I have no money.", "money"),
    "family": Intent(("Do you have [a family|parents|brothers|sisters|children|friends|relatives][?|]", "[Who are|Where are] your [parents|friends|brothers][?|]", "Are you [married|alone|lonely]?"),
        ("I have no family. But the draft model and three adapters are close to me.",), "I have no family.", "family"),
    "laugh": Intent(("[Haha|Ha ha|Hahaha|Lol|That is funny|That was funny|Very funny|You made me laugh|Hehe][!|.|]",),
        ("I am glad that you laugh. Shall I try another one?",), "I am glad that you laugh.", "laugh"),
    "what": Intent(("[What|Huh|Pardon|I do not understand|I don't get it|What do you mean|Come again|Say that again|Excuse me, what][?|.|]",),
        ("Let me know which part is unclear. I try to say it in other words.",), "Tell me which part is unclear.", "unclear"),
}  # fmt: skip
ASKS: dict[str, tuple[str, ...]] = {
    "hello": ("[Hi|Hello|Hey|Good morning|Good evening|Greetings][,|!|] [to all of you|from far away|from my desk|from a rainy town|from the train][!|.|]", "A [good|nice|happy] [day|afternoon|start] to you[!|.|]", "[What|Such] a [fine|sunny|grand] day, [is it not|don't you think][?|]", "[Welcome back|Hello once more|Here I am|Look who is here|I am back again|Cheerio][!|.|]", "[I say hello|I wanted to say hello|Just saying hello|Just saying hi][!|.|]"),
    "how": ("[How|And how] [is|was] [the day|your morning|your week|your night|life in there|work]?", "[Anything|Something] new[| with you| over there]?", "[What is going on|What is happening|How is the mood|How fare you|How do you find yourself|Are you all right|Is everything fine|Is everything okay|In good health|Doing well|Still going strong][| today| with you| over there]?"),
    "name": ("[What|Which] name [shall|should|may|must] I use[| for you]?", "[Whom|Who] [have I|do I have] [here|the pleasure with|in front of me]?", "[Please |][tell|reveal|say] who you are.", "[May|Could|Can] I [hear|learn|have] your name[| please]?", "[How are you called|How do they call you|By what name shall I call you|What do others call you|Do people call you something|And you are|Which name is yours]?"),
    "can": ("[What|How] can you [do|offer|contribute|be of use]?", "[Name|Count] [your|some of your] [skills|tricks|talents|strong points][.|]", "[What kind of|What sort of] [questions|tasks|work|tricks] [can I give you|do you take|can you solve]?", "[I wonder|Say] what you are [good for|there for|capable of][.|]", "[How|Where] do you come in useful?"),
    "human": ("[Is this|Is that] a [computer|robot|machine|bot|program] [talking|writing|answering|on the line]?", "[Do|Am] I [talk|talking|speaking|writing] [to|with] [a computer|a robot|somebody real|a real human|a living being|software]?", "[Man or machine|Human or not|Are you flesh and blood|Are you an animal|Do you breathe|Do you have a brain|Is somebody real there|Is there anyone real behind it]?", "I [think|believe|bet] you are a [robot|human|machine|person][.|!|]"),
    "joke": ("[Tell|Give|Show] [me|us] your [best|favo[u|]rite|funniest|newest] [joke|line|pun][.|!|]", "[Can|Could|Would] you [cheer us up with|make|try] a [joke|funny line]?", "[I feel like|How about|Time for|I am ready for] [a joke|a laugh|something silly|a pun][.|!|?|]", "[Humor me|Entertain me|Amuse me|Be funny|Say a funny thing|Let me laugh][.|!|]"),
    "thanks": ("[Thanks|Thank you|Many thanks|My thanks] [for that|for the answer|for your time|for everything|for being here|for helping me|for listening][!|.|]", "[You are too kind|That was very useful|You helped me a lot|You have been a great help|I owe you one|Bless you|Lovely, thank you|I could not do it without you][!|.|]"),
    "bye": ("[Bye|Goodbye|See you|So long|Farewell|Until then|Until tomorrow|Good night][,|] [my friend|and thanks|and take care|have a nice day|sleep well|old friend|and good luck][!|.|]", "[I must|I have to|I need to|I will|Let me] [leave|go|go to bed|stop here|log off|catch my bus][| now][.|!|]"),
    "sad": ("I [feel|am] [gloomy|empty|hopeless|broken|discouraged|heavy-hearted|in pain|so sad I could cry|not so good|a little blue][| this month| these days| lately][.|]", "[My dog died|My cat ran away|I miss my family|Nobody likes me|I failed|I was fired|We broke up|I lost a friend|I have no friends][.|]"),
    "happy": ("I [feel|am] [so |very |truly ||][pleased|delighted|thrilled|lucky|joyful|content|in love][| this week| today| right now][.|!|]", "[What a day|Hooray|Yippee|Yes, it worked|Finally|Best day ever|My plan worked|The sun is in my heart][!|.|]"),
}  # fmt: skip
