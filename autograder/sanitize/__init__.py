"""What a submission wrote, made safe to show: HTML, Markdown, styles, pictures.

Used by every page and by the terminal. Knows nothing of courses.
"""
