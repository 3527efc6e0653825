curl http://0.0.0.0:8000/metrics
