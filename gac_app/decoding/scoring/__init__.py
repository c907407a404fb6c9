"""The log-probability that the ensemble gives to a text. Knows no sampling."""
