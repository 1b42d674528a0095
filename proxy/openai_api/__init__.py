"""The dialect that clients speak: requests, answers, chunks and error bodies of OpenAI's API. Pure."""
