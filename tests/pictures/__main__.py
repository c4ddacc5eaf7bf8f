"""Write the pictures of the guide: `python -m tests.pictures`."""

from tests.pictures import pictures

for path, svg in pictures().items():
    path.write_text(svg, "utf-8")
