"""A double of Supabase and the Telegram Bot API, without Docker: see README.md."""
