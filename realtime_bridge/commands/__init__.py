"""The commands of `realtime-bridge`, one module each."""
