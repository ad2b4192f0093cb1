"""Blockonomics: the only package that knows its words. https://developers.blockonomics.co/reference

`client` speaks HTTP, `messages` gives exact types to what is said, `checks` looks at the settings,
and `provider` translates all of it into the words of the border.
"""

from .client import ADVICE, Client
from .provider import Blockonomics, asking_for_a_rate

__all__ = ["ADVICE", "Blockonomics", "Client", "asking_for_a_rate"]
