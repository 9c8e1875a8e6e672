"""The local proxy: any OpenAI client on this machine, its requests encrypted to what was examined."""
