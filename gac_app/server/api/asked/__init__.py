"""What bodies of requests consist of. `requests` and `response_models` put it together."""
