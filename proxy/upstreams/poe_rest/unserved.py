"""What an endpoint of Poe's REST API says when it does not serve a model: nobody is at fault, and another may."""

from proxy.core.failures import PoeError


class EndpointRefused(PoeError):
    """The endpoint does not serve this model, whoever asks. It cost nothing: the model can be asked another way."""

    kind = "unsupported_endpoint"
    default_message = "Poe does not serve this model over the API that was asked for it."
