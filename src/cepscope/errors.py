"""Every exception and warning of cepscope.

CepscopeError
 ├── ParameterError        an argument or setting is out of range (also a ValueError)
 ├── DataError             a recording, corpus or array can't be used as it is (also a ValueError)
 ├── CorruptArtifactError  a file of a run is damaged or was changed by hand
 ├── NotFittedError        something must be trained or extracted first
 └── MissingExtraError     an optional package is needed (also an ImportError)

A message is one line: what was wrong, what was expected, what was received, what to do.
"""

from __future__ import annotations


class CepscopeError(Exception):
    """Base class; the command line turns it into one line on stderr."""


class ParameterError(CepscopeError, ValueError):
    """An argument or setting is out of range."""


class DataError(CepscopeError, ValueError):
    """A recording, corpus or array can't be used as it is."""


class CorruptArtifactError(CepscopeError):
    """A file of a run is damaged or was changed by hand."""


class NotFittedError(CepscopeError):
    """Something must be trained or extracted first."""


class MissingExtraError(CepscopeError, ImportError):
    """An optional package is needed."""


class CepscopeWarning(UserWarning):
    """Something was skipped or adjusted; the message says what and why."""
