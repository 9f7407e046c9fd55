"""Server-side apply: who manages which fields, and what an applied configuration makes of them."""
