"""The pages for people: a wallet to pay with, an explorer, the callback log and the settings."""
