"""Every text that a page shows, from ``languages/<language>.toml``: another language is one more file."""

from __future__ import annotations

import tomllib
from pathlib import Path

LANGUAGES = Path(__file__).parent / "languages"


class Texts:
    """``t("fleet.title")``, ``t("fleet.count", n=3)``; a key that is missing is an error of ours: KeyError."""

    def __init__(self, language: str = "en") -> None:
        path = LANGUAGES / f"{language}.toml"
        with path.open("rb") as file:
            raw = tomllib.load(file)
        self.language = language
        self._texts: dict[str, str] = {
            f"{section}.{key}": text for section, keys in raw.items() for key, text in keys.items()
        }

    def __call__(self, key: str, **fields: object) -> str:
        text = self._texts[key]
        return text.format(**fields) if fields else text

    def get(self, key: str, default: str) -> str:
        return self._texts.get(key, default)

    def section(self, name: str) -> dict[str, str]:
        """All texts of a section, for the page's script."""
        return {key[len(name) + 1 :]: text for key, text in self._texts.items() if key.startswith(f"{name}.")}

    def keys(self) -> set[str]:
        return set(self._texts)

    def count(self, n: int) -> str:
        """12345 -> ``12,345`` with the language's mark (a narrow space reads well in all)."""
        return f"{n:,}".replace(",", self("units.thousands"))

    def megabytes(self, size: float) -> str:
        """Bytes as a person reads them: ``1.4 GiB``, ``12 MiB``."""
        for name, unit in (("TiB", 1 << 40), ("GiB", 1 << 30)):
            if abs(size) >= unit:
                return f"{size / unit:.3g} {name}"
        return f"{size / (1 << 20):.{0 if abs(size) >= 10 << 20 else 1}f} MiB"

    def latency(self, us: int) -> str:
        """``310 ms``, ``2.4 s``, ``3 h``."""
        if us < 1_000_000:
            return f"{max(1, round(us / 1000))} ms"
        return f"{us / 1e6:.1f} s" if us < 120_000_000 else self.duration(us / 1e6)

    def duration(self, seconds: float) -> str:
        """The two largest words would be one too many: ``3 h``, ``2 d``."""
        size = abs(seconds)
        for key, unit_s in (("y", 31_557_600), ("d", 86400), ("h", 3600), ("min", 60)):
            if size >= unit_s:
                return self(f"units.{key}", n=round(size // unit_s))
        return self("units.s", n=round(size))
