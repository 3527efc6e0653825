"""Dates as all our own pages write them: 30 Nov 2026 21:50:04."""

DATE_FORMAT = "j M Y"
TIME_FORMAT = "H:i:s"
DATETIME_FORMAT = "j M Y H:i:s"
