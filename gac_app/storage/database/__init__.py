"""The connection: engine, schema, tables, the writing and the scrubbing thread, keys."""
