"""The SQL contract, on a real PostgreSQL with what a Supabase project has."""
