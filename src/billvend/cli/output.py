"""The output of commands: JSON for programs, tables and colours for a terminal, plain text for a pipe.

A command returns an `Output` with both forms. Only the one that is printed is built.
"""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from billvend.cli.blocks import Block, Columns, KeyValues, Line, Table, table
from billvend.cli.exits import Exit, Failure

if TYPE_CHECKING:
    from rich.console import Console

    from billvend.presentation.models import ResponseModel

COLUMN_GAP = 2
"""Blanks between columns."""


@dataclass(frozen=True, slots=True)
class Output:
    """The result of a command."""

    document: Callable[[], object]
    """Builds the JSON document."""
    text: Callable[[], Iterable[Block]]
    """Builds the same for people."""
    status: Exit = Exit.DONE


def result(document: object, *blocks: Block, status: Exit = Exit.DONE) -> Output:
    """An output of which both forms are there already. The document may be a model."""
    return Output(lambda: document, lambda: blocks, status)


def listing(
    model: "type[ResponseModel]", values: Sequence[object], columns: Columns, *, empty: str = ""
) -> Output:
    """A list of values as models. Its table shows members of the models. `empty` is the text for no values."""
    items = [model.model_validate(value).to_json() for value in values]
    return result({"items": items}, table(items, columns, empty=empty))


def print_output(as_json: bool, output: Output) -> Exit:
    """Print the result of a command, as JSON or as text. Returns its exit status."""
    if as_json:
        from billvend.presentation.models import dumps

        sys.stdout.write(dumps(output.document(), indent=2 if is_terminal(sys.stdout) else None) + "\n")
    else:
        print_blocks(*output.text())
    return output.status


def print_blocks(*blocks: Block, to: IO[str] | None = None) -> None:
    """Print blocks to a terminal or a pipe. Default: stdout."""
    stream = to or sys.stdout
    if is_terminal(stream):
        _render(terminal(stream), blocks)
    else:
        stream.writelines(f"{line}\n" for block in blocks for line in _plain_lines(block))
        stream.flush()


def fail(as_json: bool, failure: Failure) -> None:
    """Print an error in one line on stderr. With `--json` also as a document on stdout."""
    message = sanitize(" ".join(failure.message.split()))
    if as_json:
        error: dict[str, object] = {"code": failure.code, "message": message}
        error |= {"fields": failure.fields} if failure.fields else {}
        sys.stdout.write(json.dumps({"error": {**error, **failure.extra_members}}) + "\n")
    sys.stderr.write(f"Error: {message}\n")


def is_terminal(stream: IO[str] | None) -> bool:
    """Whether the stream is a terminal."""
    return stream is not None and stream.isatty()


def terminal(stream: IO[str] | None = None) -> "Console":
    """The terminal on stdout, or on another stream. Text is printed literally, never as markup."""
    from rich.console import Console

    return Console(file=stream or sys.stdout, markup=False, highlight=False, emoji=False)


def sanitize(text: str) -> str:
    """Text without line breaks and control characters, so that foreign text cannot control the terminal."""
    return "".join(
        character if character.isprintable() else " " if character.isspace() else "?" for character in text
    )


def _plain_lines(block: Block) -> Iterable[str]:
    match block:
        case Line(text):
            return [sanitize(text)]
        case KeyValues(rows):
            return _aligned(rows)
        case Table(headings, rows):
            return _aligned([headings, *rows])


def _aligned(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    rows = [[sanitize(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield (" " * COLUMN_GAP).join(map(str.ljust, row, widths)).rstrip()


def _render(console: "Console", blocks: Sequence[Block]) -> None:
    from rich.table import Table as Grid
    from rich.text import Text

    for block in blocks:
        if isinstance(block, Line):
            console.print(Text(sanitize(block.text), style=block.style), soft_wrap=True)
            continue
        grid = Grid(box=None, padding=(0, COLUMN_GAP, 0, 0), header_style="bold cyan")
        if isinstance(block, KeyValues):
            grid.show_header, grid.pad_edge = False, False
            grid.add_column(style="cyan", no_wrap=True)
            grid.add_column(overflow="fold")
        else:
            unwrapped = _unwrapped_columns(block, console.width)
            for column, heading in enumerate(block.headings):
                grid.add_column(heading, overflow="fold", no_wrap=column in unwrapped)
        for row in block.rows:
            grid.add_row(*(Text(sanitize(cell)) for cell in row))
        console.print(grid)


def _unwrapped_columns(table: Table, width: int) -> set[int]:
    """The columns of single words (ids, meters), which are not wrapped while wrapping the others is enough.

    On a terminal that is too narrow for that, all columns are wrapped. Nothing is cut off.
    """
    columns = [list(column) for column in zip(table.headings, *table.rows, strict=True)]
    min_widths = [max(len(word) for cell in cells for word in cell.split()) for cells in columns]
    if sum(min_widths) + COLUMN_GAP * len(columns) > width:
        return set()
    return {column for column, cells in enumerate(columns) if not any(" " in cell for cell in cells[1:])}
