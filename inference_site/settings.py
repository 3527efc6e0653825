"""Django settings, derived from `ServerSettings`. SQLite embedded, PostgreSQL by URL."""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import urlsplit

import dj_database_url

from inference_site.admin_menu import unfold_config
from inference_site.config import server_settings
from inference_site.logs import logging_config
from inference_site.paths import STATIC
from inference_site.paths import TEMPLATES as TEMPLATE_FOLDER
from inference_site.secrets import database_password, load_secrets

PAGODA = server_settings()
PAGODA_SECRETS = load_secrets(PAGODA)

SECRET_KEY = PAGODA_SECRETS.secret_key
DEBUG = False
_public = urlsplit(PAGODA.base_url)
_tls = _public.scheme == "https"
_listens_on = [] if PAGODA.host in ("0.0.0.0", "::") else [PAGODA.host]
ALLOWED_HOSTS = list(
    dict.fromkeys(
        [
            _public.hostname or "localhost",
            *_listens_on,
            "localhost",
            "127.0.0.1",
            "[::1]",
            socket.gethostname(),
        ]
    )
)
CSRF_TRUSTED_ORIGINS = [f"{_public.scheme}://{_public.netloc}"]

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin.apps.SimpleAdminConfig",  # pages are loaded with the routes
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "axes",
    "csp",
    "django_prometheus",
    "apps.models.apps.CatalogConfig",
    "apps.api",
    "apps.lora.apps.LoraConfig",
    "apps.usage",
]
MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "inference_site.middleware.PageSessions",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "axes.middleware.AxesMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]
PROMETHEUS_LATENCY_BUCKETS = (0.01, 0.05, 0.1, 0.3, 1.0, 5.0)  # seconds; a series each and view
ROOT_URLCONF = "inference_site.urls"
ASGI_APPLICATION = "inference_site.asgi.application"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [TEMPLATE_FOLDER],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

DATABASES: dict[str, dict[str, Any]]
if PAGODA.embedded:
    PAGODA.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": PAGODA.home / "pagoda.sqlite3",
            "OPTIONS": {
                # IMMEDIATE: a transaction that will write waits for the lock instead of failing.
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            },
        }
    }
else:
    _database: dict[str, Any] = dict(dj_database_url.parse(PAGODA.database_url, conn_max_age=0))
    if (_password := database_password(PAGODA)) is not None:
        _database["PASSWORD"] = _password
    _options = _database.setdefault("OPTIONS", {})
    _options["pool"] = {
        "min_size": 1,
        "max_size": PAGODA.database_pool_size,
        "timeout": 10,
    }
    # Compiling a query takes PostgreSQL 0.1 to 0.2 s: more than any of ours takes to run.
    _options["options"] = f"{_options.get('options', '')} -c jit=off".strip()
    DATABASES = {"default": _database}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "apps.api.roles.RoleBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_ENABLE_ACCESS_FAILURE_LOG = False
AXES_VERBOSE = False
AXES_ENABLE_ADMIN = False  # its tables are no one's daily work
LOGIN_URL = "admin:login"

LANGUAGE_CODE = "en-us"
FORMAT_MODULE_PATH = ["inference_site.formats"]
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "/static/"
STATICFILES_DIRS = [STATIC]
WHITENOISE_USE_FINDERS = True  # files come from the installed packages; no collectstatic step
WHITENOISE_AUTOREFRESH = False

# Hardening. Cookies are Secure and HSTS is on as soon as the public URL is https.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _tls
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 30 * 60
SESSION_SAVE_EVERY_REQUEST = True  # the 30 minutes count from the last page
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_HSTS_SECONDS = 31_536_000 if _tls else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = _tls
SECURE_SSL_REDIRECT = _tls
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _tls else None
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 4 * 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2_000
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        # Unfold's Alpine evaluates expressions, and its templates hold inline styles.
        "script-src": ["'self'", "'unsafe-eval'"],
        "style-src": ["'self'", "'unsafe-inline'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'", "data:"],
        "frame-ancestors": ["'none'"],
        "object-src": ["'none'"],
        "base-uri": ["'self'"],
        "form-action": ["'self'"],
    }
}

REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Pagoda",
    "DESCRIPTION": "Managed LLM inference: an OpenAI-compatible endpoint with keys and usage.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",  # the bodies are JSON Schema 2020-12
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SERVE_INCLUDE_SCHEMA": False,
    "POSTPROCESSING_HOOKS": ["apps.api.openapi.add_schemas"],
    "ENABLE_DJANGO_DEPLOY_CHECK": False,  # the document has tests of its own
}

LOGGING = logging_config(PAGODA)
UNFOLD = unfold_config()
