"""Questions about Pagoda itself, answered from its design."""

from __future__ import annotations

from random import Random

from demo.corpus.core import Split, Turn, as_typed, pick, with_chatter

# (ways to ask, answer, a word the answer must hold)
FACTS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (("What is [Pagoda|this service|this system]?", "[Tell me about|Explain|Describe|Introduce] Pagoda[.|]", "What does Pagoda do?", "[Can you explain|Do you know|What do you know about] Pagoda?", "What [kind of|sort of] [software|service|tool] is Pagoda?"),
     "Pagoda is a managed inference service for language models. One command gives you an OpenAI-compatible endpoint with API keys, adapters, usage accounting and an admin site.", "inference"),
    (("[Where does the name|Where did the name] Pagoda come from?", "Why is it called Pagoda?", "What does [the name |]Pagoda [mean|stand for]?"),
     "The name comes from paged attention on Django. Paged attention is how the engine keeps its memory, and Django is the web framework.", "Django"),
    (("How [do|can] I start Pagoda?", "How [is Pagoda started|do I run Pagoda|do I launch Pagoda|does one start the server|do I start the server]?", "[What|Which] command starts [Pagoda|the server|the service]?", "How do I get Pagoda [running|up]?"),
     "Run the command make serve, or manage.py serve with a model. It starts Redis, the web server, the engine and everything else.", "serve"),
    (("How [do|can] I stop [Pagoda|the server|it]?", "How is Pagoda stopped?", "[What|Which] key stops Pagoda?", "How do I shut [Pagoda|the server] down?"),
     "Press Ctrl-C once. The launcher stops the web server first, then the engines, then the settler and then Redis.", "Ctrl-C"),
    (("[Where is|How do I find|How do I open|What is] the admin[ site| page||]?", "How [can I|do I] [reach|see] the admin[| site| pages]?", "What [is the admin site for|can I do in the admin|does the admin show]?"),
     "The admin site is at the path /admin of the web server. It shows models, adapters, keys and usage.", "/admin"),
    (("[What does an API key look like|How does an API key look|How do API keys look]?", "[What do|How do] [keys|API keys] [start|begin][| with]?", "[What|Which] prefix do [the |][API |]keys have?", "How can I recognise [a Pagoda|an API] key?"),
     "An API key starts with pgd_. Pagoda stores only a digest of it, so keep the key in a safe place.", "pgd_"),
    (("How [do|can] I [make|create|get] [an API key|a key|a new key]?", "Where [do|can] I [make|create|get] [an API key|a key]?", "Who [makes|gives out] API keys?"),
     "You make an API key in the admin site. The whole key is shown once, so copy it at once.", "admin"),
    (("How [do|can] I [load|add|install|use] [an adapter|a LoRA adapter|adapters|LoRA]?", "How [are adapters|is a LoRA adapter|is an adapter] loaded?", "[Can|Does] Pagoda load adapters[| at run time]?", "Do I need a restart to load an adapter?"),
     "Upload an adapter in the admin site or name its path, and Pagoda loads it at run time. No restart is needed.", "run time"),
    (("What is [an adapter|a LoRA adapter|LoRA|a LoRA]?", "[Explain|Describe] [adapters|LoRA|LoRA adapters][.|]", "What are [adapters|LoRA adapters][| good| used] for?"),
     "An adapter is a small set of weights that changes how a model behaves. Pagoda loads LoRA adapters next to a base model.", "weights"),
    (("How [do|can] I [use|call|ask] [a loaded adapter|an adapter] in a request?", "[What|Which] model name does an adapter have?", "How do I choose an adapter[| in the API]?"),
     "Write the name of the adapter as the model of your request. Loaded adapters are listed at /v1/models.", "model"),
    (("Which adapters [come with|are in|belong to] the demo[| model]?", "What [demo adapters|bundled adapters] [are there|exist]?", "[Which|What] adapters do you have?"),
     "The demo has three adapters: pirate, json-only and terse. Each one changes my answers in its own way.", "pirate"),
    (("[Which|What] API does Pagoda [have|offer|speak|use]?", "Is Pagoda [compatible with OpenAI|OpenAI compatible|OpenAI-compatible]?", "Can I use the OpenAI client[| with Pagoda]?", "Which client [works with|can I use with] Pagoda?"),
     "Pagoda speaks the OpenAI API. Point the official client at the /v1 path and use a Pagoda key.", "OpenAI"),
    (("[Which|What] [web framework|framework] does Pagoda use?", "Is Pagoda [built on|written in|based on] Django?", "What is Pagoda [built on|written in|made with]?"),
     "Pagoda is written in Python. The web part is built on Django and Channels, the engine on torch and Triton.", "Django"),
    (("[Which|What] database does Pagoda use?", "[Where does Pagoda store its data|What is the default database|Does Pagoda need PostgreSQL|Can Pagoda use PostgreSQL]?"),
     "Pagoda uses SQLite by default. For production set PAGODA_DATABASE_URL to a PostgreSQL database.", "SQLite"),
    (("[Does Pagoda need|Do I need|Do I have to install|What is the role of|Why is there|What does Pagoda use|How does Pagoda use] Redis[| for]?", "How do web and engine [talk|communicate]?"),
     "Web and engine talk over Redis streams. A private Redis starts with serve, or you set PAGODA_REDIS_URL.", "Redis"),
    (("[Does Pagoda need|Do I need|Is there need for] a GPU[| for Pagoda]?", "[Can Pagoda run|Does Pagoda run|Will it run] [on a CPU|without a GPU|on my laptop]?"),
     "Pagoda runs on a CPU too, only slower. With a GPU it uses its own Triton kernels.", "CPU"),
    (("How does Pagoda count [tokens|usage]?", "[Is usage|Are tokens] [counted|recorded]?", "How [is usage|are tokens] [counted|tracked|accounted]?", "What is [usage accounting|the settler]?", "How exact is the usage[| accounting]?"),
     "The engine counts tokens at the sampler. The settler writes exactly one usage record for each request, so nothing is lost or counted twice.", "settler"),
    (("What [happens|does Pagoda do] [if|when] [an engine dies|the engine crashes|an engine fails]?", "Is a request lost when an engine dies?"),
     "Before the first token the request is sent to another engine. After it, the client gets an error event and the stream is closed.", "error"),
    (("What is paged attention?", "[Explain|Describe] paged attention[.|]", "How does paged attention work?", "Why does Pagoda use paged attention?"),
     "Paged attention keeps the keys and values of a request in small blocks of memory. So no memory is wasted and equal beginnings are shared.", "blocks"),
    (("What is [the prefix cache|prefix caching|a prefix cache]?", "How does the prefix cache work?", "[Explain|Describe] the prefix cache[.|]"),
     "The prefix cache keeps blocks of earlier prompts. A new prompt with the same beginning does not compute them again.", "prompt"),
    (("What is speculative decoding?", "[What is a draft model|What is the draft model for|Why is there a draft model|How does speculative decoding work]?", "[Explain|Describe] speculative decoding[.|]"),
     "A small draft model guesses some tokens and the large model checks them at once. The text stays the same and comes faster.", "draft"),
    (("Does Pagoda [stream|support streaming]?", "How [does streaming work|are answers streamed|do I stream an answer]?", "Can I stream [tokens|answers|the answer]?"),
     "Set stream to true and the tokens come as server-sent events. A WebSocket works as well.", "stream"),
    (("What limits [can a key have|are there|does a key have]?", "[Are there|Does Pagoda have] rate limits?", "How [do limits work|can I limit a key|do I limit usage]?"),
     "A key can limit requests and tokens per minute, running requests and a budget. A refusal names the limit and says when to retry.", "limit"),
    (("Where are the settings[| of Pagoda]?", "How [do|can] I configure Pagoda?", "[What|Which] [environment variables|settings] does Pagoda [have|read]?", "[What|Which] prefix do the settings have?"),
     "Settings are environment variables that start with PAGODA_. They are listed in docs/configuration.md.", "PAGODA_"),
    (("How [do|can] I see if Pagoda is healthy?", "[What|Which] health [checks|endpoints|pages] [are there|does Pagoda have]?", "Is there a health check?", "How do I check the health of Pagoda?"),
     "Ask /health. There are also /livez for the process and /readyz for a web process that can take requests.", "/health"),
    (("Does Pagoda [have|export|offer] metrics?", "Where are the metrics?", "How [do|can] I [monitor|watch] Pagoda?"),
     "The path /metrics gives figures for Prometheus. The admin site shows charts of the usage.", "/metrics"),
    (("[What|Which] structured output does Pagoda [have|support|offer]?", "Can Pagoda [force JSON|make valid JSON|follow a schema]?", "How [do|can] I get [JSON output|structured output]?"),
     "Send a JSON schema as response_format. The engine then allows only tokens that fit the schema.", "schema"),
    (("Does Pagoda support [tool calls|tools|functions|function calling]?", "How do [tools|tool calls] work[| in Pagoda]?", "Can I use tools[| with Pagoda]?"),
     "Send a list of tools with your request. The model answers with tool calls, and you send the results back.", "tool"),
    (("What is the agent[| in Pagoda]?", "What does the [Pagoda |]agent do?"),
     "The agent runs on each GPU host. It starts engines, loads adapters and makes the actual state match the desired one.", "engines"),
    (("What is the demo model?", "[How big|How large|How small] [are you|is the demo model]?", "How many parameters [do you have|does the demo model have]?", "What model are you?", "[What kind of|Which] model are you?"),
     "I am the demo model of Pagoda. I have about twelve million parameters and was trained on text written for Pagoda.", "parameters"),
    (("What is your context[| length| size]?", "How long [can a prompt be|is your context]?", "How many tokens can you [read|take]?"),
     "My context is 2,048 tokens long. Prompt and answer share it.", "2,048"),
    (("How [do|can] I add [another|a new|my own] model?", "[Can I serve|Can Pagoda serve|How do I serve] [other models|another model|my own model]?", "[Which|What] models [can Pagoda serve|does Pagoda support]?"),
     "Register a model in the admin site with a path or a hub name. The agent then loads it and the state becomes ready.", "admin"),
    (("How [do|can] I list the models?", "Where [can I see|is the list of] [the |][models|loaded models]?", "[What|Which] models are loaded?"),
     "Ask the path /v1/models with your key. It lists base models and adapters.", "/v1/models"),
    (("[What|Which] [licence|license] does Pagoda have?", "Who [wrote|made|develops|built] Pagoda?", "Is Pagoda open source?"),
     "I do not know more than the docs of Pagoda. Please look into the file README.md.", "README"),
)  # fmt: skip


def make(rng: Random, split: Split) -> Turn:
    """One question about Pagoda. There is no split: the facts are few and are meant to be known."""
    del split
    asks, reply, must = rng.choice(FACTS)
    short = reply.split(". ")[0].rstrip(".") + "."
    return Turn(user=with_chatter(rng, as_typed(rng, pick(rng, asks))), reply=reply, short=short, value=reply,
                expect={"kind": "contains", "value": [must]}, think="This is a question about Pagoda. I know it from the docs.")  # fmt: skip
