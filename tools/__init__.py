"""The commands behind the Makefile: the environment, the editions of a chapter, the build, the checks of its pages."""
