"""Where demand comes from: public traces as published, a user's own data, the generator."""
