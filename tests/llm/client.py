"""Asks a model through the gateway with the official client, and prints what it learns, one JSON object a line."""

import json
import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1], api_key="sk-test", max_retries=0)
messages = [{"role": "user", "content": "hello"}]


def tell(**what):
    print(json.dumps(what), flush=True)


answer = client.chat.completions.create(model="m", messages=messages)
tell(text=answer.choices[0].message.content, tokens=answer.usage.total_tokens)

text, tokens = "", None
stream = client.chat.completions.create(
    model="m", messages=messages, stream=True, stream_options={"include_usage": True}
)
for chunk in stream:
    if chunk.usage:
        tokens = chunk.usage.total_tokens
    for choice in chunk.choices:
        text += choice.delta.content or ""
tell(text=text, tokens=tokens)

try:
    client.chat.completions.create(model="m", messages=messages)
except openai.RateLimitError as error:
    tell(status=error.status_code, retry_after=error.response.headers["retry-after"])
