"""The API for programs, in OpenAI's form: what is asked, what is answered, who may ask."""
