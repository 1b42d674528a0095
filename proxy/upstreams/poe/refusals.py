"""What a request may ask for that Poe, or an endpoint of its, does not have. Pure."""

from proxy.core.chat_request import Options
from proxy.core.failures import UnsupportedFeature


def refuse_log_probabilities(options: Options) -> None:
    """Raises UnsupportedFeature: the request wants to know how likely each token was."""
    if options.logprobs or options.top_logprobs:
        param = "logprobs" if options.logprobs else "top_logprobs"
        raise UnsupportedFeature("This model gives no log probabilities.", param=param)


def refuse_audio(options: Options) -> None:
    """Raises UnsupportedFeature: the answer is to be spoken."""
    if "audio" in options.modalities:
        raise UnsupportedFeature("Answers in audio are not supported.", param="modalities")
