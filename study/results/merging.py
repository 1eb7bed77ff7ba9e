"""Tables of `results/`: from the runs that are here, and of comparisons that ran elsewhere what was written of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from study.results.files import Row, read_csv, write_csv
from study.results.reading import Compared, in_order


@dataclass(frozen=True)
class Tables:
    """The CSV files that only runs can tell: of measured comparisons written anew, of kept ones as they are."""

    results: Path
    measured: Sequence[Compared]
    """Comparisons whose runs are here."""
    kept: Sequence[Compared]
    """Comparisons that `results/` alone knows."""

    @property
    def every(self) -> list[Compared]:
        """All of them, in the order of the tables."""
        return in_order([*self.measured, *self.kept])

    def measure(self, name: str, columns: Sequence[str], of: Callable[[Compared], Iterable[Row]]) -> list[Row]:
        """Write a table of single seeds, and return its rows as they stand in the file."""
        earlier = read_csv(self._file(name))
        own: dict[str, list[Row]] = {c.name: list(of(c)) for c in self.measured}
        own |= {c.name: [row for row in earlier if row["comparison"] == c.name] for c in self.kept}
        return self._write(name, columns, [row for c in self.every for row in own[c.name]])

    def summarize(self, name: str, columns: Sequence[str], rows: Iterable[Row]) -> list[Row]:
        """Write a table of means, and return its rows as they stand in the file.

        Args:
            name: Of the file.
            columns: Of the file.
            rows: Of all comparisons, worked out from the tables of single seeds. Those of kept comparisons stay as they
                were written, with the digits that their runs had; they are taken from here where the file has none.
        """
        names = {c.name for c in self.kept}
        places = {c.name: place for place, c in enumerate(self.every)}

        def is_kept(row: Row) -> bool:
            return row["comparison"] in names and (not row.get("minus") or row["minus"] in names)

        earlier: list[Row] = [row for row in read_csv(self._file(name)) if is_kept(row)]
        written = {row["comparison"] for row in earlier}
        found = earlier + [row for row in rows if not (is_kept(row) and row["comparison"] in written)]
        # Differences to another comparison behind all others.
        found.sort(key=lambda row: (places.get(row.get("minus") or "", -1), places[row["comparison"]]))
        return self._write(name, columns, found)

    def derive(self, name: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
        """Write a table that is worked out from what `results/` holds of every comparison."""
        self._write(name, columns, list(rows))

    def _file(self, name: str) -> Path:
        return self.results / f"{name}.csv"

    def _write(self, name: str, columns: Sequence[str], rows: Sequence[Row]) -> list[Row]:
        write_csv(self._file(name), columns, rows)
        return list(read_csv(self._file(name)))
