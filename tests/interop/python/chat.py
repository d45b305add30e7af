"""OpenAI's own client against a server of chat completions.

Usage: chat.py --base URL TEXT

Prints the answer as one piece, then the same streamed: two lines.
"""

import argparse

from openai import OpenAI

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--base", required=True)
parser.add_argument("text")
args = parser.parse_args()

client = OpenAI(base_url=args.base, api_key="of no worth", max_retries=0, timeout=30)
asked = {"model": "scripted", "messages": [{"role": "user", "content": args.text}]}
print(client.chat.completions.create(**asked).choices[0].message.content)
chunks = client.chat.completions.create(**asked, stream=True)
print("".join(chunk.choices[0].delta.content or "" for chunk in chunks))
