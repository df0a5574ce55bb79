"""What travels between the API and its clients: one model per noun, shared by both sides."""
