"""Stand-ins: functions and classes with an exercise's contract that compute something else.

Where an earlier exercise is not right yet, the exam of a later one runs with a stand-in in its place, so that each
exercise is judged alone. They are public: reading one solves nothing, because none is the answer with one thing
changed.
"""
