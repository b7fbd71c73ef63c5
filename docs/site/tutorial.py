"""Runs docs/tutorial.ipynb in an empty folder and stores its outputs: `make tutorial`."""

import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

TUTORIAL = Path(__file__).parents[1] / "tutorial.ipynb"
SHOWN = ("display_data", "execute_result")


def execute(path: Path = TUTORIAL) -> nbformat.NotebookNode:
    """Execute a notebook in a folder of its own; the first cell that fails raises.

    Args:
        path: of the notebook.

    Returns:
        The notebook with the outputs that a reader sees: displayed values, without streams of libraries.
    """
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=600, resources={"metadata": {"path": folder}}).execute()
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.output_type in SHOWN]
    return notebook


if __name__ == "__main__":
    nbformat.write(execute(), TUTORIAL)
