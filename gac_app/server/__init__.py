"""The FastAPI host: the page mounted at `/`, health routes, and refusals. Knows no models, prompts or database: it asks
the services and passes on their answers.
"""
