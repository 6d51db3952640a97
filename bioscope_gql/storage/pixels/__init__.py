"""What the intake's processes run. Nothing here is imported by the server itself.

`python -m bioscope_gql.storage.pixels '{limits}'` reads paths from standard input and answers on standard
output, each preceded by its length in four bytes; see `__main__`.
"""
