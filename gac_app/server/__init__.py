"""The FastAPI host: the page mounted at `/`, health routes, and the routes that stay shut. It knows nothing of models,
prompts or the database: it asks the service and shows the answer.
"""
