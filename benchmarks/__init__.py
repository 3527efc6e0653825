"""Speed, measured beside a control in the same run: `make bench`. See benchmarks/README.md."""
