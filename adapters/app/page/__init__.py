"""The dashboard: one page, its styles and scripts; nothing is loaded from elsewhere."""
