//! What each long-running process needs: drain, listeners, telemetry, admin, membership sources.
