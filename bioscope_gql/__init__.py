"""BioScope GQL: pictures in, true classification runs out, live, over one GraphQL endpoint."""

__version__ = "0.1.0"
