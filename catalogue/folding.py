"""Words as they are looked for: no capitals, no accents, in every script and database alike."""

import unicodedata

from django.db import models


def fold(text: str) -> str:
    """
    >>> fold("Übungsheft"), fold("Красный"), fold("Straße")
    ('ubungsheft', 'красныи', 'strasse')
    """
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in parts if unicodedata.category(letter) != "Mn")


class FoldedField(models.TextField):
    """Another field of the row, folded; whoever saves the row need not think of it."""

    def __init__(self, of: str = "", **options):
        self.of = of
        super().__init__(**{"editable": False, "default": "", **options})

    def deconstruct(self):
        name, path, args, options = super().deconstruct()
        return name, path, args, {**options, "of": self.of}

    def pre_save(self, instance, add):
        folded = fold(getattr(instance, self.of))
        setattr(instance, self.attname, folded)
        return folded
