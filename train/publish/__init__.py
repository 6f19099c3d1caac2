"""Runs made into what the app answers with: weights, cards, and the records that prove their figures."""
