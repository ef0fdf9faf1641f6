"""Other people's message formats: read on the way in, written on the way out."""
