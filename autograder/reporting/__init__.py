"""What people read: feedback pages, reports, the table in the terminal, scores for a spreadsheet.

Reads the gradebook and the verdict files, and changes neither.
"""
