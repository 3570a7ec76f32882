"""Existing images, read without copying: their file systems, their boot set-up, and what becomes of them in a tree.

Everything in an image is untrusted input: whatever it says, reading it ends in bounded time and memory, with nodes or
with an error that says what is wrong.
"""
