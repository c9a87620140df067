"""A day in the life of an agent: its repositories, what becomes of the news of each push, and the account of it."""
