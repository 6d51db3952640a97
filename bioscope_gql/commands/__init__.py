"""What each command of `bioscope` does: ``run(args, settings)`` returns its exit code."""
