"""The FastAPI host: the page mounted at `/`, health routes, and the doors that stay shut.

It knows nothing of models, prompts or the database: it asks the service, and shows what it says.
"""
