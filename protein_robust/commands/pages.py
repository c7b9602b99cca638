"""The command that serves MLflow's pages."""

from __future__ import annotations

import argparse

from protein_robust.console import output
from protein_robust.tracking import list_studies, resolve_uri, serve_ui, study_links


def open_ui(parsed: argparse.Namespace) -> int:
    """Serve MLflow's pages until Ctrl-C."""
    resolved = resolve_uri(parsed.uri)
    server = serve_ui(resolved, port=parsed.port)
    try:
        output.print(f"MLflow at http://127.0.0.1:{parsed.port} in about 15 s; Ctrl-C ends it.")
        for experiment_id, study in list_studies(resolved):
            link = study_links(experiment_id, study, pages=f"http://127.0.0.1:{parsed.port}")[
                "charts"
            ]
            output.print(f"  {study}: {link}", markup=False, soft_wrap=True)
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        server.terminate()
        server.wait()
