create extension "uuid-ossp" with schema extensions;
