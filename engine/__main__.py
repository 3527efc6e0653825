"""`python -m engine`: one engine daemon. See `engine/daemon.py` for its flags."""

from __future__ import annotations

from engine.daemon import main

raise SystemExit(main())
