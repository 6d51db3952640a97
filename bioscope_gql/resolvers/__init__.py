"""What can be done, one module per subject.

Plain functions over tables that take services and a viewer: no Strawberry, no HTTP, no Kafka in here.
The schema, the consumers and the command line all call these same functions.
"""
