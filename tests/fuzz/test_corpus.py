"""What fuzzing once found, given to the laws on every run, without a fuzzer; ``cargo test`` does so in Rust."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.laws import one_input

CORPUS = Path(__file__).parents[2] / "impls" / "rust" / "fuzz" / "corpus"


def test_no_file_of_the_kept_corpus_breaks_a_law() -> None:
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert len(files) > 100, "the corpus is gone"
    for path in files:
        try:
            one_input(path.read_bytes())
        except Exception as error:
            raise AssertionError(f"{path.relative_to(CORPUS)} breaks a law: {error!r}") from error
