"""Rows that a Telegram Mini App inserts into Supabase become Telegram messages."""
