"""FlowRunner's middleware on Azure Functions: settings, parts, routes. Everything else has a room of its own."""

from pathlib import Path

import azure.functions as func

from functions import about, auth_callback, me, metadata, operations, retention_timer, run_flow
from functions._http import Edge
from shared import compose, settings

settings.assert_own_package(Path(__file__).parent)
chosen = settings.load()
use = compose.build(chosen)
edge = Edge(use.sign_in, use.emit, use.clock, use.randomness, frozenset(chosen.cors_origins))

blueprints = (
    about.blueprint(edge, use.readiness),
    me.blueprint(edge, use.read_me),
    auth_callback.connecting(edge, use.begin_connect, use.park_code, use.complete_connect),
    auth_callback.connected(edge, use.read_me, use.read_connection, use.end_connection),
    metadata.blueprint(edge, use.list_flows, use.describe_flow),
    run_flow.blueprint(edge, use.run_flow),
    operations.blueprint(edge, use.enrol),
    retention_timer.blueprint(edge, use.end_stale_runs),
)

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
for each in (*blueprints, about.fallback(edge, blueprints)):
    app.register_functions(each)
