"""Answers that are none, though Poe said that they are complete: see the tree in ``core/failures.py``."""

from proxy.core.failures import Blame, PoeFailed, ProxyError


class AnswerTooLarge(ProxyError):
    """The answer is larger than ``MAX_ANSWER_BYTES`` allows, or has more parts than any answer should."""

    kind = "answer_too_large"
    default_message = "The answer of the model is larger than this proxy relays (MAX_ANSWER_BYTES)."


class TooManyAnswers(ProxyError):
    """The answers that a worker keeps take all the room there is for them, and this was the largest."""

    kind = "too_many_large_answers"
    default_message = "Too many large answers are under way here."

    def __init__(self) -> None:
        super().__init__(retry_after_s=1.0)


class EmptyAnswer(PoeFailed):
    """There was nothing in the answer. The prompt may be why: no key and no bot is blamed."""

    kind = "empty_answer"
    default_message = "The model gave an empty answer. Please try again, or ask in another way."


class NotTheJsonAskedFor(ProxyError):
    """The bot was asked for JSON twice and gave something else."""

    kind = "invalid_json_answer"
    blame = Blame.NOBODY
    default_message = "The model did not answer with the JSON that 'response_format' asks for, even when told again."
