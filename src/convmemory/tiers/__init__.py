"""What both stores share: drivers' errors in our words, socket checks, the breaker, spans and metrics, waiting."""
