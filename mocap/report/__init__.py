"""The page one looks at after a run: its numbers (`facts`), and the HTML that shows them (`page`)."""
