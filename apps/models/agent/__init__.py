"""The agent: starts and stops engines on its host until actual state equals desired state."""
