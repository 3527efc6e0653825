"""Middleware of the admin."""

from __future__ import annotations

from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse

LIVE = "HX-Request"


class PageSessions(SessionMiddleware):
    """Each page prolongs the session; a part that refreshes itself does not, and writes no row.

    A tab left open would otherwise keep a login alive for ever."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        polled = request.method == "GET" and LIVE in request.headers
        if not polled:
            return super().process_response(request, response)
        if response.status_code == 302:  # to the login: htmx would show it inside the page
            return HttpResponse(headers={"HX-Refresh": "true"})
        return response
