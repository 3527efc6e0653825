"""The bundled demo model: its corpus, its training and its evaluation."""
