"""What belongs to one lab: its pictures, models and scenarios, in a folder of that lab's name.

A lab's folder imports any other folder of vitedu, and is imported by none of them but by name.
"""
