"""LoRA adapters: what a folder must hold, where weights reside, which slot a row uses."""
