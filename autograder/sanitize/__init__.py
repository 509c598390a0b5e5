"""What a submission wrote, made safe to show: text, HTML, Markdown, code, styles, pictures.

Used by every page and by the terminal. Knows nothing of courses.
"""
