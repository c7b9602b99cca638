"""Tables as MLflow's table view takes them: JSON at the root of a run, and a tag that names it.

`MlflowClient.log_table` adds rows to a table that is there already, so a call that is repeated
after a lost answer would double them. Here the same table is the same file, however often it comes.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.tracking import MlflowClient

TAG = "mlflow.loggedArtifacts"
"""Where MLflow's pages look for the tables of a run."""
ONE_DOT = "\N{ONE DOT LEADER}"
"""Looks like a full stop, which MLflow's table view would read as the path of a nested value."""
DIGITS = 4
"""Decimal places of fractions: MLflow's pages show a number with all the digits that it has."""


def table_content(frame: pd.DataFrame) -> dict[str, list[Any]]:
    """Turn a table into JSON's terms.

    Args:
        frame: flat columns; the index is left out.

    Returns:
        ``columns``: names without a full stop; ``data``: rows. Fractions have `DIGITS` decimal
        places; what is missing, not a number or infinite is None.

    Example:
        >>> import pandas as pd
        >>> table_content(pd.DataFrame({"q=0.5": [1 / 3, float("nan")], "n": [1, 2]}))
        {'columns': ['q=0․5', 'n'], 'data': [[0.3333, 1], [None, 2]]}
    """  # noqa: RUF002  the leader in the example is the point of it
    columns = [str(name).replace(".", ONE_DOT) for name in frame.columns]
    cells = [[_plain(cell) for cell in frame[name].tolist()] for name in frame.columns]
    return {"columns": columns, "data": [list(row) for row in zip(*cells, strict=True)]}


def put_table(client: MlflowClient, run_id: str, name: str, cells: Mapping[str, list[Any]]) -> None:
    """Put a table into a run, in place of one with the same name; raises what the store raises.

    Args:
        client: of the store.
        run_id: which run.
        name: of the table; the file is ``<name>.json``.
        cells: as `table_content` gives them.
    """
    file = f"{name}.json"
    with tempfile.TemporaryDirectory(prefix="protein-robust-") as folder:
        path = Path(folder) / file
        path.write_text(json.dumps(cells), encoding="utf-8")
        client.log_artifact(run_id, str(path))
    listed = json.loads(client.get_run(run_id).data.tags.get(TAG, "[]"))
    entry = {"path": file, "type": "table"}
    if entry not in listed:
        client.set_tag(run_id, TAG, json.dumps([*listed, entry]))


def _plain(cell: Any) -> Any:
    """One cell as JSON has it."""
    if isinstance(cell, float):
        return round(cell, DIGITS) if math.isfinite(cell) else None
    return cell if isinstance(cell, bool | int) else None if _is_missing(cell) else str(cell)


def _is_missing(cell: object) -> bool:
    """Tell pandas' several kinds of nothing."""
    import pandas as pd

    return cell is None or cell is pd.NA or cell is pd.NaT
