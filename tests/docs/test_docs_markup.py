"""Docstrings become Markdown on the documentation site."""

from __future__ import annotations

from docs_markup import to_markdown


def test_roles_become_code_and_keep_their_last_name():
    assert to_markdown("See :func:`~zoo.record.read` and :class:`Metric`.") == "See `read` and `Metric`."


def test_equations_and_examples_become_blocks_and_the_text_between_stays():
    text = "Mean.\n\n.. math:: -\\sum_i x_i\n\nwith x.\n\n>>> 1 + 1\n2\n\nEnd.\n"
    markdown = to_markdown(text)
    assert "```latex\n-\\sum_i x_i\n```" in markdown
    assert "```pycon\n>>> 1 + 1\n2\n```" in markdown
    assert markdown.startswith("Mean.")
    assert "with x." in markdown
    assert markdown.rstrip().endswith("End.")
