"""The one-command stack: a real PostgreSQL and a stand-in for Kafka, as child processes. Development only.

`stack.Stack` is the door. This module imports nothing, so that the broker's process stays small.
"""
